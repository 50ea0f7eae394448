"""The single owner of the engine: decides requests, and answers once the log has the decision.

A request is decided and applied between two awaits, so requests never interleave and need no lock.
Its events travel to the log through the outbox. No reply leaves and no watcher sees an event before
the log has it.

A full log stops everything: no request is decided, and no lease lapses. When the log has room again,
every running lease gets its whole span anew, as after a restart.

Every task that waits is parked: workers by the queues that they serve and their features, watchers
by their job, replies by the position that the log must reach, the timer until the next deadline. An
idle server does no work.

The verbs of callers are in client_calls.py and worker_calls.py. They keep no state: they ask the
engine for facts and pass these to decide().
"""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TypeVar

from airunner.log.log import Log
from airunner.model.errors import ShuttingDown, StaleLease
from airunner.model.facts import CancelRequested, Enqueued, Event, Fact, Returned
from airunner.model.jobs import Instant, Position, TaskToken, digest
from airunner.server.ids import Ids
from airunner.server.outbox import EventListener, Outbox, OutboxStatistics
from airunner.server.parking_lot import ParkingLot
from airunner.server.pins import Pins
from airunner.server.watchers import Watchers, WatchersStatistics
from airunner.server.workers.connected_workers import ConnectedWorkers
from airunner.store.engine import Engine
from airunner.system.clock import Clock

T = TypeVar("T")

_DEADLINE, _STOP = "deadline", "stop"


@dataclass(frozen=True, slots=True)
class BrokerStatistics:
    """Plain numbers for metrics."""

    jobs: int
    position: Position  # of the last decided event
    leases: int
    workers: int  # connected
    parked: int  # workers that wait for a job
    undelivered: int  # leases to return once the log has room
    outbox: OutboxStatistics
    watchers: WatchersStatistics


class Broker:
    """The engine, its log and its clock, behind one order of decisions.

    `listeners` are called with events that the log has. `room` raises LimitReached if there is no
    room for more jobs and output; every other fact is taken while the log takes it. Nothing is
    answered unless run() is running.
    """

    def __init__(
        self,
        engine: Engine,
        log: Log,
        *,
        clock: Clock,
        ids: Ids,
        listeners: tuple[EventListener, ...] = (),
        room: Callable[[], None] = lambda: None,
    ) -> None:
        self.engine = engine
        self.log = log
        self.ids = ids
        self.check_room = room
        self.idle = ParkingLot()  # workers without a job, by each queue with their features
        self.connected_workers = ConnectedWorkers()
        self.pins = Pins(engine.watched, lambda: self._rearm(engine.next_deadline()))
        self.watchers = Watchers(engine, log, pins=self.pins, durable=self.durable)
        self.stopping = False
        self._clock = clock
        self._news = ParkingLot()  # the timer, and the tasks that wait for stop()
        self._outbox = Outbox(
            log,
            engine.tail,
            landed=self.watchers.landed,
            recovered=self._recover,
            listeners=listeners,
        )
        self._undelivered: list[TaskToken] = []  # leases to return once the log has room
        self._deadline: Instant | None = None

    def now(self) -> Instant:
        return self._clock.now()

    def statistics(self) -> BrokerStatistics:
        return BrokerStatistics(
            jobs=len(self.engine.table),
            position=self.engine.tail,
            leases=self.engine.table.leases,
            workers=len(self.connected_workers),
            parked=len(self.idle),
            undelivered=len(self._undelivered),
            outbox=self._outbox.statistics(),
            watchers=self.watchers.statistics(),
        )

    async def run(self) -> None:
        """Keeps the log and the time, until stop() or until either fails."""
        self.decide(self.engine.queue.resume(self.now()))
        try:
            async with asyncio.TaskGroup() as tasks:
                keeping = tasks.create_task(self._keep_time())
                await self._outbox.run()
                keeping.cancel()
        finally:
            self._send_away()

    def stop(self) -> None:
        """Answers every decided request, refuses the others with ShuttingDown, lets run() return."""
        self._outbox.stop()
        self._send_away()

    async def stopped(self) -> None:
        """Returns once stop() was called."""
        while not self.stopping:
            await self._news.park(_STOP)

    # Decisions

    def decide(self, facts: Sequence[Fact]) -> Position:
        """Applies facts; the position that must be durable before anyone is told of them.

        Raises Stalled while the log has no room.
        """
        self._outbox.check()
        self._publish(self.engine.record(facts, self.now()))
        return self.engine.tail

    @property
    def tail(self) -> Position:
        """The position of the last decided event."""
        return self.engine.tail

    def is_durable(self, place: Position) -> bool:
        return self._outbox.is_durable(place)

    async def durable(self, place: Position) -> None:
        """Returns once the log has every event up to `place`. Raises ShuttingDown, Stalled."""
        await self._outbox.durable(place)

    async def told(self, place: Position) -> None:
        """Returns once the listeners have every event up to `place`. Raises ShuttingDown, Stalled."""
        await self._outbox.told(place)

    async def after_durable(self, reply: T) -> T:
        """The reply, once the log has every event that the reply may be based on."""
        await self.durable(self.engine.tail)
        return reply

    def return_undelivered(self, token: TaskToken) -> None:
        """Returns a job to its place in line: its lease could not be delivered."""
        if self._outbox.full:
            self._undelivered.append(token)
            return
        with suppress(StaleLease):
            self.decide(self.engine.queue.give_back(digest(token)))

    # Time and the end

    def _publish(self, events: Sequence[Event]) -> None:
        """Sends decided events on their way to the log, and wakes the tasks that they concern."""
        if events:
            self._outbox.add(events)
            for event in events:
                self._notify(event.fact)
            self._rearm(self.engine.due)

    def _notify(self, fact: Fact) -> None:
        match fact:
            case Enqueued(id) | Returned(id) if job := self.engine.table.find(id):
                for features in self.connected_workers.able(job):
                    self.idle.wake((job.spec.queue_key, features), 1)
            case CancelRequested(id) if job := self.engine.table.find(id):
                self.connected_workers.notify_cancel(fact, job)

    def _recover(self) -> None:
        """Renews every lease once a full log has room again."""
        self.decide(self.engine.queue.resume(self.now()))
        while self._undelivered:
            self.return_undelivered(self._undelivered.pop())
        self._news.wake(_DEADLINE)

    def _rearm(self, due: Instant | None) -> None:
        if due != self._deadline:
            self._news.wake(_DEADLINE)

    async def _keep_time(self) -> None:
        while True:
            self._deadline = left = None
            if not self._outbox.full:
                self._publish(self.engine.settle(self.now()))
                self._deadline = self.engine.next_deadline()
            if self._deadline is not None:
                left = (self._deadline - self.now()) / 1000
            await self._news.park(_DEADLINE, seconds=left)

    def _send_away(self) -> None:
        """Wakes every parked task; each then raises ShuttingDown."""
        self.stopping = True
        self.idle.wake_all()
        self._news.wake_all()
        self.watchers.stop()

    def check_open(self) -> None:
        """Raises ShuttingDown once the server stops."""
        if self.stopping:
            raise ShuttingDown
