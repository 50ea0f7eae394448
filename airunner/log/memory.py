"""A log that lasts as long as its process.

Each job has a list of its events, so to forget a job is to drop a list. Renewals are not stored: no
watcher sees them, and a replay gives every running lease its whole span again. Facts about other
subjects have lists of their own, which only a replay reads.

The dictionary keeps jobs in the order of their last append. So a reader of all jobs looks only at the
jobs with new events, however many jobs there are.
"""

import asyncio
from bisect import bisect_right
from collections.abc import AsyncGenerator, Sequence
from heapq import heapify, heappop, heapreplace, merge
from itertools import chain, takewhile
from operator import attrgetter
from secrets import token_hex
from typing import Final

from msgspec.structs import replace

from airunner.log.cuts import joined
from airunner.log.log import LogStatistics
from airunner.model.facts import (
    Event,
    Forgotten,
    OutputDropped,
    Renewed,
    Reported,
    SubjectFact,
    sequence_count,
)
from airunner.model.jobs import JobId, Position
from airunner.model.reports import Output, OutputCut, count_sequences

_JOBS_AT_ONCE: Final = 1_000  # jobs that a reader looks at before other tasks may run


class MemoryLog:
    """Events in memory, bounded by retention, whose facts are appended like all others."""

    def __init__(self) -> None:
        self.name = token_hex(8)
        self._jobs: dict[JobId, list[Event]] = {}
        self._others: dict[str, list[Event]] = {}  # of each subject that is no job
        self._tail = Position(0)  # of the newest event

    def knows(self, name: str, position: Position) -> bool:
        del position
        return name == self.name

    async def append(self, events: Sequence[Event]) -> None:
        for event in events:
            match event.fact:
                case Renewed():
                    pass
                case Forgotten(id):
                    del self._jobs[id]
                case OutputDropped(id):
                    self._jobs[id] = [*_without_output(self._jobs.pop(id)), event]
                case SubjectFact(subject):
                    self._others.setdefault(subject, []).append(event)
                case fact:
                    self._jobs[fact.id] = known = self._jobs.pop(fact.id, None) or []
                    _add(known, event)
            self._tail = event.place

    async def read(
        self, id: JobId | None = None, after: int = 0, *, reported: bool = True
    ) -> AsyncGenerator[Event, None]:
        if id is None:
            subjects = chain(self._jobs.values(), self._others.values())
            for event in merge(*subjects, key=attrgetter("place")):
                if event.place > after:
                    yield event
            return
        events = self._jobs.get(id, [])
        at, end = bisect_right(events, after, key=attrgetter("last")), len(events)
        while at < end:
            event = events[at]
            if sequence_count(event.fact) and (reported or not isinstance(event.fact, Reported)):
                yield event
            at += 1

    async def read_all(self, place: Position) -> AsyncGenerator[Event, None]:
        tail, due = self._tail, list[tuple[Position, JobId]]()  # the next event of each job
        for number, id in enumerate(self._changed(place), 1):
            if (event := _next(self._jobs.get(id, []), place)) and event.place <= tail:
                due.append((event.place, id))
            if not number % _JOBS_AT_ONCE:
                await asyncio.sleep(
                    0
                )  # other tasks run, also while a reader from long ago catches up
        heapify(due)
        while due:
            at, id = due[0]
            # The job is looked up anew: retention may have removed it during the last yield.
            if (event := _next(self._jobs.get(id, []), Position(at - 1))) and event.place == at:
                if sequence_count(event.fact):
                    yield event
                event = _next(self._jobs.get(id, []), at)
            if event is None or event.place > tail:
                heappop(due)
            else:
                heapreplace(due, (event.place, id))

    async def statistics(self) -> LogStatistics:
        subjects = chain(self._jobs.values(), self._others.values())
        return LogStatistics(newest=self._tail, events=sum(map(len, subjects)))

    def _changed(self, place: Position) -> list[JobId]:
        """The jobs that have an event after a position."""
        newest = reversed(self._jobs.items())
        return [id for id, _ in takewhile(lambda job: job[1][-1].place > place, newest)]


def _next(events: Sequence[Event], place: Position) -> Event | None:
    """The first event after a position; None: there is none."""
    index = bisect_right(events, place, key=attrgetter("place"))
    return events[index] if index < len(events) else None


def _add(events: list[Event], event: Event) -> None:
    """Appends an event. A cut that follows a cut is joined with it, at the later position."""
    if events and (both := joined(events[-1], event)):
        events[-1] = both
    else:
        events.append(event)


def _without_output(events: list[Event]) -> list[Event]:
    """The events, with an OutputCut in the place of each run of output."""
    kept: list[Event] = []
    for event in events:
        fact = event.fact
        if isinstance(fact, Reported) and isinstance(fact.report, Output):
            cut = OutputCut(count_sequences(fact.report), fact.report.size)
            _add(kept, replace(event, fact=replace(fact, report=cut)))
        else:
            _add(kept, event)
    return kept
