"""Decided events on their way to the log.

One task moves them, as many at a time as gathered during the last append: batching by being busy,
without a timer. A task that waits for a position is woken
once the log has it.

A log that fails ends the server: its memory is then ahead of the durable log, and only a replay can
tell by how much. A full log is the one exception, because its append was undone whole. The same
append is repeated until it succeeds; until then no request is decided and no reply leaves.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from airunner.log.log import Log, LogFull
from airunner.model.errors import ShuttingDown, Stalled
from airunner.model.facts import Event
from airunner.model.jobs import Position
from airunner.server.parking_lot import ParkingLot

EventListener = Callable[[Sequence[Event]], None]  # called with events that the log has

RETRY_SECONDS: Final = 1.0  # between two attempts to append to a full log

_WORK, _DURABLE, _TOLD, _RETRY = "work", "durable", "told", "retry"


@dataclass(frozen=True, slots=True)
class OutboxStatistics:
    """Plain numbers for metrics."""

    waiting: int  # events that are decided and in no append yet
    events: int  # appended since the start
    appends: int  # since the start
    full: int  # 1 while the log has no room, else 0


class Outbox:
    """Events on their way to the log.

    `landed` is called with each batch that the log has now, before any task that waits for it runs;
    `listeners` are called after the replies of the batch have left. `recovered` is called when a log
    that was full takes events again.
    """

    def __init__(
        self,
        log: Log,
        tail: Position,
        *,
        landed: EventListener,
        recovered: Callable[[], None],
        listeners: tuple[EventListener, ...],
    ) -> None:
        self._log = log
        self._durable = self._told = tail
        self._landed = landed
        self._recovered = recovered
        self._listeners = listeners
        self._waiting: list[Event] = []
        self._parking = ParkingLot()
        self._stopping = False
        self._ended = False  # nothing becomes durable any more
        self._full = ""  # the reason for which nothing can be appended now
        self._events = self._appends = 0

    @property
    def full(self) -> bool:
        """True while the log has no room."""
        return bool(self._full)

    def statistics(self) -> OutboxStatistics:
        return OutboxStatistics(
            waiting=len(self._waiting),
            events=self._events,
            appends=self._appends,
            full=int(self.full),
        )

    def check(self) -> None:
        """Raises Stalled while the log has no room."""
        if self._full:
            raise Stalled(self._full)

    def add(self, events: Sequence[Event]) -> None:
        self._waiting += events
        self._parking.wake(_WORK)

    def is_durable(self, place: Position) -> bool:
        return place <= self._durable

    async def durable(self, place: Position) -> None:
        """Returns once the log has every event up to this position.

        Raises ShuttingDown if it never will; Stalled if it may, but not soon.
        """
        while self._durable < place:
            await self._park(_DURABLE)

    async def told(self, place: Position) -> None:
        """Returns once the listeners have every event up to this position. Raises as durable()."""
        while self._told < place:
            await self._park(_TOLD)

    async def _park(self, key: str) -> None:
        if self._ended:
            raise ShuttingDown
        self.check()
        await self._parking.park(key)

    def stop(self) -> None:
        """Lets run() return once the log has every event, or has no room for the rest."""
        self._stopping = True
        self._parking.wake_all()

    async def run(self) -> None:
        """Moves events to the log, until stop() or until the log fails."""
        try:
            while self._waiting or not self._stopping:
                if not self._waiting:
                    await self._parking.park(_WORK)
                    await asyncio.sleep(0)  # every task that the same news woke joins this append
                    continue
                batch, self._waiting = self._waiting, []
                if not await self._append(batch):
                    return
                await asyncio.sleep(0)  # the replies that waited for this append leave first
                for listener in self._listeners:
                    listener(batch)
                self._told = batch[-1].place
                self._parking.wake(_TOLD)
        finally:
            self._ended = True
            self._parking.wake_all()

    async def _append(self, events: list[Event]) -> bool:
        """Appends, however long that takes; False if stop() comes while there is no room."""
        while True:
            try:
                await self._log.append(events)
            except LogFull as full:
                self._full = str(full)
                self._parking.wake(_DURABLE)
                self._parking.wake(_TOLD)
                if self._stopping:
                    return False
                await self._parking.park(_RETRY, seconds=RETRY_SECONDS)
                continue
            self._durable = events[-1].place
            self._events += len(events)
            self._appends += 1
            self._parking.wake(_DURABLE)
            self._landed(events)
            if self._full:
                self._full = ""
                self._recovered()
            return True
