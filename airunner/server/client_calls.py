"""The verbs of clients: submit, look, watch, cancel, retry.

Each verb answers once the log has every event that the answer is based on.
"""

from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import aclosing
from heapq import merge
from itertools import groupby, islice, takewhile

from airunner.model.errors import Refused
from airunner.model.facts import Event, Fact
from airunner.model.job_query import JobQuery, Page, QueueStatistics
from airunner.model.jobs import Job, JobId, JobRequest, JobState, RequestId, Subject
from airunner.model.limits import QUEUES_PAGE_MAX
from airunner.model.namespaces import DEFAULT_NAMESPACE, QueueKey
from airunner.model.protocol.features import needed
from airunner.model.wait_reason import WaitReason
from airunner.server.broker import Broker
from airunner.server.policy import check_new_job
from airunner.store.queries import page, statistics


class ClientCalls:
    """Clients' view of a broker. It keeps no state of its own."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._engine = broker.engine

    async def enqueue(self, request: JobRequest) -> Job:
        """A new job, or the job that the request's id already stands for.

        Raises IdempotencyConflict, LimitReached, ShuttingDown, Stalled.
        """
        return await self._broker.after_durable(self._enqueue(request))

    async def enqueue_many(self, requests: Sequence[JobRequest]) -> list[Job | Refused]:
        """A job or a refusal for each request, in their order, in one append."""
        return await self._broker.after_durable([self._tried(request) for request in requests])

    async def get(self, id: JobId) -> Job:
        return await self._broker.after_durable(self._engine.table.job(id))

    def job(self, id: JobId) -> Job:
        """The job as decided, durable or not. Raises UnknownJob."""
        return self._engine.table.job(id)

    def find(self, id: JobId) -> Job | None:
        """The job as decided, durable or not; None if it is unknown."""
        return self._engine.table.find(id)

    def explain(self, job: Job) -> WaitReason | None:
        """The reason for which a job waits; None if it does not wait."""
        table = self._engine.table
        if job.state is not JobState.SCHEDULED or table.find(job.id) is not job:
            return None
        return self._broker.connected_workers.explain(
            job.spec.queue_key, table.lines.ahead(job), needed(job.spec)
        )

    async def page(self, query: JobQuery) -> Page:
        return await self._broker.after_durable(page(self._engine.table, query))

    def queue_statistics(
        self,
        queue: str | None = None,
        *,
        namespace: str | None = DEFAULT_NAMESPACE,
        after: QueueKey | None = None,
        most: int = QUEUES_PAGE_MAX,
    ) -> tuple[QueueStatistics, ...]:
        """The statistics of each queue that has jobs or workers, by name; None: of all.

        At most `most` queues, which follow `after`.
        """
        table, workers = self._engine.table, self._broker.connected_workers
        begin = after
        if queue is not None:
            begin = max(QueueKey(queue, ""), after or QueueKey(""))
        known = merge(table.lines.queues(begin), workers.queues(begin))
        found: Iterator[QueueKey] = (
            key for key, _ in groupby(known) if namespace in (None, key.namespace)
        )
        if queue is not None:
            found = takewhile(lambda key: key.name == queue, found)
        return tuple(workers.complete(statistics(table, key)) for key in islice(found, most))

    async def cancel(self, id: JobId, by: Subject) -> Job:
        self._broker.decide(self._engine.queue.cancel(id, by))
        return await self.get(id)

    async def retry(self, id: JobId, request: RequestId, by: Subject) -> Job:
        """A new job with the parameters of an old job, and linked to it."""
        old = self._engine.table.job(id)
        return await self.enqueue(
            JobRequest(spec=old.spec, request=request, submitter=by, retry_of=old.id)
        )

    def watch(
        self, id: JobId, *, after: int = 0, stop_at_tail: bool = False
    ) -> AsyncGenerator[Event, None]:
        """The events of a job from a sequence on; see Watchers.watch()."""
        return self._broker.watchers.watch(id, after=after, stop_at_tail=stop_at_tail)

    async def history(self, id: JobId) -> list[Fact]:
        """Every fact about a job so far, except the reports of its workers."""
        with self._broker.pins.pin(id):
            await self.get(id)
            async with aclosing(self._broker.log.read(id, reported=False)) as events:
                return [event.fact async for event in events]

    def _enqueue(self, request: JobRequest) -> Job:
        broker, engine = self._broker, self._engine
        broker.check_open()
        broker.check_room()
        if request.retry_of is None and engine.table.requested(request) is None:
            check_new_job(request.spec)
        id = broker.ids.job()
        broker.decide(engine.queue.enqueue(id, request, broker.now()))
        job = engine.table.find(id) or engine.table.requested(request)
        assert job
        return job

    def _tried(self, request: JobRequest) -> Job | Refused:
        try:
            return self._enqueue(request)
        except Refused as refusal:
            return refusal
