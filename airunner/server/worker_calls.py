"""The verbs of workers: lease, renew, report, store an artifact, complete, give back.

Two kinds. A verb named `..._decided` returns the position of its decision, and the caller waits for
that position to be durable; a worker's stream answers thousands of messages so, with one append for
all. The other verbs wait themselves, and answer one call each.

A task token is a secret of one lease. Only its digest goes further than this module.
"""

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from airunner.model.artifacts import Artifact
from airunner.model.errors import InvalidRequest
from airunner.model.facts import JobFact
from airunner.model.jobs import (
    AttemptEnd,
    Job,
    JobId,
    Millis,
    Outcome,
    Position,
    TaskToken,
    WorkerId,
    digest,
)
from airunner.model.namespaces import DEFAULT_NAMESPACE, QueueKey
from airunner.model.protocol.features import PUBLISHED
from airunner.model.reports import Output, Report
from airunner.server.broker import Broker
from airunner.server.intake import bounded_outcome, bounded_reports, divided
from airunner.server.workers.connected_workers import ConnectedWorker
from airunner.server.workers.leased_job import LeasedJob
from airunner.store.report_intake import room_for


@dataclass(frozen=True, slots=True)
class Renewed:
    """The decision on a set of leases: renewed, or lost because they had ended."""

    place: Position
    renewed: tuple[TaskToken, ...]
    lost: tuple[TaskToken, ...]


