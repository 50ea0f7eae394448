"""The facts of the event log. A fact is decided once, appended to the log, and never changes.

An Event is a fact with its position in the log and its time. All other state is
computed from events.

Each fact is about one subject. A JobFact is about a job and names it as `id`. A SubjectFact is
about something else (a run, a pipeline, a queue, a group, a schedule) and names it as `subject`.
The types tell the two apart, so code that reads jobs cannot be given a fact about a queue.

A fact states a result ("attempt 2, lease until T"), never an instruction ("one more
attempt"), so a log of today can be replayed under the rules of a later release.
"""

from typing import assert_never

from msgspec import Struct

from airunner.model.artifacts import Artifact
from airunner.model.jobs import (
    AttemptEnd,
    Instant,
    JobId,
    JobState,
    Lease,
    Outcome,
    Position,
    RequestId,
    Sequence,
    Subject,
)
from airunner.model.proof.seal import NOTHING, Link, Seal
from airunner.model.reports import Report, count_sequences
from airunner.model.spec import JobSpec


class Enqueued(Struct, frozen=True, gc=False):
    """A job was created and waits in line; `request` is the submitter's idempotency key."""

    id: JobId
    spec: JobSpec
    request: RequestId
    submitter: Subject
    retry_of: JobId | None


class Leased(Struct, frozen=True, gc=False):
    """An attempt began: a worker holds a lease of the job."""

    id: JobId
    attempt: int
    lease: Lease


class Renewed(Struct, frozen=True, gc=False):
    """The lease was extended to a later `until`. Not part of the job's event stream."""

    id: JobId
    lease: Lease


class Returned(Struct, frozen=True, gc=False):
    """The attempt ended and the job waits again, at its old place in line."""

    id: JobId
    attempt: int  # the attempt that ended
    ending: AttemptEnd
    failures: int  # of the job, including this attempt if its end counts as a failure


class CancelRequested(Struct, frozen=True, gc=False):
    """A running job is to be stopped. From here on it can only end as CANCELLED."""

    id: JobId
    attempt: int  # the running attempt
    by: Subject


class Finished(Struct, frozen=True, gc=False):
    """The job ended, once and for all; `state` is final."""

    id: JobId
    attempt: int  # the attempt that ended with the job; 0: the job was in line
    state: JobState
    outcome: Outcome
    ending: AttemptEnd | None  # of the running attempt; None: no attempt was running
    failures: int
    seal: Seal | None = None  # of the job's log; set by the engine when it records the fact


class Reported(Struct, frozen=True, gc=False):
    """A report of the current attempt's worker: output, progress, metrics and the like."""

    id: JobId
    attempt: int
    sent: int  # the worker's number of the report (of a batch: the last number); 0: not numbered
    report: Report


class ReportTotals(Struct, frozen=True, gc=False):
    """The totals of a job's reports up to a position of the log.

    A summary, not a decision: during a replay a log may yield it in the place of all earlier
    Reported facts of the job, so that the start-up time does not grow with the output.
    """

    id: JobId
    sent: int  # the number of the current attempt's last report
    output_bytes: int
    output_bytes_cut: int
    reports: int = 0  # other than output and marks


class ArtifactKept(Struct, frozen=True, gc=False):
    """A file of the current attempt is stored, complete, in the blob store."""

    id: JobId
    attempt: int
    artifact: Artifact


class OutputDropped(Struct, frozen=True, gc=False):
    """Retention removed the output of a finished job; its other events stay."""

    id: JobId


class ArtifactsDropped(Struct, frozen=True, gc=False):
    """Retention removed the artifacts of a finished job; its log stays."""

    id: JobId


class Forgotten(Struct, frozen=True, gc=False):
    """Retention removed the job and all of its events."""

    id: JobId


class SubjectFact(Struct, frozen=True, gc=False):
    """The base of each fact about something other than a job. Not part of a job's event stream.

    `subject` is a kind and a name, such as `queue/builds`. A kind of fact is a subclass.
    """

    subject: str


LifecycleFact = Enqueued | Leased | Renewed | Returned | CancelRequested | ArtifactKept | Finished
RetentionFact = OutputDropped | ArtifactsDropped | Forgotten
JobFact = LifecycleFact | Reported | ReportTotals | RetentionFact
Fact = JobFact | SubjectFact


def subject_of(fact: Fact) -> str:
    """The subject of a fact: the id of a job, or the subject of a SubjectFact.

    The id of a job is a UUID and has no slash, so the two never collide.
    """
    return fact.subject if isinstance(fact, SubjectFact) else fact.id


def sequence_count(fact: Fact) -> int:
    """The number of sequences that the fact takes in its job's event stream; 0: not part of it."""
    match fact:
        case Reported(report=report):
            return count_sequences(report)
        case Enqueued() | Leased() | Returned() | CancelRequested() | ArtifactKept() | Finished():
            return 1
        case Renewed() | ReportTotals() | OutputDropped() | ArtifactsDropped() | Forgotten():
            return 0
        case SubjectFact():
            return 0
        case _:
            assert_never(fact)


class Event(Struct, frozen=True, gc=False):
    """A fact with its position in the log and its sequence in the job's event stream.

    A fact takes sequence_count(fact) sequences, beginning at `first`. For a fact that takes
    none, `first` is the sequence of the job's last visible event, and 0 if the fact is about no
    job. `link` is the hash chain over the job's visible events up to and including this event.
    """

    place: Position
    at: Instant
    fact: Fact
    first: Sequence
    link: Link = NOTHING

    @property
    def job(self) -> JobId:
        """The job that the event is about. Its fact must be a JobFact."""
        fact = self.fact
        assert not isinstance(fact, SubjectFact)
        return fact.id

    @property
    def last(self) -> Sequence:
        """The last sequence of the event; equal to `first` if it takes one sequence or none."""
        taken = count_sequences(self.fact.report) if isinstance(self.fact, Reported) else 1
        return Sequence(self.first + taken - 1)
