"""Figures as tables in Markdown, and a page with the tables between two markers."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Final, cast

BEGIN: Final = "<!-- measured: begin -->"
END: Final = "<!-- measured: end -->"
REFERENCE: Final = "of airunner, SQLite"  # the column of ratios

Record = Mapping[str, object]  # a figure, as --json prints it


class NoMarkers(Exception):
    """The page lacks the markers of the tables."""


@dataclass(frozen=True, slots=True)
class Run:
    """The lines of JSON of a run."""

    setting: Mapping[str, str]
    missing: Mapping[str, str]
    figures: Sequence[Record]

    @classmethod
    def read(cls, lines: Iterable[str]) -> "Run":
        """Parses the lines of `--json`."""
        first, *figures = (json.loads(line) for line in lines if line.strip())
        return cls(first["setting"], first["missing"], figures)


def markdown(run: Run) -> str:
    """The setting, a table for each measure, the bars, and the missing queues with reasons."""
    blocks = ["\n".join(f"- {name}: {value}" for name, value in run.setting.items())]
    for scenario, figures in groupby(run.figures, key=lambda each: str(each["scenario"])):
        blocks += [f"### {scenario[0].upper()}{scenario[1:]}", "\n".join(_table(list(figures)))]
    bars = list(_bars(run.figures))
    if bars:
        blocks += ["### Bars", "\n".join(bars)]
    if run.missing:
        reasons = (f"- {name}: {reason}" for name, reason in run.missing.items())
        blocks += ["### Not measured", "\n".join(reasons)]
    return "\n\n".join(blocks) + "\n"


def into(page: str, tables: str) -> str:
    """The page with `tables` in place of the tables between the markers. Raises NoMarkers."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise NoMarkers(f"the page has no {BEGIN} with {END} after it")
    return f"{before}{BEGIN}\n\n{tables}\n{END}{after}"


def _table(figures: Sequence[Record]) -> Iterator[str]:
    unit = str(figures[-1]["unit"])
    timed = unit == "ms"
    busy = any(figure["busy_micros"] for figure in figures)
    columns = ["p50 ms", "p99 ms"] if timed else [unit]
    heads = ["", *columns, "lowest to highest", REFERENCE, *(["CPU ms a job"] if busy else [])]
    yield f"| {' | '.join(heads)} |"
    yield f"|---{'|---:' * (len(heads) - 1)}|"
    for figure in figures:
        value = _number(_float(figure["value"]))
        other = "" if figure["unit"] == unit else f" {figure['unit']}"
        cells = [str(figure["name"]), value + other]
        if timed:
            cells.append(_number(_float(_mapping(figure["times"])["p99"])))
        cells.append(f"{_number(_float(figure['low']))} to {_number(_float(figure['high']))}")
        cells.append(_reference(figure))
        if busy:
            micros = figure["busy_micros"]
            cells.append(_number(_float(micros) / 1000) if micros else "")
        yield f"| {' | '.join(cells)} |"


def _reference(figure: Record) -> str:
    """The ratio to the reference as text; "" for the reference itself."""
    plain = [each for each in _against(figure) if each["bar"] is None]
    return f"{_float(plain[0]['ratio']):.2g} x" if plain else ""


def _bars(figures: Iterable[Record]) -> Iterator[str]:
    for figure in figures:
        for each in _against(figure):
            if each["bar"] is not None:
                bar = _mapping(each["bar"])
                wanted = f"{'at most' if bar['most'] else 'at least'} {_float(bar['limit']):g}"
                said = "met" if each["met"] else "missed"
                yield (
                    f"- {figure['scenario']}: {figure['name']} is {_float(each['ratio']):.3g} x "
                    f"{each['baseline']} ({wanted}: {said})"
                )


def _against(figure: Record) -> list[Record]:
    return cast("list[Record]", figure["against"])


def _mapping(value: object) -> Record:
    return cast("Record", value)


def _float(value: object) -> float:
    return float(cast("float", value))


def _number(value: float) -> str:
    return f"{value:,.{0 if value >= 100 else 1 if value >= 10 else 2}f}"
