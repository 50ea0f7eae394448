"""Jobs, listings and statistics on the wire.

What comes back from the wire is what a client or a worker may know of a job. The
rest stays on the server: place in line, token digests, report numbers.
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
from airunner.model.namespaces import DEFAULT_NAMESPACE
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
    """The job; without values, its environment is names only."""
    said = pb.Job()
    fill_job(said, job, with_values=with_values)
    return said


def fill_job(said: pb.Job, job: Job, *, with_values: bool = True, whole: bool = True) -> None:
    """As encode_job(), into an empty message: that costs half of what making its parts apart does.

    Not `whole`: as encode_spec(), and without the results of steps.
    """
    said.job_id, said.queue = job.id, job.spec.queue
    said.job_params.CopyFrom(encode_spec(job.spec, with_values=with_values, whole=whole))
    said.state = JOB_STATES.encode(job.state)
    fill_instant(said.created_at, job.created_at)
    fill_instant(said.updated_at, job.updated_at)
    _fill_execution_config(said.execution_config, job)
    said.attempt, said.failures = job.attempt, job.failures
    said.submitter, said.request_id = job.submitter, job.request
    said.last_sequence = job.sequence
    said.output_bytes, said.output_bytes_cut = job.output_bytes, job.output_bytes_cut
    said.artifacts, said.artifact_bytes = job.artifacts, job.artifact_bytes
    if job.retry_of:
        said.retry_of = job.retry_of
    if job.lease:
        said.worker = job.lease.worker
        fill_instant(said.lease_until, job.lease.until)
    if job.leased_at is not None:
        fill_instant(said.leased_at, job.leased_at)
    if job.attempts:
        said.attempts.extend(_encode_attempt(each) for each in job.attempts)
    if job.cancel_requested_at is not None:
        fill_instant(said.cancel_requested_at, job.cancel_requested_at)
    if job.outcome:
        said.result.CopyFrom(encode_outcome(job.outcome, job.id, with_steps=whole))
    if job.finished_at is not None:
        fill_instant(said.finished_at, job.finished_at)
    if seal := encode_seal(job.seal):
        said.seal.CopyFrom(seal)


def decode_job(job: pb.Job) -> Job:
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
    )


def decode_wait_reason(waiting: pb.Waiting, queue: str) -> WaitReason:
    return WaitReason(
        queue=queue,
        ahead=waiting.ahead,
        workers=waiting.workers,
        slots=waiting.slots,
        busy=waiting.busy,
    )


def encode_job_query(listing: JobQuery) -> pb.ListJobsRequest:
    return pb.ListJobsRequest(
        queue=listing.queue or "",
        state=(
            pb.JOB_STATE_UNSPECIFIED if listing.state is None else JOB_STATES.encode(listing.state)
        ),
        page=listing.page,
        page_size=listing.page_size,
        page_token="" if listing.before is None else str(listing.before),
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


def encode_page(page: Page) -> pb.ListJobsResponse:
    """Jobs without the values of their environments, and with no more of a script than a list shows."""
    response = pb.ListJobsResponse(
        last_page=page.last_page, next_page_token="" if page.next is None else str(page.next)
    )
    for job in page.jobs:
        fill_job(response.jobs.add(), job, with_values=False, whole=False)
    return response


def decode_page(response: pb.ListJobsResponse) -> Page:
    return Page(
        jobs=tuple(decode_job(job) for job in response.jobs),
        last_page=response.last_page,
        next=Position(int(response.next_page_token)) if response.next_page_token else None,
    )


def encode_statistics(one: QueueStatistics) -> pb.QueueStatistics:
    return pb.QueueStatistics(
        queue=one.queue,
        scheduled=one.counts[JobState.SCHEDULED],
        running=one.counts[JobState.RUNNING],
        completed=one.counts[JobState.COMPLETED],
        failed=one.counts[JobState.FAILED],
        cancelled=one.counts[JobState.CANCELLED],
        oldest_scheduled_at=encode_instant(one.oldest),
        workers=one.workers,
        slots=one.slots,
        busy=one.busy,
    )


def decode_statistics(one: pb.QueueStatistics) -> QueueStatistics:
    return QueueStatistics(
        queue=one.queue,
        counts={
            JobState.SCHEDULED: one.scheduled,
            JobState.RUNNING: one.running,
            JobState.COMPLETED: one.completed,
            JobState.FAILED: one.failed,
            JobState.CANCELLED: one.cancelled,
        },
        oldest=decode_instant(one.oldest_scheduled_at, "oldest_scheduled_at"),
        workers=one.workers,
        slots=one.slots,
        busy=one.busy,
    )


def _fill_execution_config(said: pb.ExecutionConfig, job: Job) -> None:
    """What a worker of the published contract goes by: when to send, when to renew."""
    span = job.lease.span if job.lease else VISIBILITY_SECONDS_DEFAULT * 1000
    said.heartbeat_interval_seconds = max(1, span // 3000)
    said.output_flush_interval_millis = BATCH_MILLIS_MAX
    said.batching.CopyFrom(_BATCHING)


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
