"""`airunner bench`: what this machine can do with airunner, and without."""

import asyncio
import json
import os
import tempfile
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from airunner.bench.figures import Figure


def bench(
    duration: Annotated[
        float, typer.Option(min=0.1, metavar="SECONDS", help="How long each measurement takes.")
    ] = 5.0,
    slots: Annotated[
        int, typer.Option(min=1, help="Jobs that the measured worker runs at once.")
    ] = os.cpu_count() or 1,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print a JSON object a line instead of a table.")
    ] = False,
) -> None:
    """Measure jobs a second, latency and log throughput, beside bare baselines.

    It starts a server and a worker of its own on the loopback, and leaves nothing behind.

    [bold]Example[/bold]   airunner bench --duration 10 --json
    """
    figures: list[Figure] = []

    def tell(figure: "Figure") -> None:
        figures.append(figure)
        if as_json:
            print(json.dumps(asdict(figure)), flush=True)

    asyncio.run(_measure(duration, slots, tell))
    if not as_json:
        _print_table(figures)


async def _measure(seconds: float, slots: int, tell: Callable[["Figure"], None]) -> None:
    from airunner.bench.suite import Bench, measure
    from airunner.cli.certificates import make_certificates
    from airunner.wire.client import JobsClient
    from airunner.wire.dial import Destination
    from airunner.worker.grpc import connect

    with tempfile.TemporaryDirectory(prefix="airunner-bench-") as folder:
        certs, work = Path(folder) / "certs", Path(folder) / "work"
        make_certificates(certs)
        work.mkdir(mode=0o700)

        def destination(address: str) -> Destination:
            return Destination(server=address, ca_cert=certs / "ca.pem")

        setting = Bench(
            seconds=seconds,
            slots=slots,
            certs=certs,
            work=work,
            environment={**os.environ, "HOME": folder},
            client=lambda address: JobsClient(destination(address)),
            connect=lambda address: connect(destination(address)),
        )
        async for figure in measure(setting):
            tell(figure)


def _print_table(figures: list["Figure"]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("", "measured", "ratio", "of", box=None, pad_edge=False)
    for numbers in (1, 2):
        table.columns[numbers].justify = "right"
    for title, baseline in (("without airunner", True), ("airunner", False)):
        table.add_row(f"[bold]{title}[/bold]")
        for figure in figures:
            if figure.baseline is baseline:
                ratio = "" if figure.ratio is None else f"{figure.ratio:.3g}"
                table.add_row(f"  {figure.name}", _number(figure), ratio, figure.against)
    Console().print(table)


def _number(figure: "Figure") -> str:
    digits = 2 if figure.value < 100 else 0
    return f"{figure.value:,.{digits}f} {figure.unit}"
