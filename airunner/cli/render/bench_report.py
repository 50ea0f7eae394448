"""The report of a bench run for people: figures, bars and regressions."""

import sys
from collections.abc import Mapping, Sequence
from typing import Final

from rich.console import Console
from rich.table import Table

from airunner.bench.report.figures import Bar, Figure
from airunner.bench.report.regressions import Change, progress
from airunner.bench.report.runs import Run
from airunner.bench.suite import summary
from airunner.model.limits import MIB

_WIDTH: Final = 220  # cells, if the output is not a terminal
_WORDS: Final = ("", "of", "bar")  # columns of text; all others are numbers


def print_header(header: Mapping[str, str]) -> None:
    for name, value in header.items():
        print(f"{name:10}{value}")


def print_figures(scenario: str, figures: Sequence[Figure]) -> None:
    """Prints a row for each figure and for each baseline of the figure."""
    table = _table(
        *("", "measured", "ratio", "of", "bar"),
        *("p50/p99/max ms", "CPU µs each", "resident"),
    )
    notes = {each.name: each.note for each in figures}
    for figure in figures:
        if figure.baseline:
            continue
        left = [figure.name, _number(figure.value, figure.unit)]
        right = _cost_cells(figure)
        own = _verdict(figure.bar, figure.met)
        for at, each in enumerate(figure.against):
            note = f" ({notes[each.baseline]})" if notes.get(each.baseline) else ""
            table.add_row(
                *(left if at == 0 else ("", "")),
                f"{each.ratio:.3g}",
                f"{'p99: ' if each.p99 else ''}{each.baseline}: "
                f"{_number(each.value, each.unit)}{note}",
                " ".join(filter(None, (own if at == 0 else "", _verdict(each.bar, each.met)))),
                *(right if at == 0 else ()),
            )
        if not figure.against:
            table.add_row(*left, "", "", own, *right)
    console = _console()
    console.print(f"\n[bold]{scenario}[/bold]   {summary(scenario)}")
    console.print(table)


def print_bars(figures: Sequence[Figure]) -> None:
    """Prints every bar, met or missed."""
    bars = [(figure, *bar) for figure in figures for bar in figure.bars()]
    met = sum(bar[-1] for bar in bars)
    console = _console()
    console.print(f"\n[bold]bars[/bold]   {met} met, {len(bars) - met} missed")
    table = _table("", "bar", "")
    for figure, unit, value, bar, well in bars:
        name = f"{figure.scenario}: {figure.name}"
        table.add_row(name, _verdict(bar, well), f"is {value:,.3g} {unit}")
    if bars:
        console.print(table)


def print_regressions(earlier: Run, run: Run, tolerance: float, *, aside: bool) -> bool:
    """Prints the figures that are worse than in an earlier run, and returns whether there are any.

    `aside`: to standard error.
    """
    seen = progress(earlier, run)
    slipped = seen.slipped(tolerance)
    console = _console(aside=aside)
    console.print(
        f"\n[bold]against the baseline[/bold]   {len(slipped)} of {len(seen.changes)} figures "
        f"worse by more than {tolerance:.0%}"
    )
    for name, before, after in seen.setting:
        console.print(f"different: {name} is {after or 'unknown'}, and was {before or 'unknown'}")
    for words, figures in (("new figure", seen.fresh), ("missing figure", seen.gone)):
        for figure in figures:
            console.print(f"{words}: {figure.scenario}: {figure.name}")
    table = _table("", "before", "now", "worse", "of")
    for each in slipped:
        name = f"{each.figure.scenario}: {each.figure.name}"
        table.add_row(
            name,
            _shown(each, each.before),
            _shown(each, each.after),
            f"{each.worse - 1:+.0%}",
            each.of,
        )
    if slipped:
        console.print(table)
    return bool(slipped)


def _table(*names: str) -> Table:
    table = Table(box=None, pad_edge=False)
    for name in names:
        table.add_column(name, justify="left" if name in _WORDS else "right")
    return table


def _console(*, aside: bool = False) -> Console:
    file = sys.stderr if aside else sys.stdout
    return Console(highlight=False, file=file, width=None if file.isatty() else _WIDTH)


def _number(value: float, unit: str) -> str:
    digits = 0 if value >= 1000 or value == int(value) else 1 if value >= 100 else 2
    return f"{value:,.{digits}f} {unit}"


def _cost_cells(figure: Figure) -> list[str]:
    """The cells for times, processor and memory of the measured process."""
    times, busy, resident = figure.times, figure.busy_micros, figure.resident_bytes
    return [
        f"{times.p50:.3g} / {times.p99:.3g} / {times.max:.3g}" if times else "",
        "" if busy is None else f"{busy:,.0f}",
        "" if resident is None else f"{resident / MIB:,.0f} MiB",
    ]


def _verdict(bar: Bar | None, met: bool | None) -> str:
    if bar is None:
        return ""
    return f"{bar} " + ("[green]met[/green]" if met else "[red]missed[/red]")


def _shown(change: Change, value: float) -> str:
    return f"{value:.3g}" if change.of else _number(value, change.figure.unit)
