"""The client of the server's job and event services, in types of the model."""

from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from random import uniform
from typing import Final

import grpc

from airunner.model.errors import InvalidRequest, Refused
from airunner.model.job_events import JobEvent
from airunner.model.job_query import JobQuery, Page, QueueStatistics
from airunner.model.jobs import Instant, Job, JobId, JobState, Position, RequestId, TaskToken
from airunner.model.spec import JobSpec
from airunner.model.wait_reason import WaitReason
from airunner.wire.client.connection import PAUSES, Connection
from airunner.wire.client.endpoint import Endpoint
from airunner.wire.codec.enums import JOB_STATES
from airunner.wire.codec.errors import MessageTooLarge, decode_call_error, decode_refusal
from airunner.wire.codec.job_events import decode_job_event, encode_filter
from airunner.wire.codec.jobs import (
    decode_job,
    decode_page,
    decode_statistics,
    decode_wait_reason,
    encode_job_query,
)
from airunner.wire.codec.specs import encode_new_job
from airunner.wire.codec.times import decode_instant
from airunner.wire.job.v1 import job_pb2 as pb
from airunner.wire.job.v1 import job_pb2_grpc

NO_KEY: Final = RequestId("")


@dataclass(frozen=True, slots=True, kw_only=True)
class EnqueuedJob:
    """The result of an enqueue: a new job, or the job that an earlier equal request created."""

    id: JobId
    created_at: Instant
    state: JobState


@dataclass(frozen=True, slots=True)
class EventBatch:
    """Events of all jobs, up to a position in the server's log."""

    events: Sequence[tuple[JobId, JobEvent]]  # in the order of the log
    position: Position
    log: str  # the name of the log of `position`
    restarted: bool  # the stream begins here; earlier events were not sent


