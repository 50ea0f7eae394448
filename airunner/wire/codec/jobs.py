"""The codec of jobs, job queries, pages, wait reasons and queue statistics.

A message contains the public part of a job. Its place in line, its token digests and its report
numbers stay on the server, so a decoded job has defaults there.
"""

from airunner.model.errors import InvalidRequest
from airunner.model.job_query import JobQuery, Page, QueueStatistics
from airunner.model.jobs import (
    BEGINNING,
    Instant,
    Job,
    JobId,
    JobState,
    Lease,
    Millis,
    PastAttempt,
    Position,
    RequestId,
    Sequence,
    Subject,
    TokenDigest,
    WorkerId,
)
from airunner.model.limits import (
    BATCH_BYTES_MAX,
    BATCH_MILLIS_MAX,
    REPORTS_PER_BATCH_MAX,
    VISIBILITY_SECONDS_DEFAULT,
)
from airunner.model.namespaces import DEFAULT_NAMESPACE, QueueKey
from airunner.model.spec import check_queue
from airunner.model.wait_reason import WaitReason
from airunner.wire.codec.enums import ATTEMPT_ENDS, JOB_STATES
from airunner.wire.codec.outcomes import decode_outcome, encode_outcome
from airunner.wire.codec.seals import decode_seal, encode_seal
from airunner.wire.codec.specs import decode_spec, encode_spec
from airunner.wire.codec.times import decode_instant, encode_instant, fill_instant
from airunner.wire.job.v1 import job_pb2 as pb

_BATCHING = pb.BatchingConfig(
    flush_interval_seconds=1,
    max_batch_size=REPORTS_PER_BATCH_MAX,
    max_batch_bytes=BATCH_BYTES_MAX,
    playback_interval_millis=BATCH_MILLIS_MAX,
)
_NO_TOKEN = TokenDigest(b"")  # the wire carries no digest of a token


def encode_job(job: Job, *, with_values: bool = True) -> pb.Job:
    """Encode a job; without values, its environment has the names of variables only."""
    message = pb.Job()
    fill_job(message, job, with_values=with_values)
    return message


def fill_job(message: pb.Job, job: Job, *, with_values: bool = True, whole: bool = True) -> None:
    """Encode a job into an empty message: half the cost of separate messages for its parts.

    Not `whole`: with a spec as encode_spec() shortens it, and without the results of steps.
    """
    message.job_id, message.queue = job.id, job.spec.queue
    message.job_params.CopyFrom(encode_spec(job.spec, with_values=with_values, whole=whole))
    message.state = JOB_STATES.encode(job.state)
    fill_instant(message.created_at, job.created_at)
    fill_instant(message.updated_at, job.updated_at)
    _fill_execution_config(message.execution_config, job)
    message.attempt, message.failures = job.attempt, job.failures
    message.submitter, message.request_id = job.submitter, job.request
    message.last_sequence = job.sequence
    message.output_bytes, message.output_bytes_cut = job.output_bytes, job.output_bytes_cut
    message.artifacts, message.artifact_bytes = job.artifacts, job.artifact_bytes
    if job.retry_of:
        message.retry_of = job.retry_of
    if job.lease:
        message.worker = job.lease.worker
        fill_instant(message.lease_until, job.lease.until)
    if job.leased_at is not None:
        fill_instant(message.leased_at, job.leased_at)
    if job.attempts:
        message.attempts.extend(_encode_attempt(each) for each in job.attempts)
    if job.cancel_requested_at is not None:
        fill_instant(message.cancel_requested_at, job.cancel_requested_at)
    if job.outcome:
        message.result.CopyFrom(encode_outcome(job.outcome, job.id, with_steps=whole))
    if job.finished_at is not None:
        fill_instant(message.finished_at, job.finished_at)
    if seal := encode_seal(job.seal):
        message.seal.CopyFrom(seal)


def decode_job(job: pb.Job) -> Job:
    """Decode the public part of a job."""
    return Job(
        id=JobId(job.job_id),
        spec=decode_spec(job.job_params, job.queue),
        place=BEGINNING,
        created_at=decode_instant(job.created_at, "created_at") or Instant(0),
        updated_at=decode_instant(job.updated_at, "updated_at") or Instant(0),
        request=RequestId(job.request_id),
        submitter=Subject(job.submitter),
        retry_of=JobId(job.retry_of) if job.retry_of else None,
        state=JOB_STATES.decode(job.state, "state"),
        attempt=job.attempt,
        failures=job.failures,
        lease=_decode_lease(job),
        leased_at=decode_instant(job.leased_at, "leased_at"),
        attempts=tuple(_decode_attempt(each) for each in job.attempts),
        cancel_requested_at=decode_instant(job.cancel_requested_at, "cancel_requested_at"),
        outcome=decode_outcome(job.result) if job.HasField("result") else None,
        finished_at=decode_instant(job.finished_at, "finished_at"),
        sequence=Sequence(job.last_sequence),
        seal=decode_seal(job),
        output_bytes=job.output_bytes,
        output_bytes_cut=job.output_bytes_cut,
        artifacts=job.artifacts,
        artifact_bytes=job.artifact_bytes,
    )


