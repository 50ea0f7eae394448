"""What can happen. A fact is decided once, logged, and true for ever.

An Event is a fact with its position in the log and its time. Every other state in the system is
computed from events.

Each fact is about one subject. A JobFact is about a job and names it as `id`. A SubjectFact is about
something else (a run, a pipeline, a queue, a group, a schedule) and names it as `subject`. The types
tell them apart, so code that reads jobs cannot be given a fact about a queue.

A fact states the new situation ("attempt 2, lease until T"), never an instruction ("one more
attempt"). So a log can be read in five years without knowledge of today's rules.
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
    id: JobId
    spec: JobSpec
    request: RequestId
    submitter: Subject
    retry_of: JobId | None


class Leased(Struct, frozen=True, gc=False):
    id: JobId
    attempt: int
    lease: Lease


class Renewed(Struct, frozen=True, gc=False):
    """The lease holds until later; no watcher is told."""

    id: JobId
    lease: Lease


class Returned(Struct, frozen=True, gc=False):
    """Back in line, at the job's old place."""

    id: JobId
    attempt: int  # the one that is over
    ending: AttemptEnd
    failures: int  # of the job, this one included if it counts


class CancelRequested(Struct, frozen=True, gc=False):
    """Whatever happens now, the job ends CANCELLED."""

    id: JobId
    attempt: int  # the one that runs
    by: Subject


class Finished(Struct, frozen=True, gc=False):
    """The one end that a job has; `state` is final."""

    id: JobId
    attempt: int  # the one that ended with it; 0: the job was in line
    state: JobState
    outcome: Outcome
    ending: AttemptEnd | None  # of the attempt that was running, if one was
    failures: int
    seal: Seal | None = None  # of the job's log; whoever records the fact puts it there


class Reported(Struct, frozen=True, gc=False):
    """Something its worker said of the current attempt."""

    id: JobId
    attempt: int
    sent: int  # the worker's own number of it (the last, if it takes several); 0: not numbered
    report: Report


class ReportTotals(Struct, frozen=True, gc=False):
    """How far the reports of a job had come.

    Nobody decides this: it is what a log may tell a replay in the place of all that was
    Reported so far, so that a start takes no longer for more output.
    """

    id: JobId
    sent: int  # of the current attempt
    output_bytes: int
    output_bytes_cut: int


class ArtifactKept(Struct, frozen=True, gc=False):
    """A file that the current attempt made is kept, whole, beside the log."""

    id: JobId
    attempt: int
    artifact: Artifact


class OutputDropped(Struct, frozen=True, gc=False):
    """Retention has taken the output of a finished job; its other events stay."""

    id: JobId


class ArtifactsDropped(Struct, frozen=True, gc=False):
    """Retention has taken the artifacts of a finished job; its log stays."""

    id: JobId


class Forgotten(Struct, frozen=True, gc=False):
    """Retention has taken the job and all of its events."""

    id: JobId


class SubjectFact(Struct, frozen=True, gc=False):
    """The base of each fact about something other than a job. No job's watcher sees it.

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
    """How many sequences of its job's stream the fact takes; 0: no watcher sees it."""
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
    """A fact with its position in the log and its place in its job's stream.

    `first` is the first of the sequence_count(fact) sequences that the fact takes. For a fact that
    takes none it is the sequence of the job's last visible event, and 0 if the fact is about no job.
    `link` is the chain of the job's visible events up to this one.
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
        """The highest sequence that the event takes."""
        taken = count_sequences(self.fact.report) if isinstance(self.fact, Reported) else 1
        return Sequence(self.first + taken - 1)
