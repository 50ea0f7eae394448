"""`airunner bench`: measures airunner on this machine, beside bare baselines."""

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
_COMPARED: Final = "Comparison with an earlier run"


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
        typer.Option(min=0.05, metavar="SECONDS", help="Time of each measurement in each round."),
    ] = 0.5,
    rounds: Annotated[
        int,
        typer.Option(
            min=1, help="Rounds of all measurements; a figure is the median of its rounds."
        ),
    ] = 3,
    clients: Annotated[
        list[int] | None,
        typer.Option(
            min=1, max=1000, help="Concurrent clients; repeatable (default: 1, 16 and 64)."
        ),
    ] = None,
    slots: Annotated[int, typer.Option(min=1, help="Concurrent jobs of the measured worker.")] = 4
    * (os.cpu_count() or 1),
    store: Annotated[
        str,
        typer.Option(
            metavar="memory|sqlite", help="Storage of the scenarios that measure a single store."
        ),
    ] = "sqlite",
    fsync: Annotated[
        list[str] | None,
        typer.Option(
            metavar="full|normal", help="Durability of SQLite; repeatable (default: full)."
        ),
    ] = None,
    jobs: Annotated[
        int,
        typer.Option(min=1, help="Jobs in the scenarios with many jobs.", rich_help_panel=_SIZES),
    ] = 10_000,
    output: Annotated[
        str,
        typer.Option(
            metavar="SIZE", help="Output in the scenarios with much output.", rich_help_panel=_SIZES
        ),
    ] = "128MiB",
    folder: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Folder on the disk to measure (default: the folder for temporary files).",
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of the random order of measurements.")] = 0,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print JSON, an object per line, instead of tables.")
    ] = False,
    baseline: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Output of an earlier run with --json: exit with 1 if a figure is worse than there.",
            rich_help_panel=_COMPARED,
        ),
    ] = None,
    tolerance: Annotated[
        str,
        typer.Option(
            metavar="SHARE",
            help="Share by which a figure may be worse than in the earlier run.",
            rich_help_panel=_COMPARED,
        ),
    ] = "20%",
) -> None:
    """Measure throughput, latency, durability and memory, beside bare baselines.

    The command starts its own servers and workers on the loopback address, and removes all their
    files. Each figure is compared with a baseline from the same run: the libraries and the machine
    without airunner. If the project sets a bar for a figure, the table says whether it is met.

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
    signal.signal(signal.SIGTERM, _stop)  # until the event loop has its own handler
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
    if not (digits.isascii() and digits.isdecimal() and len(digits) <= 3):
        raise CommandFailed(f"--tolerance: {text!r} is not a share: write it as 20%", USAGE)
    return int(digits) / 100


def _earlier_run(path: Path | None) -> "Run | None":
    """The figures of an earlier run; None without --baseline."""
    from airunner.bench.report.runs import NotARun, read
    from airunner.system.text_files import decode_text, read_file

    if path is None:
        return None
    try:
        return read(decode_text(read_file(path)))
    except OSError as error:
        raise CommandFailed(f"--baseline: cannot read {path}: {error.strerror}", USAGE) from None
    except (NotARun, ValueError) as error:
        raise CommandFailed(
            f"--baseline: {path} is not the output of a run with --json: {error}", USAGE
        ) from None


def _check(option: str, given: Sequence[str], known: tuple[str, ...]) -> None:
    for each in given:
        if each not in known:
            raise CommandFailed(f"{option}: {each!r} is not one of {', '.join(known)}", USAGE)


@contextmanager
def _temporary_folder(folder: Path | None) -> Iterator[Path]:
    """A folder that is removed at the end of the block."""
    import tempfile

    try:
        made = tempfile.TemporaryDirectory(prefix="airunner-bench-", dir=folder)
    except OSError as error:
        raise CommandFailed(f"--folder: cannot make files in {folder}: {error.strerror}") from None
    with made as name:
        yield Path(name).resolve()


async def _measure(setting: "Setting", scenarios: list[str], *, as_json: bool) -> list["Figure"]:
    """Prints the figures of each scenario as soon as they are measured, and returns all figures."""
    import logging

    from airunner.bench.report.runs import figure_line, head_line
    from airunner.bench.setting import header
    from airunner.bench.suite import measure
    from airunner.cli.render.bench_report import print_figures, print_header

    # A cancelled asyncio kills a process that it was just starting, then warns about an unknown
    # process.
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
