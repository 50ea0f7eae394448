"""What is decided and not yet in the log, on its way there.

One task moves it, as many events at a time as gathered while the last append was under
way: batching by being busy, without a timer. Whoever waits for a place is woken once the
log has it.

A log that fails ends the server: its memory is then ahead of what is durable, and only a
replay can tell by how much. A log that is full is the one exception, because its append was
undone whole: the same append is tried again and again. Until it succeeds nobody may decide
anything more, nor be told anything.
"""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from airunner.log.log import Log, LogFull
from airunner.model.errors import ShuttingDown, Stalled
from airunner.model.facts import Event
from airunner.model.jobs import Position
from airunner.server.parking import Parking

EventListener = Callable[[Iterable[Event]], None]  # told of events once they are durable

RETRY_SECONDS: Final = 1.0  # between two tries to append to a full log

_WORK, _DURABLE, _RETRY = "work", "durable", "retry"


class Outbox:
    """Events on their way to the log.

    `landed` is told of what the log has now, and `recovered` is called when a log
    that was full takes events again.
    """

    def __init__(
        self,
        log: Log,
        tail: Position,
        *,
        landed: Callable[[Sequence[Event]], None],
        recovered: Callable[[], None],
        journal: EventListener,
    ) -> None:
        self._log = log
        self._durable = tail
        self._landed = landed
        self._recovered = recovered
        self._journal = journal
        self._waiting: list[Event] = []
        self._parking = Parking()
        self._stopping = False
        self._ended = False  # nothing becomes durable any more
        self._full = ""  # why nothing can be appended now

    @property
    def full(self) -> bool:
        """Whether the log has no room now."""
        return bool(self._full)

    def check(self) -> None:
        """Raise Stalled while the log has no room."""
        if self._full:
            raise Stalled(self._full)

    def add(self, events: Sequence[Event]) -> None:
        self._waiting += events
        self._parking.wake(_WORK)

    def is_durable(self, place: Position) -> bool:
        return place <= self._durable

    async def durable(self, place: Position) -> None:
        """Return once the log has everything up to this place.

        Raises ShuttingDown if it never will; Stalled if it may, but not soon.
        """
        while self._durable < place:
            if self._ended:
                raise ShuttingDown
            self.check()
            await self._parking.park(_DURABLE)

    def stop(self) -> None:
        """Let run() return once everything is in the log, or there is no room for it."""
        self._stopping = True
        self._parking.wake_all()

    async def run(self) -> None:
        """Move events to the log, until stop() or until the log fails."""
        try:
            while self._waiting or not self._stopping:
                if not self._waiting:
                    await self._parking.park(_WORK)
                    await asyncio.sleep(0)  # so that whoever the same news has woken is in it too
                    continue
                batch, self._waiting = self._waiting, []
                if not await self._append(batch):
                    return
                await asyncio.sleep(0)  # who waited for this is answered first
                self._journal(batch)
        finally:
            self._ended = True
            self._parking.wake_all()

    async def _append(self, events: list[Event]) -> bool:
        """Append, however long it takes; False if told to stop while there is no room."""
        while True:
            try:
                await self._log.append(events)
            except LogFull as full:
                self._full = str(full)
                self._parking.wake(_DURABLE)
                if self._stopping:
                    return False
                await self._parking.park(_RETRY, seconds=RETRY_SECONDS)
                continue
            self._durable = events[-1].place
            self._parking.wake(_DURABLE)
            self._landed(events)
            if self._full:
                self._full = ""
                self._recovered()
            return True
