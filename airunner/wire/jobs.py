"""Jobs, listings and statistics on the wire.

What comes back from the wire is what a client or a worker may know of a job. The
rest stays on the server: place in line, token digests, report numbers.
"""

from airunner.errors import InvalidRequest
from airunner.jobs import (
    BEGINNING,
    Attempt,
    Instant,
    Job,
    JobId,
    JobState,
    Lease,
    Millis,
    Place,
    RequestId,
    Sequence,
    Subject,
    TokenDigest,
    WorkerId,
)
from airunner.limits import (
    BATCH_BYTES_MAX,
    BATCH_MILLIS_MAX,
    REPORTS_PER_BATCH_MAX,
    VISIBILITY_SECONDS_DEFAULT,
)
from airunner.listing import Listing, Page, QueueStatistics
from airunner.waiting import Waiting
from airunner.wire.enums import ENDINGS, JOB_STATES
from airunner.wire.job.v1 import job_pb2 as pb
from airunner.wire.params import decode_spec, encode_spec
from airunner.wire.results import decode_outcome, encode_outcome
from airunner.wire.seals import decode_seal, encode_seal
from airunner.wire.times import decode_instant, encode_instant

_NO_TOKEN = TokenDigest(b"")  # the wire carries no digest of a token


def encode_job(job: Job, *, with_values: bool = True) -> pb.Job:
    """The job; without values, its environment is names only."""
    return pb.Job(
        job_id=job.id,
        job_params=encode_spec(job.spec, with_values=with_values),
        state=JOB_STATES.encode(job.state),
        created_at=encode_instant(job.created_at),
        updated_at=encode_instant(job.updated_at),
        execution_config=_execution_config(job),
        queue=job.spec.queue,
        attempt=job.attempt,
        failures=job.failures,
        result=None if job.outcome is None else encode_outcome(job.outcome, job.id),
        attempts=[_encode_attempt(each) for each in job.attempts],
        submitter=job.submitter,
        retry_of=job.retry_of or "",
        request_id=job.request,
        cancel_requested_at=encode_instant(job.cancel_requested_at),
        finished_at=encode_instant(job.finished_at),
        last_sequence=job.sequence,
        seal=encode_seal(job.seal),
        output_bytes=job.output_bytes,
        output_bytes_cut=job.output_bytes_cut,
        worker=job.lease.worker if job.lease else "",
        lease_until=encode_instant(job.lease.until) if job.lease else None,
        leased_at=encode_instant(job.leased_at),
    )


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
    )


def encode_waiting(waiting: Waiting | None) -> pb.Waiting | None:
    if waiting is None:
        return None
    return pb.Waiting(
        ahead=waiting.ahead,
        workers=waiting.workers,
        slots=waiting.slots,
        busy=waiting.busy,
        explanation=waiting.explanation,
    )


def decode_waiting(waiting: pb.Waiting, queue: str) -> Waiting:
    return Waiting(
        queue=queue,
        ahead=waiting.ahead,
        workers=waiting.workers,
        slots=waiting.slots,
        busy=waiting.busy,
    )


def encode_listing(listing: Listing) -> pb.ListJobsRequest:
    return pb.ListJobsRequest(
        queue=listing.queue or "",
        state=(
            pb.JOB_STATE_UNSPECIFIED if listing.state is None else JOB_STATES.encode(listing.state)
        ),
        page=listing.page,
        page_size=listing.page_size,
        page_token="" if listing.before is None else str(listing.before),
    )


def decode_listing(request: pb.ListJobsRequest) -> Listing:
    token = request.page_token
    if token and not (token.isascii() and token.isdecimal() and len(token) < 20):
        raise InvalidRequest("page_token", "is not a next_page_token of an earlier response")
    return Listing(
        queue=request.queue or None,
        state=JOB_STATES.decode(request.state, "state") if request.state else None,
        page=request.page or 1,
        before=Place(int(token)) if token else None,
        page_size=request.page_size or Listing().page_size,
    )


def encode_page(page: Page) -> pb.ListJobsResponse:
    """Jobs without the values of their environments."""
    return pb.ListJobsResponse(
        jobs=[encode_job(job, with_values=False) for job in page.jobs],
        last_page=page.last_page,
        next_page_token="" if page.next is None else str(page.next),
    )


def decode_page(response: pb.ListJobsResponse) -> Page:
    return Page(
        jobs=tuple(decode_job(job) for job in response.jobs),
        last_page=response.last_page,
        next=Place(int(response.next_page_token)) if response.next_page_token else None,
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


def _execution_config(job: Job) -> pb.ExecutionConfig:
    """What a worker of the published contract goes by: when to send, when to renew."""
    span = job.lease.span if job.lease else VISIBILITY_SECONDS_DEFAULT * 1000
    return pb.ExecutionConfig(
        batching=pb.BatchingConfig(
            flush_interval_seconds=1,
            max_batch_size=REPORTS_PER_BATCH_MAX,
            max_batch_bytes=BATCH_BYTES_MAX,
            playback_interval_millis=BATCH_MILLIS_MAX,
        ),
        heartbeat_interval_seconds=max(1, span // 3000),
        output_flush_interval_millis=BATCH_MILLIS_MAX,
    )


def _decode_lease(job: pb.Job) -> Lease | None:
    until = decode_instant(job.lease_until, "lease_until")
    if until is None:
        return None
    return Lease(token=_NO_TOKEN, worker=WorkerId(job.worker), span=Millis(0), until=until)


def _encode_attempt(attempt: Attempt) -> pb.Attempt:
    return pb.Attempt(
        number=attempt.number,
        worker=attempt.worker,
        leased_at=encode_instant(attempt.leased_at),
        ended_at=encode_instant(attempt.ended_at),
        ending=ENDINGS.encode(attempt.ending),
    )


def _decode_attempt(attempt: pb.Attempt) -> Attempt:
    return Attempt(
        number=attempt.number,
        token=_NO_TOKEN,
        worker=WorkerId(attempt.worker),
        leased_at=decode_instant(attempt.leased_at, "attempts.leased_at") or Instant(0),
        ended_at=decode_instant(attempt.ended_at, "attempts.ended_at") or Instant(0),
        ending=ENDINGS.decode(attempt.ending, "attempts.ending"),
    )
