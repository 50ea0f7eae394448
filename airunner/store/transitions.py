"""The effect of each fact on a job: every change of state."""

from typing import assert_never

from msgspec.structs import replace

from airunner.model.facts import (
    ArtifactKept,
    ArtifactsDropped,
    CancelRequested,
    Enqueued,
    Event,
    Finished,
    Leased,
    LifecycleFact,
    OutputDropped,
    Renewed,
    Reported,
    ReportTotals,
    Returned,
)
from airunner.model.jobs import (
    AttemptEnd,
    Instant,
    Job,
    JobState,
    Millis,
    PastAttempt,
)
from airunner.model.limits import ATTEMPTS_KEPT
from airunner.model.reports import Output, OutputCut

Moving = LifecycleFact | Reported | ReportTotals | OutputDropped | ArtifactsDropped


def new_job(fact: Enqueued, event: Event) -> Job:
    """The job at the moment at which it enters its queue."""
    return Job(
        id=fact.id,
        spec=fact.spec,
        place=event.place,
        created_at=event.at,
        updated_at=event.at,
        queued_at=event.at,
        request=fact.request,
        submitter=fact.submitter,
        retry_of=fact.retry_of,
        sequence=event.last,
        link=event.link,
    )


def apply_fact(job: Job, fact: Moving, event: Event) -> Job:
    """The job after an event; `fact` is the fact of the event."""
    at = event.at
    match fact:
        case Reported() | ReportTotals() | OutputDropped():
            return _counted(job, fact, event)
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
                sequence=event.last,
                link=event.link,
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
                artifacts_void=job.artifacts_void + job.artifacts,
                artifacts=0,  # the next attempt makes its own
                artifact_bytes=0,
                updated_at=at,
                sequence=event.last,
                link=event.link,
            )
        case CancelRequested():
            return replace(
                job, cancel_requested_at=at, updated_at=at, sequence=event.last, link=event.link
            )
        case Finished(_, _, state, outcome, ending, failures, seal):
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
                seal=seal,
                sequence=event.last,
                link=event.link,
                output_bytes=seal.size if seal else job.output_bytes,
                output_bytes_cut=seal.cut if seal else job.output_bytes_cut,
                reports=0,
            )
        case ArtifactKept() | ArtifactsDropped():
            return _with_artifacts(job, fact, event)
        case Enqueued():
            raise AssertionError("a job begins once")
        case _:
            assert_never(fact)


def _counted(job: Job, fact: Reported | ReportTotals | OutputDropped, event: Event) -> Job:
    """The job after a report, or after retention dropped its output."""
    match fact:
        case Reported(sent=sent, report=report):
            kept = report.size if isinstance(report, Output) else 0
            cut = report.size if isinstance(report, OutputCut) else 0
            return replace(
                job,
                sequence=event.last,
                link=event.link,
                sent=sent or job.sent,
                output_bytes=job.output_bytes + kept,
                output_bytes_cut=job.output_bytes_cut + cut,
                reports=job.reports + (not isinstance(report, Output | OutputCut)),
            )
        case ReportTotals(_, sent, kept, cut, reports):
            return replace(
                job,
                sequence=event.last,
                link=event.link,
                sent=sent,
                output_bytes=kept,
                output_bytes_cut=cut,
                reports=reports,
            )
        case OutputDropped():
            cut = job.output_bytes_cut + job.output_bytes
            return replace(job, output_bytes=0, output_bytes_cut=cut)
        case _:
            assert_never(fact)


def _with_artifacts(job: Job, fact: ArtifactKept | ArtifactsDropped, event: Event) -> Job:
    """The job after one more artifact, or after retention dropped its artifacts."""
    match fact:
        case ArtifactKept(_, _, artifact):
            return replace(
                job,
                artifacts=job.artifacts + 1,
                artifact_bytes=job.artifact_bytes + artifact.size,
                sequence=event.last,
                link=event.link,
            )
        case ArtifactsDropped():
            return replace(job, artifacts=0, artifact_bytes=0)
        case _:
            assert_never(fact)


def _waited(job: Job, at: Instant) -> Millis:
    return job.waited if job.queued_at is None else Millis(job.waited + at - job.queued_at)


def _history(job: Job, ending: AttemptEnd, at: Instant) -> tuple[PastAttempt, ...]:
    """The job's past attempts with the current one, at most ATTEMPTS_KEPT; the oldest are left out."""
    assert job.lease
    assert job.leased_at is not None
    over = PastAttempt(
        number=job.attempt,
        token=job.lease.token,
        worker=job.lease.worker,
        leased_at=job.leased_at,
        ended_at=at,
        ending=ending,
    )
    return (*job.attempts, over)[-ATTEMPTS_KEPT:]