class JobsClient(Connection):
    """A connection to a server's job services: `async with JobsClient(endpoint) as jobs`.

    Every method raises Unreachable if the server does not answer, and the server's refusals.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        pauses: Sequence[float] = PAUSES,
        dice: Callable[[float, float], float] = uniform,
    ) -> None:
        super().__init__(endpoint, pauses=pauses, dice=dice)
        self._jobs = job_pb2_grpc.JobServiceStub(self._channel)
        self._events = job_pb2_grpc.JobEventsServiceStub(self._channel)

    async def enqueue(self, spec: JobSpec, *, request: RequestId = NO_KEY) -> EnqueuedJob:
        """Enqueue a job. Without a request id the call is not idempotent, and not repeated."""
        message = encode_new_job(spec, request)
        return _decode_enqueued_job(
            await self._call(self._jobs.EnqueueJob, message, idempotent=bool(request))
        )

    async def enqueue_many(
        self, jobs: Iterable[tuple[JobSpec, RequestId]]
    ) -> list[EnqueuedJob | Refused]:
        """Enqueue up to ENQUEUE_JOBS_MAX jobs. Returns a result for each, in their order."""
        requests = [encode_new_job(spec, request) for spec, request in jobs]
        response = await self._call(
            self._jobs.EnqueueJobs,
            pb.EnqueueJobsRequest(requests=requests),
            idempotent=all(each.request_id for each in requests),
        )
        return [
            decode_refusal(each.error) if each.HasField("error") else _decode_enqueued_job(each.job)
            for each in response.results
        ]

    async def get(self, id: JobId) -> tuple[Job, WaitReason | None]:
        """The current state of a job and, while it is in line, the reason for its wait."""
        response = await self._call(self._jobs.GetJob, pb.GetJobRequest(job_id=id))
        job = decode_job(response.job)
        if not response.HasField("waiting"):
            return job, None
        return job, decode_wait_reason(response.waiting, job.spec.queue)

    async def list(self, query: JobQuery | None = None) -> Page:
        """A page of jobs, newest first, without the values of environment variables.

        Has fewer jobs than `page_size` if so many are too large for an answer.
        """
        query = query or JobQuery()
        while True:
            try:
                return decode_page(await self._call(self._jobs.ListJobs, encode_job_query(query)))
            except Refused as refusal:
                if not _asks_for_fewer(refusal) or query.page_size == 1 or query.page > 1:
                    raise
            query = replace(query, page_size=query.page_size // 2)

    async def statistics(self, queue: str | None = None) -> tuple[QueueStatistics, ...]:
        """The statistics of all queues, by name; or of one queue."""
        request = pb.QueueStatsRequest(queue=queue or "")
        found: list[QueueStatistics] = []
        while True:
            response = await self._call(self._jobs.QueueStats, request)
            found.extend(decode_statistics(each) for each in response.queues)
            if not response.next_page_token:
                return tuple(found)
            request.page_token = response.next_page_token

    async def cancel(self, id: JobId) -> Job:
        """Request the cancellation of a job. Idempotent."""
        response = await self._call(self._jobs.CancelJob, pb.CancelJobRequest(job_id=id))
        return decode_job(response.job)

    async def retry(self, id: JobId, *, request: RequestId = NO_KEY) -> Job:
        """Enqueue a new job with the spec of an earlier job."""
        response = await self._call(
            self._jobs.RetryJob,
            pb.RetryJobRequest(job_id=id, request_id=request),
            idempotent=bool(request),
        )
        return decode_job(response.job)

    async def release(self, token: TaskToken) -> None:
        """Release a lease: its job returns to its old place in line."""
        await self._call(self._jobs.ReleaseJob, pb.ReleaseJobRequest(task_token=token))

    async def watch(
        self,
        id: JobId,
        *,
        from_sequence: int = 1,
        stop_at_tail: bool = False,
        kinds: Iterable[str] = (),
    ) -> AsyncGenerator[JobEvent, None]:
        """Yield a job's events from a sequence on, until the job has ended; one connection.

        `kinds` filters the events of the published contract by job_events.event_kind(); empty: all.
        follow.follow() survives lost connections.
        """
        request = pb.StreamJobEventsRequest(
            job_id=id,
            from_sequence=from_sequence,
            stop_at_tail=stop_at_tail,
            event_filter=encode_filter(kinds),
        )
        call = self._events.StreamJobEvents(request, metadata=self.endpoint.metadata())
        try:
            async for response in call:
                if response.HasField("event"):
                    yield decode_job_event(response.event)
        except grpc.aio.AioRpcError as error:
            raise decode_call_error(error, self.endpoint.destination) from None
        finally:
            call.cancel()

    async def watch_all(
        self,
        *,
        after: Position | None = None,
        log: str = "",
        queue: str = "",
        kinds: Iterable[str] = (),
    ) -> AsyncGenerator[EventBatch, None]:
        """Yield the events of all jobs, or of a queue's jobs; one connection, without an end.

        Begins with the present, or after the position `after` of the log `log`. The first batch
        has no events and the position at which the stream begins. `kinds` is a filter of event
        kinds; empty: all. follow.follow_all() survives lost connections.
        """
        request = pb.StreamEventsRequest(
            queue=queue, after_place=after, log=log, event_filter=encode_filter(kinds)
        )
        call = self._events.StreamEvents(request, metadata=self.endpoint.metadata())
        restarted = after is None
        try:
            async for response in call:
                log = response.log or log
                events = [
                    (JobId(each.job_id), decode_job_event(each.event)) for each in response.events
                ]
                yield EventBatch(events, Position(response.place), log, restarted)
                restarted = False
        except grpc.aio.AioRpcError as error:
            raise decode_call_error(error, self.endpoint.destination) from None
        finally:
            call.cancel()


def _asks_for_fewer(refusal: Refused) -> bool:
    """Whether a shorter page may be answered: the server or gRPC found the page too large."""
    if isinstance(refusal, InvalidRequest):
        return refusal.field == "page_size"
    return isinstance(refusal, MessageTooLarge)


def _decode_enqueued_job(response: pb.EnqueueJobResponse) -> EnqueuedJob:
    return EnqueuedJob(
        id=JobId(response.job_id),
        created_at=decode_instant(response.created_at, "created_at") or Instant(0),
        state=JOB_STATES.decode(response.state, "state"),
    )