def encode_wait_reason(waiting: WaitReason | None) -> pb.Waiting | None:
    if waiting is None:
        return None
    return pb.Waiting(
        ahead=waiting.ahead,
        workers=waiting.workers,
        slots=waiting.slots,
        busy=waiting.busy,
        explanation=waiting.explanation,
        missing=waiting.missing,
    )


def decode_wait_reason(waiting: pb.Waiting, queue: str) -> WaitReason:
    return WaitReason(
        queue=queue,
        ahead=waiting.ahead,
        workers=waiting.workers,
        slots=waiting.slots,
        busy=waiting.busy,
        missing=tuple(waiting.missing),
    )


def encode_job_query(query: JobQuery) -> pb.ListJobsRequest:
    return pb.ListJobsRequest(
        queue=query.queue or "",
        state=(pb.JOB_STATE_UNSPECIFIED if query.state is None else JOB_STATES.encode(query.state)),
        page=query.page,
        page_size=query.page_size,
        page_token="" if query.before is None else str(query.before),
    )


def decode_job_query(
    request: pb.ListJobsRequest, namespace: str | None = DEFAULT_NAMESPACE
) -> JobQuery:
    token = request.page_token
    if token and not (token.isascii() and token.isdecimal() and len(token) < 20):
        raise InvalidRequest("page_token", "is not a next_page_token of an earlier response")
    return JobQuery(
        namespace=namespace,
        queue=request.queue or None,
        state=JOB_STATES.decode(request.state, "state") if request.state else None,
        page=request.page or 1,
        before=Position(int(token)) if token else None,
        page_size=request.page_size or JobQuery().page_size,
    )


def decode_page(response: pb.ListJobsResponse) -> Page:
    return Page(
        jobs=tuple(decode_job(job) for job in response.jobs),
        last_page=response.last_page,
        next=Position(int(response.next_page_token)) if response.next_page_token else None,
    )


def encode_queue_token(last: QueueKey) -> str:
    """The page token of the queues that follow a queue. No name or namespace has a space."""
    return f"{last.name} {last.namespace}"


def decode_queue_token(token: str) -> QueueKey | None:
    """Decode a page token; None for the first page."""
    if not token:
        return None
    name, _, namespace = token.partition(" ")
    for each in (name, namespace):
        check_queue(each, "page_token")
    return QueueKey(name, namespace)


def encode_statistics(statistics: QueueStatistics) -> pb.QueueStatistics:
    return pb.QueueStatistics(
        queue=statistics.queue,
        scheduled=statistics.counts[JobState.SCHEDULED],
        running=statistics.counts[JobState.RUNNING],
        completed=statistics.counts[JobState.COMPLETED],
        failed=statistics.counts[JobState.FAILED],
        cancelled=statistics.counts[JobState.CANCELLED],
        oldest_scheduled_at=encode_instant(statistics.oldest),
        workers=statistics.workers,
        slots=statistics.slots,
        busy=statistics.busy,
    )


def decode_statistics(statistics: pb.QueueStatistics) -> QueueStatistics:
    return QueueStatistics(
        queue=statistics.queue,
        counts={
            JobState.SCHEDULED: statistics.scheduled,
            JobState.RUNNING: statistics.running,
            JobState.COMPLETED: statistics.completed,
            JobState.FAILED: statistics.failed,
            JobState.CANCELLED: statistics.cancelled,
        },
        oldest=decode_instant(statistics.oldest_scheduled_at, "oldest_scheduled_at"),
        workers=statistics.workers,
        slots=statistics.slots,
        busy=statistics.busy,
    )


def _fill_execution_config(message: pb.ExecutionConfig, job: Job) -> None:
    """Fill in the intervals at which a worker of the published contract sends and renews."""
    span = job.lease.span if job.lease else VISIBILITY_SECONDS_DEFAULT * 1000
    message.heartbeat_interval_seconds = max(1, span // 3000)
    message.output_flush_interval_millis = BATCH_MILLIS_MAX
    message.batching.CopyFrom(_BATCHING)


def _decode_lease(job: pb.Job) -> Lease | None:
    until = decode_instant(job.lease_until, "lease_until")
    if until is None:
        return None
    return Lease(token=_NO_TOKEN, worker=WorkerId(job.worker), span=Millis(0), until=until)


def _encode_attempt(attempt: PastAttempt) -> pb.Attempt:
    return pb.Attempt(
        number=attempt.number,
        worker=attempt.worker,
        leased_at=encode_instant(attempt.leased_at),
        ended_at=encode_instant(attempt.ended_at),
        ending=ATTEMPT_ENDS.encode(attempt.ending),
    )


def _decode_attempt(attempt: pb.Attempt) -> PastAttempt:
    return PastAttempt(
        number=attempt.number,
        token=_NO_TOKEN,
        worker=WorkerId(attempt.worker),
        leased_at=decode_instant(attempt.leased_at, "attempts.leased_at") or Instant(0),
        ended_at=decode_instant(attempt.ended_at, "attempts.ended_at") or Instant(0),
        ending=ATTEMPT_ENDS.decode(attempt.ending, "attempts.ending"),
    )