class WorkerCalls:
    """Workers' view of a broker. It keeps no state of its own."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._queue = broker.engine.queue
        self._table = broker.engine.table

    def held_by(self, token: TaskToken) -> Job:
        """The job on lease with this token. Raises StaleLease."""
        return self._table.held_by(digest(token))

    # Leases

    async def lease(
        self,
        queues: Sequence[str],
        *,
        worker: WorkerId,
        span: Millis,
        namespace: str = DEFAULT_NAMESPACE,
        most: int = 1,
        wait: float | None = None,
    ) -> list[LeasedJob]:
        """Up to `most` jobs; parks until there is a job, for `wait` seconds at most.

        If the caller goes away before the answer, its jobs return to their places in line.
        """
        keys = tuple(QueueKey(queue, namespace) for queue in queues)
        connected = ConnectedWorker(
            worker=worker, queues=keys, slots=most, features=PUBLISHED, wanted=lambda: most
        )
        with self._broker.connected_workers.connect(connected):
            leased = await self.lease_decided(connected, span, wait)
        try:
            return await self._broker.after_durable(leased)
        except BaseException:
            for each in leased:
                self._broker.return_undelivered(each.token)
            raise

    async def lease_decided(
        self, connected: ConnectedWorker, span: Millis, wait: float | None = None
    ) -> list[LeasedJob]:
        """As many jobs as the worker wants, at least one; an empty list once `wait` has passed.

        A worker that leaves a line in which a job remains wakes the next worker: it may have been
        woken for one queue and have taken a job of another.
        """
        self._broker.check_open()
        loop = asyncio.get_running_loop()
        give_up = None if wait is None else loop.time() + wait
        try:
            leased: list[LeasedJob] = []
            while connected.wanted() and not (leased := self.lease_available(connected, span)):
                left = None if give_up is None else give_up - loop.time()
                if left is not None and left <= 0:
                    break
                keys = ((queue, connected.features) for queue in connected.queues)
                await self._broker.idle.park(*keys, seconds=left)
                self._broker.check_open()
            return leased
        finally:
            for queue in connected.queues:
                if self._table.lines.first(queue, connected.features) is not None:
                    self._broker.idle.wake((queue, connected.features), 1)

    def lease_available(self, connected: ConnectedWorker, span: Millis) -> list[LeasedJob]:
        """As many jobs as the worker wants and as wait now."""
        leased: list[LeasedJob] = []
        for _ in range(connected.wanted()):
            token, now = self._broker.ids.token(), self._broker.now()
            facts = self._queue.lease(
                connected.queues,
                token=digest(token),
                worker=connected.worker,
                span=span,
                now=now,
                features=connected.features,
            )
            if not facts:
                break
            self._broker.decide(facts)
            leased.append(LeasedJob(self._table.job(facts[0].id), token))
        return leased

    async def renew(self, token: TaskToken, *, span: Millis, queue: str | None = None) -> Job:
        """Extends a lease by its span from now. Raises CancelPending once a cancel was requested."""
        broker = self._broker
        broker.decide(self._queue.renew(digest(token), span=span, now=broker.now(), queue=queue))
        return await broker.after_durable(self.held_by(token))

    def renew_decided(self, tokens: Iterable[TaskToken], span: Millis) -> Renewed:
        """Extends leases by a span from now, those of jobs that are being cancelled too."""
        facts, renewed, lost = self._renewals(tokens, span)
        return Renewed(self._broker.decide(facts), tuple(renewed), tuple(lost))

    def resume_decided(
        self, worker: WorkerId, tokens: Iterable[TaskToken], span: Millis
    ) -> Renewed:
        """Renews the leases that a worker says it holds, and ends its others.

        A lease that the worker does not list was lost on its way, or is the worker's loss: its job
        returns to its place in line.
        """
        facts, renewed, lost = self._renewals(tokens, span)
        held = {digest(token) for token in (*renewed, *lost)}
        for job in self._table.leased_to(worker):
            assert job.lease
            if job.lease.token not in held:
                facts += self._queue.give_back(job.lease.token, heard=False)
        return Renewed(self._broker.decide(facts), tuple(renewed), tuple(lost))

    def may_hold(self, worker: WorkerId, tokens: Iterable[TaskToken]) -> bool:
        """True if the worker has no lease, or one that has one of these tokens."""
        leased = self._table.leased_to(worker)
        held = {digest(token) for token in tokens} if leased else set()
        return not leased or any(job.lease and job.lease.token in held for job in leased)

    def _renewals(
        self, tokens: Iterable[TaskToken], span: Millis
    ) -> tuple[list[JobFact], list[TaskToken], list[TaskToken]]:
        facts, renewed, lost = list[JobFact](), list[TaskToken](), list[TaskToken]()
        now = self._broker.now()
        for token in dict.fromkeys(tokens):
            if not self._table.is_held(key := digest(token)):
                lost.append(token)
                continue
            facts += self._queue.renew(key, span=span, now=now, cancelling=True)
            renewed.append(token)
        return facts, renewed, lost

    # Reports

    def output_room(self, job: Job) -> int:
        """Bytes of output that the server still takes of a job, at least 0."""
        return max(0, room_for(job, self._queue.retention) - job.output_bytes)

    async def publish(self, token: TaskToken, reports: Sequence[tuple[int, Report]]) -> int:
        """Stores reports, each with the worker's own number of its first item, or 0.

        Returns the highest number that is stored. Reports stored before are left out; numbers may
        be missing, for workers whose numbering has gaps.
        """
        sent = self.held_by(token).sent
        self.publish_decided(token, list(divided(reports, sent)), gaps=True)
        return await self._broker.after_durable(self.held_by(token).sent)

    def publish_decided(
        self, token: TaskToken, reports: Sequence[tuple[int, Report]], *, gaps: bool = False
    ) -> Position:
        """As publish(); without `gaps`, a missing number raises OutOfSequence."""
        if any(isinstance(report, Output) for _, report in reports):
            self._broker.check_room()
        taken = list(bounded_reports(reports, self.held_by(token).reports))
        facts = self._queue.publish(digest(token), taken, now=self._broker.now(), gaps=gaps)
        return self._broker.decide(facts)

    # Artifacts

    async def make_artifact_room(self, token: TaskToken, size: int) -> None:
        """Makes room for one more artifact of `size` bytes; returns once evicted bytes are gone.

        Raises StaleLease, InvalidRequest, LimitReached.
        """
        facts = self._queue.make_artifact_room(digest(token), size, now=self._broker.now())
        if facts:
            await self._broker.told(self._broker.decide(facts))

    def store_artifact_decided(self, token: TaskToken, artifact: Artifact) -> Position:
        """Records an artifact whose bytes are stored already. Raises as make_artifact_room()."""
        now = self._broker.now()
        return self._broker.decide(self._queue.store_artifact(digest(token), artifact, now=now))

    # The end of an attempt

    async def complete(
        self, token: TaskToken, outcome: Outcome, *, job: JobId | None = None
    ) -> Job:
        """Ends the job of a token. Raises InvalidRequest if `job` is another job."""
        id = self._holder(token)
        if job not in (None, id):
            raise InvalidRequest("job_result.job_id", f"the task token is of job {id}, not {job}")
        self.complete_decided(token, outcome)
        return await self._broker.after_durable(self._table.job(id))

    def complete_decided(
        self, token: TaskToken, outcome: Outcome, *, sent: int | None = None
    ) -> Position:
        """Ends a job. `sent` is the number of its last report, which must be stored already."""
        now = self._broker.now()
        facts = self._queue.finish(digest(token), bounded_outcome(outcome), sent=sent, now=now)
        return self._broker.decide(facts)

    async def release(self, token: TaskToken, *, lost: bool = False) -> Job:
        """Returns a job to its place in line; `lost` counts as a failure."""
        id = self._holder(token)
        self.give_back_decided(token, lost=lost)
        return await self._broker.after_durable(self._table.job(id))

    def give_back_decided(
        self, token: TaskToken, *, lost: bool, heard: bool = True, sent: int = 0
    ) -> Position:
        """As release(). `heard`: no report of the attempt can be missing. `sent`: as above, or 0."""
        ending = AttemptEnd.LOST if lost else AttemptEnd.RELEASED
        facts = self._queue.give_back(digest(token), ending, heard=heard, sent=sent)
        return self._broker.decide(facts)

    def return_undelivered(self, token: TaskToken) -> None:
        """Returns a job to its place in line: its lease could not be delivered."""
        self._broker.return_undelivered(token)

    def _holder(self, token: TaskToken) -> JobId:
        over = self._table.ended_by(digest(token))
        return over.id if over else self.held_by(token).id
