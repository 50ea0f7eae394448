"""`airunner bench`: what this machine can do with airunner, and without."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, NoReturn

import typer

from airunner.cli.exit_codes import DIFFERS, USAGE, CommandFailed

if TYPE_CHECKING:
    from airunner.bench.report.figures import Figure
    from airunner.bench.report.runs import Run
    from airunner.bench.setting import Setting

_SIZES: Final = "Sizes"
_COMPARED: Final = "Compared with an earlier run"


def bench(
    scenarios: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[SCENARIO]...",
            help="enqueue, noop, true, pty, dispatch, log, lines, results, stage, "
            "fanout, backlog, list, growth, idle, start, replay, restart, memory (default: all).",
        ),
    ] = None,
    duration: Annotated[
        float,
        typer.Option(min=0.05, metavar="SECONDS", help="For each measurement, in each round."),
    ] = 0.5,
    rounds: Annotated[
        int, typer.Option(min=1, help="In which all take turns; figures are medians.")
    ] = 3,
    clients: Annotated[
        list[int] | None,
        typer.Option(min=1, max=1000, help="At once; repeatable (default: 1, 16 and 64)."),
    ] = None,
    slots: Annotated[
        int, typer.Option(min=1, help="Jobs that the measured worker runs at once.")
    ] = 4 * (os.cpu_count() or 1),
    store: Annotated[
        str, typer.Option(metavar="memory|sqlite", help="Where a scenario has one store.")
    ] = "sqlite",
    fsync: Annotated[
        list[str] | None,
        typer.Option(metavar="full|normal", help="Of SQLite; repeatable (default: full)."),
    ] = None,
    jobs: Annotated[
        int, typer.Option(min=1, help="Where a scenario has many.", rich_help_panel=_SIZES)
    ] = 10_000,
    output: Annotated[
        str,
        typer.Option(
            metavar="SIZE", help="Of output, where a scenario has much.", rich_help_panel=_SIZES
        ),
    ] = "128MiB",
    folder: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="On the disk to measure (default: for temporary files)."),
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the order in which they take turns.")] = 0,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print a JSON object a line instead of tables.")
    ] = False,
    baseline: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Of an earlier run with --json: exit with 1 if a figure has become worse.",
            rich_help_panel=_COMPARED,
        ),
    ] = None,
    tolerance: Annotated[
        str,
        typer.Option(
            metavar="SHARE",
            help="By which a figure may be worse than that.",
            rich_help_panel=_COMPARED,
        ),
    ] = "20%",
) -> None:
    """Measure throughput, latency, durability and memory, beside bare baselines.

    It starts servers and workers of its own on the loopback, and leaves nothing behind. A figure
    is compared with what libraries and machine can do without airunner, in the same run; where the
    project holds itself to a bar, the table says whether it was met.

    [bold]Examples[/bold]

    airunner bench enqueue log --duration 2 --rounds 5 --fsync full --fsync normal

    airunner bench replay --jobs 100000 --output 10GiB

    airunner bench --json > before.json; airunner bench --baseline before.json
    """
    import asyncio
    import signal

    from airunner.bench.report.runs import Run
    from airunner.bench.setting import header
    from airunner.bench.suite import SCENARIOS
    from airunner.cli.processes.bench_setup import make_setting, until_stopped
    from airunner.cli.render.bench_report import print_bars, print_regressions
    from airunner.cli.submit_flags import size_bytes

    fsyncs = tuple(fsync or ["full"])
    _check("SCENARIO", scenarios or (), tuple(SCENARIOS))
    _check("--store", (store,), ("memory", "sqlite"))
    _check("--fsync", fsyncs, ("full", "normal"))
    output_bytes = size_bytes("--output", output) or 0
    share, earlier = _tolerance_share(tolerance), _earlier_run(baseline)
    signal.signal(signal.SIGTERM, _stop)  # until there is a loop, which has its own way
    with _temporary_folder(folder) as place:
        setting = make_setting(
            place,
            seconds=duration,
            rounds=rounds,
            clients=tuple(clients or (1, 16, 64)),
            slots=slots,
            durable=store == "sqlite",
            fsyncs=fsyncs,
            jobs=jobs,
            output_bytes=output_bytes,
            seed=seed,
        )
        measuring = _measure(setting, scenarios or list(SCENARIOS), as_json=as_json)
        figures = asyncio.run(until_stopped(measuring))
        run = Run(header(setting), tuple(figures))
    if not as_json:
        print_bars(figures)
    if earlier and print_regressions(earlier, run, share, aside=as_json):
        raise typer.Exit(DIFFERS)


def _stop(*_: object) -> NoReturn:
    import signal

    raise typer.Exit(128 + signal.SIGTERM)


def _tolerance_share(text: str) -> float:
    digits = text.strip().removesuffix("%")
    if not digits.isdecimal():
        raise CommandFailed(f"--tolerance: {text!r} is not a share: write it as 20%", USAGE)
    return int(digits) / 100


def _earlier_run(path: Path | None) -> "Run | None":
    """What an earlier run has found."""
    from airunner.bench.report.runs import NotARun, read

    if path is None:
        return None
    try:
        return read(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise CommandFailed(f"--baseline: cannot read {path}: {error.strerror}", USAGE) from None
    except (NotARun, UnicodeDecodeError) as error:
        raise CommandFailed(
            f"--baseline: {path} is not what a run with --json has printed: {error}", USAGE
        ) from None


def _check(what: str, given: Sequence[str], known: tuple[str, ...]) -> None:
    for each in given:
        if each not in known:
            raise CommandFailed(f"{what}: {each!r} is not one of {', '.join(known)}", USAGE)


@contextmanager
def _temporary_folder(folder: Path | None) -> Iterator[Path]:
    """A folder that is not there afterwards."""
    import tempfile

    try:
        made = tempfile.TemporaryDirectory(prefix="airunner-bench-", dir=folder)
    except OSError as error:
        raise CommandFailed(f"--folder: cannot make files in {folder}: {error.strerror}") from None
    with made as name:
        yield Path(name).resolve()


async def _measure(setting: "Setting", scenarios: list[str], *, as_json: bool) -> list["Figure"]:
    """Print what there is as soon as it is known; all figures in the end."""
    import logging

    from airunner.bench.report.runs import figure_line, head_line
    from airunner.bench.setting import header
    from airunner.bench.suite import measure
    from airunner.cli.render.bench_report import print_figures, print_header

    # asyncio kills what it was just starting when it is cancelled, and warns that it does not know
    # that process any more.
    logging.getLogger("asyncio").setLevel(logging.ERROR)
    if as_json:
        print(head_line(header(setting)), flush=True)
    else:
        print_header(header(setting))
    found: list[Figure] = []
    async for name, figures in measure(setting, scenarios):
        found += figures
        if not as_json:
            print_figures(name, figures)
            continue
        for figure in figures:
            print(figure_line(figure), flush=True)
    return found
