"""A bench run as lines of JSON: a line for the run's conditions, then a line for each figure."""

from collections.abc import Mapping
from dataclasses import dataclass

import msgspec

from airunner.bench.report.figures import Figure


class NotARun(Exception):
    """A text is not the output of `airunner bench --json`."""


@dataclass(frozen=True, slots=True)
class Run:
    """The conditions and the figures of a bench run."""

    setting: Mapping[str, str]
    figures: tuple[Figure, ...]


@dataclass(frozen=True, slots=True)
class _Head:
    setting: dict[str, str]


def head_line(setting: Mapping[str, str]) -> str:
    """Encodes the conditions of a run as a line of JSON."""
    return msgspec.json.encode(_Head(dict(setting))).decode()


def figure_line(figure: Figure) -> str:
    """Encodes a figure as a line of JSON."""
    return msgspec.json.encode(figure).decode()


def read(text: str) -> Run:
    """Parses the lines of a run. Raises NotARun, which names the first line that does not parse."""
    head: _Head | None = None
    figures = list[Figure]()
    for number, line in enumerate(text.splitlines(), 1):
        try:
            if head is None:
                head = msgspec.json.decode(line, type=_Head)
            else:
                figures.append(msgspec.json.decode(line, type=Figure))
        except msgspec.MsgspecError as error:
            raise NotARun(f"line {number}: {error}") from None
    if head is None:
        raise NotARun("there is nothing in it")
    return Run(head.setting, tuple(figures))
