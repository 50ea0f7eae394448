"""`airunner bench`: what this machine can do with airunner, and without."""

import asyncio
import json
import os
import signal
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from airunner.cli.exits import USAGE, CommandFailed

if TYPE_CHECKING:
    from airunner.bench.figures import Bar, Figure
    from airunner.bench.setting import Setting

_SIZES: Final = "Sizes"
_MIB: Final = 1024 * 1024
_WIDTH: Final = 220  # cells, where no terminal says
_WORDS: Final = ("", "of", "bar", "bar of p99")  # columns that are not numbers


def bench(
    scenarios: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[SCENARIO]...",
            help="enqueue, noop, true, pty, dispatch, log, lines, backlog, list, "
            "replay, restart, memory (default: all).",
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
    ] = os.cpu_count() or 1,
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
) -> None:
    """Measure throughput, latency, durability and memory, beside bare baselines.

    It starts servers and workers of its own on the loopback, and leaves nothing behind. A figure
    is compared with what libraries and machine can do without airunner, in the same run; where the
    project holds itself to a bar, the table says whether it was met.

    [bold]Examples[/bold]

    airunner bench enqueue log --duration 2 --rounds 5 --fsync full --fsync normal

    airunner bench replay --jobs 100000 --output 10GiB
    """
    from airunner.bench.suite import SCENARIOS
    from airunner.cli.flags import size

    fsyncs = tuple(fsync or ["full"])
    _check("SCENARIO", scenarios or (), tuple(SCENARIOS))
    _check("--store", (store,), ("memory", "sqlite"))
    _check("--fsync", fsyncs, ("full", "normal"))
    output_bytes = size("--output", output) or 0
    with _place(folder) as place:
        setting = _setting(
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
        try:
            asyncio.run(_measure(setting, scenarios or list(SCENARIOS), as_json=as_json))
        except asyncio.CancelledError:
            raise typer.Exit(128 + signal.SIGTERM) from None


def _check(what: str, given: Sequence[str], known: tuple[str, ...]) -> None:
    for each in given:
        if each not in known:
            raise CommandFailed(f"{what}: {each!r} is not one of {', '.join(known)}", USAGE)


@contextmanager
def _place(folder: Path | None) -> Iterator[Path]:
    """A folder that is not there afterwards."""
    try:
        made = tempfile.TemporaryDirectory(prefix="airunner-bench-", dir=folder)
    except OSError as error:
        raise CommandFailed(f"--folder: cannot make files in {folder}: {error.strerror}") from None
    with made as name:
        yield Path(name).resolve()


def _setting(
    place: Path,
    *,
    seconds: float,
    rounds: int,
    clients: tuple[int, ...],
    slots: int,
    durable: bool,
    fsyncs: tuple[str, ...],
    jobs: int,
    output_bytes: int,
    seed: int,
) -> "Setting":
    from airunner.bench.setting import Setting
    from airunner.cli.certificates import make_certificates
    from airunner.wire.client import JobsClient
    from airunner.wire.dial import Destination
    from airunner.worker.grpc import connect

    certs = place / "certs"
    make_certificates(certs)

    def destination(address: str) -> Destination:
        return Destination(server=address, ca_cert=certs / "ca.pem")

    return Setting(
        seconds=seconds,
        rounds=rounds,
        clients=clients,
        slots=slots,
        durable=durable,
        fsyncs=fsyncs,
        jobs=jobs,
        output_bytes=output_bytes,
        seed=seed,
        folder=place,
        certs=certs,
        environment={**os.environ, "HOME": str(place)},
        client=lambda address: JobsClient(destination(address)),
        connect=lambda address: connect(destination(address)),
    )


async def _measure(setting: "Setting", scenarios: list[str], *, as_json: bool) -> None:
    from airunner.bench.setting import header
    from airunner.bench.suite import measure

    # What it has started ends, and its files go, however it is told to stop.
    if task := asyncio.current_task():
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    if as_json:
        print(json.dumps({"setting": header(setting)}), flush=True)
    else:
        _print_header(header(setting))
    async for name, figures in measure(setting, scenarios):
        if not as_json:
            _print_table(name, figures)
            continue
        for figure in figures:
            print(json.dumps(asdict(figure)), flush=True)


def _print_header(header: Mapping[str, str]) -> None:
    for name, value in header.items():
        print(f"{name:10}{value}")


def _print_table(scenario: str, figures: list["Figure"]) -> None:
    """A row for each figure and baseline that it is compared with."""
    from rich.console import Console
    from rich.table import Table

    from airunner.bench.suite import summary

    table = Table(box=None, pad_edge=False)
    for name in (
        *("", "measured", "ratio", "of", "bar"),
        *("p50/p99/max ms", "bar of p99", "CPU µs each", "resident"),
    ):
        table.add_column(name, justify="left" if name in _WORDS else "right")
    for figure in figures:
        if figure.baseline:
            continue
        left = [figure.name, _number(figure.value, figure.unit)]
        right = _right(figure)
        own = _verdict(figure.bar, figure.met)
        notes = {each.name: each.note for each in figures}
        for at, each in enumerate(figure.against):
            note = f" ({notes[each.baseline]})" if notes.get(each.baseline) else ""
            table.add_row(
                *(left if at == 0 else ("", "")),
                f"{each.ratio:.3g}",
                f"{each.baseline}: {_number(each.value, each.unit)}{note}",
                " ".join(filter(None, (own if at == 0 else "", _verdict(each.bar, each.met)))),
                *(right if at == 0 else ()),
            )
        if not figure.against:
            table.add_row(*left, "", "", own, *right)
    console = Console(highlight=False, width=None if sys.stdout.isatty() else _WIDTH)
    console.print(f"\n[bold]{scenario}[/bold]   {summary(scenario)}")
    console.print(table)


def _number(value: float, unit: str) -> str:
    digits = 0 if value >= 1000 or value == int(value) else 1 if value >= 100 else 2
    return f"{value:,.{digits}f} {unit}"


def _right(figure: "Figure") -> list[str]:
    """What else is known of who was measured."""
    times, busy, resident = figure.times, figure.busy_micros, figure.resident_bytes
    return [
        f"{times.p50:.3g} / {times.p99:.3g} / {times.max:.3g}" if times else "",
        _verdict(times.bar, times.met) if times else "",
        "" if busy is None else f"{busy:,.0f}",
        "" if resident is None else f"{resident / _MIB:,.0f} MiB",
    ]


def _verdict(bar: "Bar | None", met: bool | None) -> str:
    if bar is None:
        return ""
    return f"{bar} " + ("[green]met[/green]" if met else "[red]missed[/red]")
