"""The one owner of the engine: requests become events here, and replies get out.

A request is decided and applied between two awaits, so requests never
interleave and need no lock. Its events go to the log through the outbox, and no
reply leaves and no watcher sees an event before the log has it. While the log is full
nothing is decided and no time passes for anybody: no lease lapses. Once it has room
again, every running lease has its whole span anew, as after a restart.

Everything that waits is parked: workers by the queues they would work on,
readers by their job, replies until the log has caught up, the timer until the
next deadline. An idle server does nothing at all.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing, suppress
from typing import TypeVar

from airunner.log.log import Log
from airunner.model.errors import Refused, ShuttingDown, StaleLease
from airunner.model.facts import CancelRequested, Enqueued, Event, Fact, Returned
from airunner.model.job_query import JobQuery, Page, QueueStatistics
from airunner.model.jobs import (
    AttemptEnd,
    Instant,
    Job,
    JobId,
    JobRequest,
    JobState,
    Millis,
    Outcome,
    Position,
    RequestId,
    Subject,
    TaskToken,
    WorkerId,
    digest,
)
from airunner.model.reports import Output, Report
from airunner.model.wait_reason import WaitReason
from airunner.server.clock import Clock
from airunner.server.ids import Ids
from airunner.server.outbox import EventListener, Outbox
from airunner.server.parking import Parking
from airunner.server.pins import Pins
from airunner.server.watchers import Watchers
from airunner.server.workers.connected_workers import ConnectedWorker, ConnectedWorkers
from airunner.server.workers.leased_job import LeasedJob
from airunner.store.engine import Engine
from airunner.store.queries import page, statistics
from airunner.store.queue import Queue
from airunner.store.table import Table

T = TypeVar("T")

_DEADLINE, _STOP = "deadline", "stop"


class Broker:
    """The server's verbs. Each answers once the log has what the answer is based on.

    `room` raises LimitReached if there is none for more jobs and output; all
    else is taken while the log takes it. `run()` must be running for anything to be answered.
    """

    def __init__(
        self,
        engine: Engine,
        log: Log,
        *,
        clock: Clock,
        ids: Ids,
        journal: EventListener = lambda events: None,
        room: Callable[[], None] = lambda: None,
    ) -> None:
        self._engine = engine
        self._log = log
        self._clock = clock
        self._ids = ids
        self._room = room
        self.pins = Pins(engine.watched, lambda: self._rearm(engine.next_deadline()))
        self._idle = Parking()  # workers, by the queues they would work on
        self._news = Parking()  # the timer, and who waits for the end
        self.watchers = Watchers(
            engine,
            log,
            pins=self.pins,
            durable=self.durable,
        )
        self._outbox = Outbox(
            log,
            engine.tail,
            landed=self.watchers.landed,
            recovered=self._recover,
            journal=journal,
        )
        self._undelivered: list[TaskToken] = []  # of leases to take back once there is room
        self._deadline: Instant | None = None
        self.stopping = False
        self.connected_workers = ConnectedWorkers()

    @property
    def queue(self) -> Queue:
        """The verbs, for callers that hand what they decide to decide()."""
        return self._engine.queue

    @property
    def table(self) -> Table:
        return self._engine.table

    def now(self) -> Instant:
        return self._clock.now()

    async def run(self) -> None:
        """Keep the log and the time, until stop() or until either fails."""
        self.decide(self.queue.resume(self.now()))
        try:
            async with asyncio.TaskGroup() as tasks:
                keeping = tasks.create_task(self._keep_time())
                await self._outbox.run()
                keeping.cancel()
        finally:
            self._send_away()

    def stop(self) -> None:
        """Answer what is decided, refuse the rest with ShuttingDown, let run() return."""
        self._outbox.stop()
        self._send_away()

    async def stopped(self) -> None:
        """Return once stop() was called."""
        while not self.stopping:
            await self._news.park(_STOP)

    # Clients' verbs

    async def enqueue(self, request: JobRequest) -> Job:
        return await self.after_durable(self._enqueue(request))

    async def enqueue_many(self, requests: Sequence[JobRequest]) -> list[Job | Refused]:
        """A job or a refusal for each request, in their order; one append for all."""
        return await self.after_durable([self._tried(request) for request in requests])

    async def get(self, id: JobId) -> Job:
        return await self.after_durable(self.table.job(id))

    def explain(self, job: Job) -> WaitReason | None:
        """Why the job waits; None if it does not."""
        if job.state is not JobState.SCHEDULED or self.table.find(job.id) is not job:
            return None
        return self.connected_workers.explain(job.spec.queue, self.table.lines.ahead(job))

    async def page(self, query: JobQuery) -> Page:
        return await self.after_durable(page(self.table, query))

    def statistics(self, queue: str | None = None) -> tuple[QueueStatistics, ...]:
        """Every queue that has jobs or workers, by name."""
        known = {*self.table.lines.queues(), *self.connected_workers.queues()}
        return tuple(
            self.connected_workers.complete(statistics(self.table, name))
            for name in sorted(known)
            if queue in (None, name)
        )

    async def cancel(self, id: JobId, by: Subject) -> Job:
        self.decide(self.queue.cancel(id, by))
        return await self.after_durable(self.table.job(id))

    async def retry(self, id: JobId, request: RequestId, by: Subject) -> Job:
        """A new job with the parameters of an old one, linked to it."""
        old = self.table.job(id)
        return await self.enqueue(
            JobRequest(spec=old.spec, request=request, submitter=by, retry_of=old.id)
        )

    def watch(
        self, id: JobId, *, after: int = 0, stop_at_tail: bool = False
    ) -> AsyncGenerator[Event, None]:
        """A job's events from a sequence on, as Watchers.watch() has them."""
        return self.watchers.watch(id, after=after, stop_at_tail=stop_at_tail)

    async def history(self, id: JobId) -> list[Fact]:
        """What has become of a job so far, without what was reported of it."""
        with self.pins.pin(id):
            await self.after_durable(self.table.job(id))
            async with aclosing(self._log.read(id, reported=False)) as events:
                return [event.fact async for event in events]

    # Workers' verbs

    async def lease(
        self,
        queues: Sequence[str],
        *,
        worker: WorkerId,
        span: Millis,
        most: int = 1,
        wait: float | None = None,
    ) -> list[LeasedJob]:
        """Up to `most` jobs; parks until there is one, for `wait` seconds at most.

        A caller who goes away before the answer loses no job: what it was about to
        get goes back to its place in line.
        """
        connected = ConnectedWorker(
            worker=worker, queues=tuple(queues), slots=most, wanted=lambda: most
        )
        with self.connected_workers.connect(connected):
            leased = await self.lease_decided(connected, span, wait)
        try:
            return await self.after_durable(leased)
        except BaseException:
            for each in leased:
                self.return_undelivered(each.token)
            raise

    async def lease_decided(
        self, connected: ConnectedWorker, span: Millis, wait: float | None = None
    ) -> list[LeasedJob]:
        """As lease(), but decided only: the caller waits for it to be durable.

        Whoever goes away from a line in which a job is left wakes the next: one
        that parks on two queues may be woken for the second and take from the first.
        """
        if self.stopping:
            raise ShuttingDown
        give_up = None if wait is None else asyncio.get_running_loop().time() + wait
        try:
            leased: list[LeasedJob] = []
            while connected.wanted() and not (leased := self.lease_available(connected, span)):
                left = None if give_up is None else give_up - asyncio.get_running_loop().time()
                if left is not None and left <= 0:
                    break
                await self._idle.park(*connected.queues, seconds=left)
                if self.stopping:
                    raise ShuttingDown
            return leased
        finally:
            for queue in connected.queues:
                if self.table.lines.first(queue) is not None:
                    self._idle.wake(queue, 1)

    async def renew(self, token: TaskToken, *, span: Millis, queue: str | None = None) -> Job:
        """Extend a lease by its span from now; CancelPending once a cancel was requested."""
        self.decide(self.queue.renew(digest(token), span=span, now=self.now(), queue=queue))
        return await self.after_durable(self.table.held_by(digest(token)))

    async def publish(self, token: TaskToken, reports: Sequence[tuple[int, Report]]) -> int:
        """Store reports, each with the worker's own number of its first item, or 0.

        Returns the highest number that is stored. Numbers that were stored before
        are left out; numbers may be missing, for workers whose numbering has gaps.
        """
        self.publish_decided(token, reports, gaps=True)
        return await self.after_durable(self.table.held_by(digest(token)).sent)

    async def complete(self, token: TaskToken, outcome: Outcome) -> Job:
        id = self._holder(token)
        self.decide(self.queue.finish(digest(token), outcome))
        return await self.after_durable(self.table.job(id))

    async def release(self, token: TaskToken, *, lost: bool = False) -> Job:
        id = self._holder(token)
        ending = AttemptEnd.LOST if lost else AttemptEnd.RELEASED
        self.decide(self.queue.give_back(digest(token), ending))
        return await self.after_durable(self.table.job(id))

    # How requests are decided

    def decide(self, facts: Sequence[Fact]) -> Position:
        """Make facts true; the place that must be durable before anyone is told.

        Raises Stalled while the log has no room.
        """
        self._outbox.check()
        self._publish(self._engine.record(facts, self.now()))
        return self._engine.tail

    def publish_decided(
        self, token: TaskToken, reports: Sequence[tuple[int, Report]], *, gaps: bool = False
    ) -> Position:
        """As publish(), but decided only; without `gaps`, a missing number is OutOfSequence."""
        if any(isinstance(report, Output) for _, report in reports):
            self._room()
        facts = self.queue.publish(digest(token), reports, now=self.now(), gaps=gaps)
        return self.decide(facts)

    def return_undelivered(self, token: TaskToken) -> None:
        """Return to its place in line a job whose lease could not be told."""
        if self._outbox.full:
            self._undelivered.append(token)
            return
        with suppress(StaleLease):
            self.decide(self.queue.give_back(digest(token)))

    @property
    def tail(self) -> Position:
        """The place of the last decided event."""
        return self._engine.tail

    def is_durable(self, place: Position) -> bool:
        return self._outbox.is_durable(place)

    async def durable(self, place: Position) -> None:
        """Return once the log has everything up to here; ShuttingDown or Stalled if not."""
        await self._outbox.durable(place)

    async def after_durable(self, reply: T) -> T:
        """The reply, once everything that it may be based on is in the log."""
        await self.durable(self._engine.tail)
        return reply

    def lease_available(self, connected: ConnectedWorker, span: Millis) -> list[LeasedJob]:
        """As grant(), of what is in line already."""
        leased: list[LeasedJob] = []
        for _ in range(connected.wanted()):
            token, now = self._ids.token(), self.now()
            facts = self.queue.lease(
                connected.queues, token=digest(token), worker=connected.worker, span=span, now=now
            )
            if not facts:
                break
            self.decide(facts)
            leased.append(LeasedJob(self.table.job(facts[0].id), token))
        return leased

    def _enqueue(self, request: JobRequest) -> Job:
        if self.stopping:
            raise ShuttingDown
        self._room()
        id = self._ids.job()
        self.decide(self.queue.enqueue(id, request, self.now()))
        job = self.table.find(id) or self.table.requested(request.request)
        assert job
        return job

    def _tried(self, request: JobRequest) -> Job | Refused:
        try:
            return self._enqueue(request)
        except Refused as refusal:
            return refusal

    def _holder(self, token: TaskToken) -> JobId:
        over = self.table.ended_by(digest(token))
        return over.id if over else self.table.held_by(digest(token)).id

    # What keeps it going

    def _send_away(self) -> None:
        """Wake all who wait, and refuse whoever comes."""
        self.stopping = True
        self._idle.wake_all()
        self._news.wake_all()
        self.watchers.stop()

    def _publish(self, events: Sequence[Event]) -> None:
        """Send decided events on their way to the log, and wake the tasks that they concern."""
        if events:
            self._outbox.add(events)
            for event in events:
                self._notify(event.fact)
            self._rearm(self._engine.due)

    def _rearm(self, due: Instant | None) -> None:
        if due != self._deadline:
            self._news.wake(_DEADLINE)

    def _notify(self, fact: Fact) -> None:
        """Tell at once who has to do with what was decided."""
        match fact:
            case Enqueued(id) | Returned(id) if job := self.table.find(id):
                self._idle.wake(job.spec.queue, 1)
            case CancelRequested(id) if job := self.table.find(id):
                self.connected_workers.notify_cancel(fact, job)

    def _recover(self) -> None:
        """The log has room again."""
        self.decide(self.queue.resume(self.now()))
        while self._undelivered:
            self.return_undelivered(self._undelivered.pop())
        self._news.wake(_DEADLINE)

    async def _keep_time(self) -> None:
        while True:
            self._deadline = left = None
            if not self._outbox.full:
                self._publish(self._engine.settle(self.now()))
                self._deadline = self._engine.next_deadline()
            if self._deadline is not None:
                left = (self._deadline - self.now()) / 1000
            await self._news.park(_DEADLINE, seconds=left)
