"""The comparison with other job queues: python -m airunner.bench.comparison.

docs/benchmarks.md describes the measures.
"""

import asyncio
import json
import sys
import tempfile
from contextlib import AsyncExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Final

import typer

from airunner.bench.comparison.airunner_roles import REAL_SLOTS
from airunner.bench.comparison.comparison import comparison
from airunner.bench.comparison.processes import ROOT
from airunner.bench.comparison.queues import NAMES, QUEUES
from airunner.bench.comparison.setup import open_setup
from airunner.bench.comparison.table import NoMarkers, Run, into, markdown
from airunner.bench.comparison.versions import versions
from airunner.bench.setting import Setting, header
from airunner.cli.processes.bench_setup import make_setting, until_stopped

PYTHON: Final = ROOT / ".venv-peers/bin/python"


program = typer.Typer(pretty_exceptions_enable=False, add_completion=False, rich_markup_mode=None)


@program.command()
def main(
    duration: Annotated[
        float,
        typer.Option(min=0.05, metavar="SECONDS", help="Length of each measurement in a round."),
    ] = 1.0,
    rounds: Annotated[
        int, typer.Option(min=1, help="Rounds of turns; figures are their medians.")
    ] = 5,
    peer: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME", help=f"Queue to measure: {', '.join(NAMES)}; repeatable (default: all)."
        ),
    ] = None,
    python: Annotated[
        Path, typer.Option(metavar="FILE", help="Python that has the other queues installed.")
    ] = PYTHON,
    seed: Annotated[int, typer.Option(help="Seed of the order of turns.")] = 0,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print lines of JSON instead of tables.")
    ] = False,
    from_file: Annotated[
        Path | None,
        typer.Option(
            "--from",
            metavar="FILE",
            help="Print the tables of an earlier --json instead of measuring.",
        ),
    ] = None,
    page: Annotated[
        Path | None,
        typer.Option(
            "--into", metavar="FILE", help="Put the tables between the markers of a page."
        ),
    ] = None,
) -> None:
    """Measure airunner and other job queues in one run, each set up as its guides recommend."""
    if unknown := set(peer or ()) - set(NAMES):
        raise typer.BadParameter(f"{unknown.pop()!r} is not one of {', '.join(NAMES)}")
    if from_file:
        lines = from_file.read_text(encoding="utf-8").splitlines()
    else:
        with tempfile.TemporaryDirectory(prefix="airunner-peers-") as name:
            Path(name).chmod(0o711)  # PostgreSQL runs as another user in a subfolder
            setting = make_setting(
                Path(name).resolve(),
                seconds=duration,
                rounds=rounds,
                clients=(1,),
                slots=REAL_SLOTS,
                durable=True,
                fsyncs=("full",),
                jobs=1,
                output_bytes=1,
                seed=seed,
            )
            run = _run(setting, peer or list(NAMES), python.absolute())
            lines = asyncio.run(until_stopped(run))
    if as_json:
        print("\n".join(lines))
        return
    tables = markdown(Run.read(lines))
    if page is None:
        print(tables, end="")
        return
    try:
        page.write_text(into(page.read_text(encoding="utf-8"), tables), encoding="utf-8")
    except NoMarkers as error:
        raise typer.BadParameter(f"{page}: {error}") from None


async def _run(setting: Setting, names: list[str], python: Path) -> list[str]:
    """Measures; returns a line of JSON for the setting and a line for each figure."""
    async with AsyncExitStack() as stack:
        queues = [queue for queue in QUEUES if queue.package in names]
        setup = await open_setup(stack, setting, queues, python)
        for name, reason in setup.missing.items():
            print(f"{name}: not measured: {reason}", file=sys.stderr)
        figures = await comparison(setting, setup)
    first = {
        "setting": {**header(setting), **versions(python)},
        "missing": setup.missing,
    }
    return [json.dumps(first), *(json.dumps(asdict(figure)) for figure in figures)]


if __name__ == "__main__":
    program()
