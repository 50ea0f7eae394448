"""A run of the bench as text: a JSON object for what it ran on, and one for each figure, a line each."""

from collections.abc import Mapping
from dataclasses import dataclass

import msgspec

from airunner.bench.report.figures import Figure


class NotARun(Exception):
    """A text is not what a run has printed."""


@dataclass(frozen=True, slots=True)
class Run:
    """What a run was made on and with, and what it found."""

    setting: Mapping[str, str]
    figures: tuple[Figure, ...]


@dataclass(frozen=True, slots=True)
class _Head:
    setting: dict[str, str]


def head_line(setting: Mapping[str, str]) -> str:
    return msgspec.json.encode(_Head(dict(setting))).decode()


def figure_line(figure: Figure) -> str:
    return msgspec.json.encode(figure).decode()


def read(text: str) -> Run:
    """The run whose lines these are; raises NotARun, which names the first line that is none."""
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
