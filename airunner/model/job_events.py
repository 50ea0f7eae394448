"""The event stream of a job, as a watcher receives it.

The log holds facts, with all that a replay needs. A watcher receives job events, with
all that a viewer needs: the body, the time, the attempt and the sequences. The events of
one job, read from sequence 1, follow each other without a gap. So a watcher that remembers
the `last` of the last event can prove that no event is missing, and resume after it.
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
    """The job was created and waits in line."""

    queue: str
    retry_of: JobId | None


class JobLeased(Struct, frozen=True, gc=False):
    """An attempt began: the worker holds the job's lease."""

    worker: WorkerId


class JobReturned(Struct, frozen=True, gc=False):
    """The attempt ended and the job waits again, at its old place in line."""

    ending: AttemptEnd  # of the attempt
    failures: int  # of the job


class JobCancelRequested(Struct, frozen=True, gc=False):
    """The running job is to be stopped."""

    by: Subject


class ArtifactStored(Struct, frozen=True, gc=False):
    """A file of the attempt is stored."""

    artifact: Artifact


class JobFinished(Struct, frozen=True, gc=False):
    """The job ended. The last event of its stream."""

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
    """One event of a job's stream, with the sequences `first` to `last`."""

    first: Sequence
    last: Sequence
    at: Instant  # by the server's clock
    attempt: int  # 0: the event belongs to no attempt
    body: JobEventBody
    link: Link = NOTHING  # of the hash chain, up to `last`


def job_event(event: Event) -> JobEvent | None:
    """The job event of a logged event; None for a fact that is not part of a job's stream."""
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
    """The event without its sequences before `start`; start <= last."""
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


def _job_event(event: Event, attempt: int, body: JobEventBody) -> JobEvent:
    return JobEvent(
        first=event.first,
        last=event.last,
        at=event.at,
        attempt=attempt,
        body=body,
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


def event_kind(body: JobEventBody) -> str:
    """The kind of an event: the name of its EventType in the wire contract, in lower case."""
    return _KINDS[type(body)]
