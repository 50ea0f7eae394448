"""Marks of cut output that follow each other, joined into one event.

A server that stores no more of a job stores a mark for each report in its place. Joined, they are one
event of the log, so no worker fills it with them. The joined event has the position of the last mark;
a reader who has read a part of it is given sequences twice, and a mark has no link of its own.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from msgspec.structs import replace

from airunner.model.facts import Event, Renewed, Reported, SubjectFact
from airunner.model.jobs import JobId, Position
from airunner.model.reports import OutputCut


def joined(one: Event, other: Event) -> Event | None:
    """The mark for two marks of a job that follow each other; None: one of the two is no mark."""
    a, b = one.fact, other.fact
    if not isinstance(a, Reported) or not isinstance(b, Reported):
        return None
    if not isinstance(a.report, OutputCut) or not isinstance(b.report, OutputCut):
        return None
    assert a.attempt == b.attempt  # a lease lies between the reports of two attempts
    cut = OutputCut(a.report.items + b.report.items, a.report.size + b.report.size)
    return replace(one, place=other.place, fact=replace(b, report=cut), link=other.link)


@dataclass(frozen=True, slots=True)
class Append:
    """Events to append, and the events of the log that they replace."""

    events: Sequence[Event]
    replaced: Sequence[Position]
    newest: dict[JobId, Event | None]  # the mark at the end of a job's events; None: no mark


class NewestCuts:
    """The marks that are the last events of their jobs."""

    def __init__(self) -> None:
        self._cuts: dict[JobId, Event] = {}

    def join(self, events: Sequence[Event]) -> Append:
        """The events with joined marks. They count only after keep()."""
        if not self._cuts and not any(map(_is_cut, events)):
            return Append(events, (), {})
        kept: dict[Position, Event] = {}
        replaced, newest = list[Position](), dict[JobId, Event | None]()
        for event in events:
            if isinstance(event.fact, SubjectFact | Renewed):
                kept[event.place] = event
                continue
            id = event.job
            before = newest[id] if id in newest else self._cuts.get(id)
            both = joined(before, event) if before else None
            if before and both and kept.pop(before.place, None) is None:
                replaced.append(before.place)
            kept[event.place] = last = both or event
            if before or _is_cut(last):
                newest[id] = last if _is_cut(last) else None
        return Append(list(kept.values()), replaced, newest)

    def keep(self, append: Append) -> None:
        """Remembers the marks of an append that has succeeded."""
        for id, event in append.newest.items():
            if event:
                self._cuts[id] = event
            else:
                self._cuts.pop(id, None)


def _is_cut(event: Event) -> bool:
    return isinstance(event.fact, Reported) and isinstance(event.fact.report, OutputCut)
