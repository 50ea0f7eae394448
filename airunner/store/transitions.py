"""What each lifecycle fact makes of a job: every change of state there is."""

from dataclasses import replace
from typing import assert_never

from airunner.facts import (
    CancelRequested,
    Enqueued,
    Finished,
    Leased,
    LifecycleFact,
    Renewed,
    Returned,
)
from airunner.jobs import (
    Attempt,
    Ending,
    Instant,
    Job,
    JobState,
    Millis,
    Place,
    Sequence,
)
from airunner.limits import ATTEMPTS_KEPT


def begun(fact: Enqueued, place: Place, at: Instant) -> Job:
    """The job as it enters the line."""
    return Job(
        id=fact.id,
        spec=fact.spec,
        place=place,
        created_at=at,
        updated_at=at,
        queued_at=at,
        request=fact.request,
        submitter=fact.submitter,
        retry_of=fact.retry_of,
        sequence=Sequence(1),
    )


def after(job: Job, fact: LifecycleFact, at: Instant) -> Job:
    """The job once the fact is true."""
    match fact:
        case Enqueued():
            raise AssertionError("a job begins once")
        case Renewed(_, lease):
            return replace(job, lease=lease)
        case Leased(_, attempt, lease):
            return replace(
                job,
                state=JobState.RUNNING,
                attempt=attempt,
                lease=lease,
                leased_at=at,
                waited=_waited(job, at),
                queued_at=None,
                sent=0,
                updated_at=at,
                sequence=Sequence(job.sequence + 1),
            )
        case Returned(_, _, ending, failures):
            return replace(
                job,
                state=JobState.SCHEDULED,
                failures=failures,
                lease=None,
                leased_at=None,
                queued_at=at,
                attempts=_history(job, ending, at),
                updated_at=at,
                sequence=Sequence(job.sequence + 1),
            )
        case CancelRequested():
            return replace(
                job,
                cancel_requested_at=at,
                updated_at=at,
                sequence=Sequence(job.sequence + 1),
            )
        case Finished(_, _, state, outcome, ending, failures):
            return replace(
                job,
                state=state,
                outcome=outcome,
                failures=failures,
                lease=None,
                leased_at=None,
                waited=_waited(job, at),
                queued_at=None,
                attempts=job.attempts if ending is None else _history(job, ending, at),
                finished_at=at,
                updated_at=at,
                sequence=Sequence(job.sequence + 1),
            )
        case _:
            assert_never(fact)


def _waited(job: Job, at: Instant) -> Millis:
    return job.waited if job.queued_at is None else Millis(job.waited + at - job.queued_at)


def _history(job: Job, ending: Ending, at: Instant) -> tuple[Attempt, ...]:
    """The job's past attempts once the current one is over; the oldest go first."""
    assert job.lease
    assert job.leased_at is not None
    over = Attempt(
        number=job.attempt,
        token=job.lease.token,
        worker=job.lease.worker,
        leased_at=job.leased_at,
        ended_at=at,
        ending=ending,
    )
    return (*job.attempts, over)[-ATTEMPTS_KEPT:]
