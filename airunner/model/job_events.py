"""A job's stream as a watcher is told it.

The log holds facts, which say all that a replay needs. A watcher gets entries,
which say all that a viewer needs: what happened, when, in which attempt, and
which sequences it takes. Entries of one job, read from 1 on, follow each other
without a gap, so whoever keeps the last one's `last` can prove that nothing is
missing and go on from there.
"""

from collections.abc import Mapping
from typing import Final, assert_never

from msgspec import Struct
from msgspec.structs import replace

from airunner.model.artifacts import Artifact
from airunner.model.facts import (
    ArtifactKept,
    ArtifactsDropped,
    CancelRequested,
    Enqueued,
    Event,
    Finished,
    Forgotten,
    Leased,
    OutputDropped,
    Renewed,
    Reported,
    ReportTotals,
    Returned,
    SubjectFact,
)
from airunner.model.jobs import (
    AttemptEnd,
    Instant,
    JobId,
    JobState,
    Outcome,
    Sequence,
    Subject,
    WorkerId,
)
from airunner.model.proof.seal import NOTHING, Link, Seal
from airunner.model.reports import (
    Alive,
    CloneEnded,
    CloneFailed,
    CloneProgressed,
    CloneStarted,
    ContainerCreated,
    ContainerRemoved,
    ImagePullEnded,
    ImagePullProgressed,
    ImagePullStarted,
    Output,
    OutputCut,
    ProcessEnded,
    ProcessFailed,
    ProcessStarted,
    Remark,
    Report,
    StepEnded,
    StepStarted,
    TerminalResized,
    without_first,
)


class JobEnqueued(Struct, frozen=True, gc=False):
    queue: str
    retry_of: JobId | None


class JobLeased(Struct, frozen=True, gc=False):
    """A worker has the job."""

    worker: WorkerId


class JobReturned(Struct, frozen=True, gc=False):
    ending: AttemptEnd  # of the attempt that is over
    failures: int  # of the job


class JobCancelRequested(Struct, frozen=True, gc=False):
    by: Subject


class ArtifactStored(Struct, frozen=True, gc=False):
    """A file that the attempt made is kept."""

    artifact: Artifact


class JobFinished(Struct, frozen=True, gc=False):
    """Nothing follows."""

    state: JobState
    outcome: Outcome
    seal: Seal | None = None


JobEventBody = (
    Report
    | JobEnqueued
    | JobLeased
    | JobReturned
    | JobCancelRequested
    | ArtifactStored
    | JobFinished
)


class JobEvent(Struct, frozen=True, kw_only=True, gc=False):
    """One happening, which takes the sequences `first` to `last`."""

    first: Sequence
    last: Sequence
    at: Instant  # by the server's clock
    attempt: int  # 0: it belongs to none
    body: JobEventBody
    link: Link = NOTHING  # of the chain up to `last`


def job_event(event: Event) -> JobEvent | None:
    """What a watcher is told of an event; None: nothing."""
    match event.fact:
        case Enqueued(spec=spec, retry_of=retry_of):
            return _job_event(event, 0, JobEnqueued(spec.queue, retry_of))
        case Leased(_, attempt, lease):
            return _job_event(event, attempt, JobLeased(lease.worker))
        case Returned(_, attempt, ending, failures):
            return _job_event(event, attempt, JobReturned(ending, failures))
        case CancelRequested(_, attempt, by):
            return _job_event(event, attempt, JobCancelRequested(by))
        case Finished(_, attempt, state, outcome, seal=seal):
            return _job_event(event, attempt, JobFinished(state, outcome, seal))
        case ArtifactKept(_, attempt, artifact):
            return _job_event(event, attempt, ArtifactStored(artifact))
        case Reported(attempt=attempt, report=report):
            return _job_event(event, attempt, report)
        case Renewed() | ReportTotals() | OutputDropped() | ArtifactsDropped() | Forgotten():
            return None
        case SubjectFact():
            return None
        case _:
            assert_never(event.fact)


def without_before(whole: JobEvent, start: int) -> JobEvent:
    """The entry without its sequences before `start`; start <= last."""
    match whole.body:
        case (
            JobEnqueued()
            | JobLeased()
            | JobReturned()
            | JobCancelRequested()
            | ArtifactStored()
            | JobFinished()
        ):
            return whole
        case report:
            skip = start - whole.first
            if skip <= 0:
                return whole
            return replace(whole, first=Sequence(start), body=without_first(report, skip))


def _job_event(event: Event, attempt: int, what: JobEventBody) -> JobEvent:
    return JobEvent(
        first=event.first,
        last=event.last,
        at=event.at,
        attempt=attempt,
        body=what,
        link=event.link,
    )


_KINDS: Final[Mapping[type, str]] = {
    JobEnqueued: "enqueued",
    JobLeased: "leased",
    JobReturned: "returned",
    JobCancelRequested: "cancel_requested",
    ArtifactStored: "artifact",
    JobFinished: "finished",
    Output: "output",
    OutputCut: "output_cut",
    ProcessStarted: "process_start",
    ProcessEnded: "process_end",
    ProcessFailed: "process_error",
    StepStarted: "step_start",
    StepEnded: "step_end",
    Alive: "heartbeat",
    TerminalResized: "terminal_resize",
    CloneStarted: "git_clone_start",
    CloneProgressed: "git_clone_progress",
    CloneEnded: "git_clone_end",
    CloneFailed: "git_clone_error",
    Remark: "remark",
    ContainerCreated: "container_create",
    ContainerRemoved: "container_remove",
    ImagePullStarted: "image_pull_start",
    ImagePullProgressed: "image_pull_progress",
    ImagePullEnded: "image_pull_complete",
}


def event_kind(what: JobEventBody) -> str:
    """The name of what happened, as the wire contract calls its type of event."""
    return _KINDS[type(what)]
