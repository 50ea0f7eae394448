"""The servicer of jobs: each request is decoded, passed to one verb, and answered.

It decides nothing. A field that a request leaves at zero means the published default.
"""

from collections.abc import AsyncIterator
from secrets import token_hex
from typing import Final

import grpc

from airunner.model.errors import InvalidRequest, Refused, ShuttingDown
from airunner.model.jobs import Job, JobId, JobRequest, TaskToken, WorkerId
from airunner.model.limits import (
    ENQUEUE_JOBS_MAX,
    QUEUES_PAGE_MAX,
)
from airunner.model.protocol.channel import Channel
from airunner.model.protocol.worker_protocol import FromServer, FromWorker
from airunner.model.spec import check_queue
from airunner.server.broker import Broker
from airunner.server.client_calls import ClientCalls
from airunner.server.fairness.time_slice import TimeSlice
from airunner.server.grpc.delivery import deliver_first
from airunner.server.grpc.guard import caller
from airunner.server.grpc.listed_jobs import encode_page
from airunner.server.grpc.work import WorkStream
from airunner.server.policy import (
    check_may_retry,
    checked_request_id,
    job_request,
    jobs_to_lease,
    may_see_environment,
    queue_or_default,
    visibility_timeout,
)
from airunner.server.worker_calls import WorkerCalls
from airunner.server.workers.leased_job import LeasedJob
from airunner.server.workers.worker_session import Session
from airunner.wire.codec.enums import JOB_STATES
from airunner.wire.codec.errors import encode_refusal
from airunner.wire.codec.jobs import (
    decode_job_query,
    decode_queue_token,
    encode_job,
    encode_queue_token,
    encode_statistics,
    encode_wait_reason,
)
from airunner.wire.codec.outcomes import decode_outcome
from airunner.wire.codec.specs import decode_spec
from airunner.wire.codec.times import fill_instant
from airunner.wire.job.v1 import job_pb2 as pb
from airunner.wire.job.v1.job_pb2_grpc import JobServiceServicer

_LANDING_SECONDS: Final = 0.1  # the longest way of a job to its caller


