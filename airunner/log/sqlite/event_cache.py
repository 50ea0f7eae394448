"""A cache of the newest events, so that a watcher without a backlog needs no disk.

The cache holds the last appended events of all jobs, up to a size, and drops the oldest first. For a
job it answers as the disk would, but for marks that the disk has joined (log/cuts.py), or not at all: it has no answer for a job of which it holds no event,
nor before the first event that it holds. For all jobs together it has no answer before the last gap in
the events that it was given, nor before the point at which retention removed some of them.
"""

from bisect import bisect_right
from collections import deque
from collections.abc import Sequence
from itertools import takewhile
from operator import attrgetter
from typing import Final

from airunner.model.facts import (
    Event,
    Forgotten,
    OutputDropped,
    Reported,
    sequence_count,
)
from airunner.model.jobs import JobId, Position
from airunner.model.limits import RECENT_BYTES_MAX
from airunner.model.reports import Output, count_sequences

PAGE_EVENTS: Final = 256  # events in one answer

_EVENT_BYTES: Final = 1024  # memory of an event without its output, about
_CHUNK_BYTES: Final = 256


class EventCache:
    """The newest events that watchers see, at most `size_max` bytes."""

    def __init__(self, size_max: int = RECENT_BYTES_MAX) -> None:
        self._size_max = size_max
        self._size = 0
        self._order: deque[tuple[Event, int]] = deque()  # each with its size in bytes
        self._tail = Position(0)  # of the newest appended event
        self._whole: Position | None = None  # the cache has every visible event after it
        self._jobs: dict[JobId, _Run] = {}

    def add(self, events: Sequence[Event]) -> None:
        """Adds events that have been appended."""
        if events and (self._whole is None or events[0].place != self._tail + 1):
            self._whole = Position(events[0].place - 1)
        for event in events:
            fact, self._tail = event.fact, event.place
            if isinstance(fact, OutputDropped | Forgotten):
                if self._jobs.pop(fact.id, None):  # the disk has the rest of the job
                    self._whole = event.place
            elif sequence_count(fact):
                size = _size(event)
                run = self._jobs.get(event.job)
                if run is None or run.events[-1].last + 1 != event.first:
                    run = self._jobs[event.job] = (
                        _Run()
                    )  # the caller of an append did not wait for it
                run.events.append(event)
                self._order.append((event, size))
                self._size += size
        while self._size > self._size_max:
            event, size = self._order.popleft()
            self._size -= size
            self._whole = max(self._whole or event.place, event.place)
            id = event.job
            if (run := self._jobs.get(id)) is not None and run.drop(event.place):
                del self._jobs[id]

    def since(self, id: JobId, after: int) -> Sequence[Event] | None:
        """The job's next events whose last sequence is higher than `after`.

        None: the cache does not reach back that far.
        """
        if (run := self._jobs.get(id)) is None or run.events[run.start].first > after + 1:
            return None
        at = bisect_right(run.events, after, lo=run.start, key=attrgetter("last"))
        return run.events[at : at + PAGE_EVENTS]

    def since_place(self, place: Position) -> Sequence[Event] | None:
        """The next events of all jobs after a position. None: the cache does not reach back that far."""
        if self._whole is None or place < self._whole:
            return None
        newest = (event for event, _ in reversed(self._order))
        found = list(takewhile(lambda event: event.place > place, newest))
        return found[: -PAGE_EVENTS - 1 : -1]


class _Run:
    """The cached events of one job, from index `start` on."""

    __slots__ = ("events", "start")

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.start = 0

    def drop(self, place: Position) -> bool:
        """Drops the first event if it has this position. True: no event is left."""
        if self.events[self.start].place != place:
            return False
        self.start += 1
        if self.start == len(self.events):
            return True
        if self.start > len(self.events) // 2:
            del self.events[: self.start]
            self.start = 0
        return False


def _size(event: Event) -> int:
    fact = event.fact
    if isinstance(fact, Reported) and isinstance(fact.report, Output):
        return _EVENT_BYTES + _CHUNK_BYTES * count_sequences(fact.report) + fact.report.size
    return _EVENT_BYTES
