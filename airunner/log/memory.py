"""A log that lasts as long as its process.

Each job has its own list of events, so that forgetting a job is forgetting a
list. Renewals are not kept: no watcher sees them, and a replay gives every
running lease its whole span again.
"""

from bisect import bisect_right
from collections.abc import AsyncGenerator, Sequence
from heapq import merge
from operator import attrgetter

from msgspec.structs import replace

from airunner.facts import Event, Forgotten, OutputDropped, Renewed, Reported, sequences
from airunner.jobs import JobId
from airunner.reports import Output, OutputCut, width


class MemoryLog:
    """Holds what retention lets it: the facts that bound it come in with the rest."""

    def __init__(self) -> None:
        self._jobs: dict[JobId, list[Event]] = {}

    async def append(self, events: Sequence[Event]) -> None:
        for event in events:
            match event.fact:
                case Renewed():
                    pass
                case Forgotten(id):
                    del self._jobs[id]
                case OutputDropped(id):
                    self._jobs[id] = [*_without_output(self._jobs[id]), event]
                case fact:
                    _add(self._jobs.setdefault(fact.id, []), event)

    async def read(self, id: JobId | None = None, after: int = 0) -> AsyncGenerator[Event, None]:
        if id is None:
            for event in merge(*self._jobs.values(), key=attrgetter("place")):
                if event.place > after:
                    yield event
            return
        events = self._jobs.get(id, [])
        at, end = bisect_right(events, after, key=attrgetter("last")), len(events)
        while at < end:
            if sequences(events[at].fact):
                yield events[at]
            at += 1


def _add(events: list[Event], event: Event) -> None:
    """Append the event; a cut that follows a cut becomes part of it."""
    if events and isinstance(event.fact, Reported):
        last = events[-1]
        if isinstance(last.fact, Reported) and (joined := _joined(last.fact, event.fact)):
            events[-1] = replace(last, fact=joined, link=event.link)
            return
    events.append(event)


def _joined(one: Reported, other: Reported) -> Reported | None:
    if not isinstance(one.report, OutputCut) or not isinstance(other.report, OutputCut):
        return None
    assert one.attempt == other.attempt  # a lease lies between the reports of two attempts
    cut = OutputCut(one.report.items + other.report.items, one.report.size + other.report.size)
    return replace(other, report=cut)


def _without_output(events: list[Event]) -> list[Event]:
    """The events with a mark in the place of every run of output."""
    kept: list[Event] = []
    for event in events:
        fact = event.fact
        if isinstance(fact, Reported) and isinstance(fact.report, Output):
            cut = OutputCut(width(fact.report), fact.report.size)
            _add(kept, replace(event, fact=replace(fact, report=cut)))
        else:
            _add(kept, event)
    return kept