class JobsServicer(JobServiceServicer):
    def __init__(self, broker: Broker, *, version: str) -> None:
        self._broker = broker
        self._clients = ClientCalls(broker)
        self._workers = WorkerCalls(broker)
        self._version = version

    async def EnqueueJob(
        self,
        request: pb.EnqueueJobRequest,
        context: grpc.aio.ServicerContext[pb.EnqueueJobRequest, pb.EnqueueJobResponse],
    ) -> pb.EnqueueJobResponse:
        response = pb.EnqueueJobResponse()
        _fill_accepted(response, await self._clients.enqueue(_decode_request(request)))
        return response

    async def EnqueueJobs(
        self,
        request: pb.EnqueueJobsRequest,
        context: grpc.aio.ServicerContext[pb.EnqueueJobsRequest, pb.EnqueueJobsResponse],
    ) -> pb.EnqueueJobsResponse:
        if not 1 <= len(request.requests) <= ENQUEUE_JOBS_MAX:
            raise InvalidRequest(
                "requests",
                f"has {len(request.requests)} jobs; send 1 to ENQUEUE_JOBS_MAX ({ENQUEUE_JOBS_MAX})",
            )
        tried: list[JobRequest | Refused] = []
        turn = TimeSlice()
        for each in request.requests:
            tried.append(_tried(each))
            await turn.rest()
        wishes = [each for each in tried if isinstance(each, JobRequest)]
        answers = iter(await self._clients.enqueue_many(wishes))
        response = pb.EnqueueJobsResponse()
        for wish in tried:
            answer = wish if isinstance(wish, Refused) else next(answers)
            result = response.results.add()
            if isinstance(answer, Refused):
                result.error.CopyFrom(encode_refusal(answer))
            else:
                _fill_accepted(result.job, answer)
        return response

    async def GetJob(
        self,
        request: pb.GetJobRequest,
        context: grpc.aio.ServicerContext[pb.GetJobRequest, pb.GetJobResponse],
    ) -> pb.GetJobResponse:
        job = await self._clients.get(JobId(request.job_id))
        return pb.GetJobResponse(
            job=_encode_shown(job), waiting=encode_wait_reason(self._clients.explain(job))
        )

    async def ListJobs(
        self,
        request: pb.ListJobsRequest,
        context: grpc.aio.ServicerContext[pb.ListJobsRequest, pb.ListJobsResponse],
    ) -> pb.ListJobsResponse:
        page = await self._clients.page(decode_job_query(request, caller().namespace))
        return await encode_page(page)

    async def QueueStats(
        self,
        request: pb.QueueStatsRequest,
        context: grpc.aio.ServicerContext[pb.QueueStatsRequest, pb.QueueStatsResponse],
    ) -> pb.QueueStatsResponse:
        if request.queue:
            check_queue(request.queue)
        queues = self._clients.queue_statistics(
            request.queue or None,
            namespace=caller().namespace,
            after=decode_queue_token(request.page_token),
        )
        return pb.QueueStatsResponse(
            queues=[encode_statistics(each) for each in queues],
            next_page_token=encode_queue_token(queues[-1].key)
            if len(queues) == QUEUES_PAGE_MAX
            else "",
        )

    async def CancelJob(
        self,
        request: pb.CancelJobRequest,
        context: grpc.aio.ServicerContext[pb.CancelJobRequest, pb.CancelJobResponse],
    ) -> pb.CancelJobResponse:
        job = await self._clients.cancel(JobId(request.job_id), caller().subject)
        return pb.CancelJobResponse(job=_encode_shown(job))

    async def RetryJob(
        self,
        request: pb.RetryJobRequest,
        context: grpc.aio.ServicerContext[pb.RetryJobRequest, pb.RetryJobResponse],
    ) -> pb.RetryJobResponse:
        check_may_retry(caller(), self._clients.job(JobId(request.job_id)))
        job = await self._clients.retry(
            JobId(request.job_id), checked_request_id(request.request_id), caller().subject
        )
        return pb.RetryJobResponse(job=_encode_shown(job))

    # Workers' calls

    async def DequeueJob(  # type: ignore[override] # a coroutine that writes, as is Work
        self,
        request: pb.DequeueJobRequest,
        context: grpc.aio.ServicerContext[pb.DequeueJobRequest, pb.DequeueJobResponse],
    ) -> None:
        """Leases jobs to a caller; a job that was not written returns to its place in line."""
        undelivered = await self._workers.lease(
            [queue_or_default(request.queue)],
            # Each call counts as one worker: the published contract has no other identity.
            worker=WorkerId(f"{caller().subject}/{token_hex(4)}"),
            span=visibility_timeout(request.visibility_timeout_seconds),
            namespace=caller().namespace,
            most=jobs_to_lease(request.max_jobs),
            wait=_patience(context.time_remaining()),
        )
        if not undelivered:
            await self._broker.stopped()  # or the caller's deadline, which is near
            raise ShuttingDown

        async def write(leased: LeasedJob) -> None:
            job = encode_job(leased.job)
            await context.write(pb.DequeueJobResponse(job=job, task_token=leased.token))

        try:
            while undelivered and await deliver_first(undelivered, write):
                pass
        finally:
            await self._give_back(undelivered)

    async def UpdateJob(
        self,
        request: pb.UpdateJobRequest,
        context: grpc.aio.ServicerContext[pb.UpdateJobRequest, pb.UpdateJobResponse],
    ) -> pb.UpdateJobResponse:
        span = visibility_timeout(request.visibility_timeout_seconds)
        await self._workers.renew(
            TaskToken(request.task_token), span=span, queue=request.queue or None
        )
        return pb.UpdateJobResponse()

    async def CompleteJob(
        self,
        request: pb.CompleteJobRequest,
        context: grpc.aio.ServicerContext[pb.CompleteJobRequest, pb.CompleteJobResponse],
    ) -> pb.CompleteJobResponse:
        if not request.HasField("job_result"):
            raise InvalidRequest("job_result", "is missing: say how the job ended")
        outcome = decode_outcome(request.job_result)
        job = JobId(request.job_result.job_id) if request.job_result.job_id else None
        await self._workers.complete(TaskToken(request.task_token), outcome, job=job)
        return pb.CompleteJobResponse()

    async def ReleaseJob(
        self,
        request: pb.ReleaseJobRequest,
        context: grpc.aio.ServicerContext[pb.ReleaseJobRequest, pb.ReleaseJobResponse],
    ) -> pb.ReleaseJobResponse:
        await self._workers.release(TaskToken(request.task_token))
        return pb.ReleaseJobResponse()

    async def Work(  # type: ignore[override] # a coroutine that writes is as good as an iterator
        self,
        request_iterator: AsyncIterator[pb.WorkRequest],
        context: grpc.aio.ServicerContext[pb.WorkRequest, pb.WorkResponse],
    ) -> None:
        channel: Channel[FromServer, FromWorker] = WorkStream(request_iterator, context)
        await Session(
            self._broker,
            channel,
            version=self._version,
            namespace=caller().namespace,
            subject=caller().subject,
        ).run()

    async def _give_back(self, undelivered: list[LeasedJob]) -> None:
        for leased in undelivered:
            try:
                await self._workers.release(leased.token)
            except Refused:
                continue  # the lease has ended, or the server is about to


def _patience(left: float | None) -> float | None:
    """The seconds for which a caller with `left` seconds may get a job.

    A job leased in the last moment would reach its caller after the deadline, and no worker until the
    lease lapses.
    """
    return None if left is None else max(0.0, left - min(_LANDING_SECONDS, left / 10))


def _tried(request: pb.EnqueueJobRequest) -> JobRequest | Refused:
    try:
        return _decode_request(request)
    except Refused as refusal:
        return refusal


def _decode_request(request: pb.EnqueueJobRequest) -> JobRequest:
    spec = decode_spec(request.job_params, request.queue)
    return job_request(spec, request.request_id, caller())


def _fill_accepted(said: pb.EnqueueJobResponse, job: Job) -> None:
    said.job_id, said.state = job.id, JOB_STATES.encode(job.state)
    fill_instant(said.created_at, job.created_at)


def _encode_shown(job: Job) -> pb.Job:
    """The job, with the values of its environment if the caller may see them."""
    return encode_job(job, with_values=may_see_environment(caller(), job))
