"""Those who read the log while it grows: of one job, or of all.

A reader is a cursor in the log, not a subscriber with a buffer: a slow one holds nothing up, and
none misses anything. Who has read all there is parks until an append has landed, so one that
waits costs nothing.
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
from airunner.server.parking import Parking
from airunner.server.pins import Pins
from airunner.store.engine import Engine

RANGE_EVENTS_MAX: Final = 256  # events that a watcher reads at a time
RANGE_BYTES_MAX: Final = 1 * MIB  # output after which no further event joins them

_ALL: Final = object()  # what those park on who read of all jobs


@dataclass(frozen=True, slots=True)
class EventRange:
    """All that the log tells watchers from one place to another."""

    events: Sequence[Event]  # the oldest first
    through: Position


class Watchers:
    """Readers of the log.

    `pins` keeps a job from retention while it is read; `durable` waits until the log has a place.
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
        self._news = Parking()  # readers, by what they wait to hear of
        self._stopping = False

    @property
    def log(self) -> str:
        """The name of the log."""
        return self._log.name

    @property
    def end(self) -> Position:
        """The place of the newest event that the log has."""
        return self._end

    def landed(self, events: Sequence[Event]) -> None:
        """Wake whom these events are news to: the log has them now."""
        self._end = events[-1].place
        for id in {event.job for event in events if sequence_count(event.fact)}:
            self._news.wake(id)
        self._news.wake(_ALL)

    def stop(self) -> None:
        """Send everybody away who waits, with ShuttingDown."""
        self._stopping = True
        self._news.wake_all()

    async def watch(
        self, id: JobId, *, after: int = 0, stop_at_tail: bool = False
    ) -> AsyncGenerator[Event, None]:
        """A job's events from a sequence on, until it has ended.

        Events are whole: the first may begin at or before `after`. While it reads, retention
        spares the job.

        Raises UnknownJob, DataLoss if the job has no sequence `after` yet,
        ShuttingDown.
        """
        table = self._engine.table
        if (job := table.job(id)).sequence < after:
            raise DataLoss(f"job {id} ends at sequence {job.sequence}: nothing follows {after}")
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
                    await self._park(id)  # of an end that was read there is no news

    async def follow(self, after: Position) -> AsyncGenerator[EventRange, None]:
        """What the log has of all jobs after a place, and then what comes; never ends by itself.

        A range may have no events: nothing that watchers see. Retention spares nothing for its
        sake, for who reads of all jobs would keep all of them.

        Raises DataLoss if the log has not come to the place `after` yet, ShuttingDown.
        """
        if after > self._end:
            raise DataLoss(f"the log ends at place {self._end}: nothing follows {after}")
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
