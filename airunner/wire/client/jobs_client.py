"""The server's verbs for clients, in words of the vocabulary."""

from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from dataclasses import dataclass
from random import uniform
from typing import Final

import grpc

from airunner.model.errors import Refused
from airunner.model.job_events import JobEvent
from airunner.model.job_query import JobQuery, Page, QueueStatistics
from airunner.model.jobs import Instant, Job, JobId, JobState, Position, RequestId, TaskToken
from airunner.model.spec import JobSpec
from airunner.model.wait_reason import WaitReason
from airunner.wire.client.connection import PAUSES, Connection
from airunner.wire.client.endpoint import Endpoint
from airunner.wire.codec.enums import JOB_STATES
from airunner.wire.codec.errors import decode_call_error, decode_refusal
from airunner.wire.codec.job_events import decode_job_event, encode_filter
from airunner.wire.codec.jobs import (
    decode_job,
    decode_page,
    decode_statistics,
    decode_wait_reason,
    encode_job_query,
)
from airunner.wire.codec.specs import encode_spec
from airunner.wire.codec.times import decode_instant
from airunner.wire.job.v1 import job_pb2 as pb
from airunner.wire.job.v1 import job_pb2_grpc

NO_KEY: Final = RequestId("")


@dataclass(frozen=True, slots=True, kw_only=True)
class EnqueuedJob:
    """A job that is in the log now, or was already."""

    id: JobId
    created_at: Instant
    state: JobState


@dataclass(frozen=True, slots=True)
class EventBatch:
    """What has come of all jobs, up to a place in the server's log."""

    events: Sequence[tuple[JobId, JobEvent]]  # in the order of the log
    place: Position
    log: str  # whose place it is
    restarted: bool  # what was before is not told


class JobsClient(Connection):
    """One connection to a server. Use it as `async with JobsClient(endpoint) as jobs`.

    Any verb raises Unreachable when nobody answers, and what the server refuses.
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
        """Put a job in line. Repeated while the server is away only if it has a request id."""
        wish = _encode_request(spec, request)
        return _decode_enqueued_job(
            await self._ask(self._jobs.EnqueueJob, wish, repeat=bool(request))
        )

    async def enqueue_many(
        self, wishes: Iterable[tuple[JobSpec, RequestId]]
    ) -> list[EnqueuedJob | Refused]:
        """Up to ENQUEUE_JOBS_MAX jobs, with an answer for each in their order."""
        requests = [_encode_request(spec, request) for spec, request in wishes]
        response = await self._ask(
            self._jobs.EnqueueJobs,
            pb.EnqueueJobsRequest(requests=requests),
            repeat=all(each.request_id for each in requests),
        )
        return [
            decode_refusal(each.error) if each.HasField("error") else _decode_enqueued_job(each.job)
            for each in response.results
        ]

    async def get(self, id: JobId) -> tuple[Job, WaitReason | None]:
        """A job as it is now and, while it is in line, why it waits."""
        response = await self._ask(self._jobs.GetJob, pb.GetJobRequest(job_id=id))
        job = decode_job(response.job)
        if not response.HasField("waiting"):
            return job, None
        return job, decode_wait_reason(response.waiting, job.spec.queue)

    async def list(self, listing: JobQuery | None = None) -> Page:
        """Jobs, newest first, without the values of their environments."""
        request = encode_job_query(listing or JobQuery())
        return decode_page(await self._ask(self._jobs.ListJobs, request))

    async def statistics(self, queue: str | None = None) -> tuple[QueueStatistics, ...]:
        """How each queue fares, by name; or one queue."""
        request = pb.QueueStatsRequest(queue=queue or "")
        response = await self._ask(self._jobs.QueueStats, request)
        return tuple(decode_statistics(each) for each in response.queues)

    async def cancel(self, id: JobId) -> Job:
        """Ask for the end of a job; not an error if somebody already has."""
        response = await self._ask(self._jobs.CancelJob, pb.CancelJobRequest(job_id=id))
        return decode_job(response.job)

    async def retry(self, id: JobId, *, request: RequestId = NO_KEY) -> Job:
        """A new job from an old one's parameters."""
        response = await self._ask(
            self._jobs.RetryJob,
            pb.RetryJobRequest(job_id=id, request_id=request),
            repeat=bool(request),
        )
        return decode_job(response.job)

    async def release(self, token: TaskToken) -> None:
        """Give a leased job back to its old place in line."""
        await self._ask(self._jobs.ReleaseJob, pb.ReleaseJobRequest(task_token=token))

    async def watch(
        self,
        id: JobId,
        *,
        from_sequence: int = 1,
        stop_at_tail: bool = False,
        kinds: Iterable[str] = (),
    ) -> AsyncGenerator[JobEvent, None]:
        """A job's stream from a sequence on, until the job has ended; one connection.

        `kinds` are names of entries.kind(); with any, other published kinds are
        left out. See follow.py for a watcher that survives its connection.
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
            raise decode_call_error(error, self.endpoint.server) from None
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
        """What happens to all jobs, or to those of a queue; one connection.

        From now on, or on from a place in a log that was heard of; the first that is heard says
        where it begins. `kinds` are names of entries.kind(); with any, no other is told. See
        follow.py for a watcher that survives its connection.
        """
        request = pb.StreamEventsRequest(
            queue=queue, after_place=after, log=log, event_filter=encode_filter(kinds)
        )
        call = self._events.StreamEvents(request, metadata=self.endpoint.metadata())
        begins = after is None
        try:
            async for response in call:
                log = response.log or log
                entries = [
                    (JobId(each.job_id), decode_job_event(each.event)) for each in response.events
                ]
                yield EventBatch(entries, Position(response.place), log, begins)
                begins = False
        except grpc.aio.AioRpcError as error:
            raise decode_call_error(error, self.endpoint.server) from None
        finally:
            call.cancel()


def _encode_request(spec: JobSpec, request: RequestId) -> pb.EnqueueJobRequest:
    return pb.EnqueueJobRequest(request_id=request, queue=spec.queue, job_params=encode_spec(spec))


def _decode_enqueued_job(response: pb.EnqueueJobResponse) -> EnqueuedJob:
    return EnqueuedJob(
        id=JobId(response.job_id),
        created_at=decode_instant(response.created_at, "created_at") or Instant(0),
        state=JOB_STATES.decode(response.state, "state"),
    )
