"""The server's verbs for clients, in words of the vocabulary.

Every call has a deadline. A call that may be repeated without harm is repeated
while the server is unavailable, a few times, with pauses that double and are
random within that (full jitter), so that clients of a server that comes back
do not all come at once. What the server refuses is raised as the same class.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from dataclasses import dataclass
from random import uniform
from typing import Final, TypeVar

import grpc
from grpc_health.v1 import health_pb2

from airunner.entries import Entry
from airunner.errors import Refused, ShuttingDown, Unreachable
from airunner.jobs import Instant, Job, JobId, JobState, Place, RequestId, TaskToken
from airunner.listing import Listing, Page, QueueStatistics
from airunner.spec import JobSpec
from airunner.waiting import Waiting
from airunner.wire.caller import Caller
from airunner.wire.dial import Destination
from airunner.wire.entries import decode_entry, encode_filter
from airunner.wire.enums import JOB_STATES
from airunner.wire.job.v1 import job_pb2 as pb
from airunner.wire.job.v1 import job_pb2_grpc
from airunner.wire.jobs import (
    decode_job,
    decode_page,
    decode_statistics,
    decode_waiting,
    encode_listing,
)
from airunner.wire.params import encode_spec
from airunner.wire.refusals import decode_refusal, refusal_of
from airunner.wire.times import decode_instant

CALL_SECONDS: Final = 30.0
NO_KEY: Final = RequestId("")
PAUSES: Final = (0.1, 0.2, 0.4, 0.8)  # seconds at most, before each further try

Q = TypeVar("Q")
A = TypeVar("A")


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """A job that is in the log now, or was already."""

    id: JobId
    created_at: Instant
    state: JobState


@dataclass(frozen=True, slots=True)
class Heard:
    """What has come of all jobs, up to a place in the server's log."""

    entries: Sequence[tuple[JobId, Entry]]  # in the order of the log
    place: Place
    log: str  # whose place it is
    begins: bool  # what was before is not told


class JobsClient(Caller):
    """One connection to a server. Use it as `async with JobsClient(destination) as jobs`.

    Any verb raises Unreachable when nobody answers, and what the server refuses.
    """

    def __init__(
        self,
        destination: Destination,
        *,
        pauses: Sequence[float] = PAUSES,
        dice: Callable[[float, float], float] = uniform,
    ) -> None:
        super().__init__(destination)
        self._pauses = pauses
        self.dice = dice
        self._jobs = job_pb2_grpc.JobServiceStub(self._channel)
        self._check: grpc.aio.UnaryUnaryMultiCallable[
            health_pb2.HealthCheckRequest, health_pb2.HealthCheckResponse
        ] = self._channel.unary_unary(
            "/grpc.health.v1.Health/Check",
            request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
            response_deserializer=health_pb2.HealthCheckResponse.FromString,
        )
        self._events = job_pb2_grpc.JobEventsServiceStub(self._channel)

    async def check(self) -> None:
        """Return if the server is there and serves; else Unreachable says what is wrong."""
        answer = await self._ask(self._check, health_pb2.HealthCheckRequest())
        if answer.status != health_pb2.HealthCheckResponse.SERVING:
            raise ShuttingDown

    async def enqueue(self, spec: JobSpec, *, request: RequestId = NO_KEY) -> Accepted:
        """Put a job in line. Repeated while the server is away only if it has a request id."""
        wish = _encode_wish(spec, request)
        return _decode_accepted(await self._ask(self._jobs.EnqueueJob, wish, repeat=bool(request)))

    async def enqueue_many(
        self, wishes: Iterable[tuple[JobSpec, RequestId]]
    ) -> list[Accepted | Refused]:
        """Up to ENQUEUE_JOBS_MAX jobs, with an answer for each in their order."""
        requests = [_encode_wish(spec, request) for spec, request in wishes]
        response = await self._ask(
            self._jobs.EnqueueJobs,
            pb.EnqueueJobsRequest(requests=requests),
            repeat=all(each.request_id for each in requests),
        )
        return [
            decode_refusal(each.error) if each.HasField("error") else _decode_accepted(each.job)
            for each in response.results
        ]

    async def get(self, id: JobId) -> tuple[Job, Waiting | None]:
        """A job as it is now and, while it is in line, why it waits."""
        response = await self._ask(self._jobs.GetJob, pb.GetJobRequest(job_id=id))
        job = decode_job(response.job)
        if not response.HasField("waiting"):
            return job, None
        return job, decode_waiting(response.waiting, job.spec.queue)

    async def list(self, listing: Listing | None = None) -> Page:
        """Jobs, newest first, without the values of their environments."""
        request = encode_listing(listing or Listing())
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
    ) -> AsyncGenerator[Entry, None]:
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
        call = self._events.StreamJobEvents(request, metadata=self.destination.metadata())
        try:
            async for response in call:
                if response.HasField("event"):
                    yield decode_entry(response.event)
        except grpc.aio.AioRpcError as error:
            raise refusal_of(error, self.destination.server) from None
        finally:
            call.cancel()

    async def watch_all(
        self,
        *,
        after: Place | None = None,
        log: str = "",
        queue: str = "",
        kinds: Iterable[str] = (),
    ) -> AsyncGenerator[Heard, None]:
        """What happens to all jobs, or to those of a queue; one connection.

        From now on, or on from a place in a log that was heard of; the first that is heard says
        where it begins. `kinds` are names of entries.kind(); with any, no other is told. See
        follow.py for a watcher that survives its connection.
        """
        request = pb.StreamEventsRequest(
            queue=queue, after_place=after, log=log, event_filter=encode_filter(kinds)
        )
        call = self._events.StreamEvents(request, metadata=self.destination.metadata())
        begins = after is None
        try:
            async for response in call:
                log = response.log or log
                entries = [
                    (JobId(each.job_id), decode_entry(each.event)) for each in response.events
                ]
                yield Heard(entries, Place(response.place), log, begins)
                begins = False
        except grpc.aio.AioRpcError as error:
            raise refusal_of(error, self.destination.server) from None
        finally:
            call.cancel()

    async def _ask(
        self,
        verb: grpc.aio.UnaryUnaryMultiCallable[Q, A],
        request: Q,
        *,
        repeat: bool = True,
    ) -> A:
        """The answer; `repeat`: the request may be sent again if nobody answered."""
        for pause in (*(self._pauses if repeat else ()), None):
            try:
                return await verb(
                    request, timeout=CALL_SECONDS, metadata=self.destination.metadata()
                )
            except grpc.aio.AioRpcError as error:
                refused = refusal_of(error, self.destination.server)
            away = isinstance(refused, Unreachable | ShuttingDown)
            if pause is None or not away:
                raise refused from None
            await asyncio.sleep(self.dice(0, pause))
        raise AssertionError("the last try returns or raises")


def _encode_wish(spec: JobSpec, request: RequestId) -> pb.EnqueueJobRequest:
    return pb.EnqueueJobRequest(request_id=request, queue=spec.queue, job_params=encode_spec(spec))


def _decode_accepted(response: pb.EnqueueJobResponse) -> Accepted:
    return Accepted(
        id=JobId(response.job_id),
        created_at=decode_instant(response.created_at, "created_at") or Instant(0),
        state=JOB_STATES.decode(response.state, "state"),
    )
