"""The readers of a log that grows: of one job, or of all jobs.

A watcher is a cursor in the log, not a subscriber with a buffer. A slow watcher delays nobody, and no
watcher misses an event. A watcher that has read the whole log parks until the next append, so waiting
costs nothing.
"""

from collections.abc import AsyncGenerator, Awaitable, Callable, Hashable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Final

from airunner.log.log import Log
from airunner.model.errors import DataLoss, ShuttingDown
from airunner.model.facts import Event, Reported, sequence_count
from airunner.model.jobs import JobId, Position
from airunner.model.limits import MIB
from airunner.model.reports import Output
from airunner.server.parking_lot import ParkingLot
from airunner.server.pins import Pins
from airunner.store.engine import Engine

RANGE_EVENTS_MAX: Final = 256  # events that a watcher reads at a time
RANGE_BYTES_MAX: Final = 1 * MIB  # output after which a read takes no further event

_ALL: Final = object()  # the key on which followers of all jobs park


@dataclass(frozen=True, slots=True)
class EventRange:
    """Every visible event of a stretch of the log; `through` is the last position of the stretch."""

    events: Sequence[Event]  # the oldest first
    through: Position


@dataclass(frozen=True, slots=True)
class WatchersStatistics:
    """Plain numbers for metrics."""

    watching: int  # streams of one job each
    following: int  # streams of all jobs
    parked: int  # of both, those that have read everything that the log has


class Watchers:
    """Watchers of one log.

    `pins` keeps a job from retention while it is read; `durable` waits until the log has a position.
    """

    def __init__(
        self,
        engine: Engine,
        log: Log,
        *,
        pins: Pins,
        durable: Callable[[Position], Awaitable[None]],
    ) -> None:
        self._engine = engine
        self._log = log
        self._pins = pins
        self._durable = durable
        self._end = engine.tail
        self._news = ParkingLot()  # watchers, by the job that they wait for
        self._watching = self._following = 0
        self._stopping = False

    @property
    def log(self) -> str:
        """The name of the log."""
        return self._log.name

    def knows(self, log: str, place: Position) -> bool:
        """True if a follower can go on from a position of the log of that name; "": of this log."""
        return place <= self._end and (not log or self._log.knows(log, place))

    @property
    def end(self) -> Position:
        """The position of the newest event that the log has."""
        return self._end

    def statistics(self) -> WatchersStatistics:
        return WatchersStatistics(self._watching, self._following, parked=len(self._news))

    def landed(self, events: Sequence[Event]) -> None:
        """Wakes the watchers that these events concern: the log has them now."""
        self._end = events[-1].place
        for id in {event.job for event in events if sequence_count(event.fact)}:
            self._news.wake(id)
        self._news.wake(_ALL)

    def stop(self) -> None:
        """Ends every waiting watcher with ShuttingDown."""
        self._stopping = True
        self._news.wake_all()

    async def watch(
        self, id: JobId, *, after: int = 0, stop_at_tail: bool = False
    ) -> AsyncGenerator[Event, None]:
        """The events of a job after a sequence, until the job has ended.

        Events are whole: the first may begin at or before `after`. Retention removes no job while it
        is watched. Raises UnknownJob, ShuttingDown, and DataLoss if the job has no sequence `after`.
        """
        table = self._engine.table
        if (job := table.job(id)).sequence < after:
            raise DataLoss(f"job {id} ends at sequence {job.sequence}: nothing follows {after}")
        self._watching += 1
        try:
            with self._pins.pin(id):
                while True:
                    job = table.job(id)
                    await self._durable(self._engine.tail)
                    async with aclosing(self._log.read(id, after)) as events:
                        async for event in events:
                            after = event.last
                            yield event
                    if job.state.final or (stop_at_tail and after >= job.sequence):
                        return
                    if (now := table.job(id)).sequence <= after and not now.state.final:
                        await self._park(id)  # the end of a job that was read makes no news
        finally:
            self._watching -= 1

    async def follow(self, after: Position) -> AsyncGenerator[EventRange, None]:
        """The events of all jobs after a position, for ever.

        A range may be empty: it has no event that a watcher sees. Followers of all jobs do not block
        retention: one of them would block all of it. Raises ShuttingDown, and DataLoss if the log has
        not reached the position `after`.
        """
        if after > self._end:
            raise DataLoss(f"the log ends at place {self._end}: nothing follows {after}")
        self._following += 1
        try:
            while True:
                end = self._end
                events, size = list[Event](), 0
                async with aclosing(self._log.read_all(after)) as found:
                    async for event in found:
                        events.append(event)
                        size += _size(event)
                        if len(events) == RANGE_EVENTS_MAX or size >= RANGE_BYTES_MAX:
                            yield EventRange(events, event.place)
                            after, events, size = event.place, [], 0
                through = max(end, events[-1].place) if events else end
                if through > after:
                    yield EventRange(events, through)
                    after = through
                if self._end <= after:
                    await self._park(_ALL)
        finally:
            self._following -= 1

    async def _park(self, key: Hashable) -> None:
        if self._stopping:
            raise ShuttingDown
        await self._news.park(key)
        if self._stopping:
            raise ShuttingDown


def _size(event: Event) -> int:
    """Bytes of output."""
    match event.fact:
        case Reported(report=Output() as output):
            return output.size
        case _:
            return 0
