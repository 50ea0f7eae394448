"""What can happen. A fact is decided once, logged, and true for ever.

An Event is a fact with its place in the log and its time; all else in the
system is computed from events. Every fact names the job that it is about as id.

A fact states what is now so ("attempt 2, lease until T"), not what to do about
it ("one more attempt"): whoever reads the log in five years need not know
today's rules.
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


LifecycleFact = Enqueued | Leased | Renewed | Returned | CancelRequested | ArtifactKept | Finished
RetentionFact = OutputDropped | ArtifactsDropped | Forgotten
Fact = LifecycleFact | Reported | ReportTotals | RetentionFact


def sequence_count(fact: Fact) -> int:
    """How many sequences of its job's stream the fact takes; 0: no watcher sees it."""
    match fact:
        case Reported(report=report):
            return count_sequences(report)
        case Enqueued() | Leased() | Returned() | CancelRequested() | ArtifactKept() | Finished():
            return 1
        case Renewed() | ReportTotals() | OutputDropped() | ArtifactsDropped() | Forgotten():
            return 0
        case _:
            assert_never(fact)


class Event(Struct, frozen=True, gc=False):
    """A fact, where it stands in the log, and where in its job's stream.

    `first` is the sequence of the first of sequences(fact) numbers; for a fact
    that takes none it is that of the job's last visible event. `link` is the chain of the
    job's visible events up to this one.
    """

    place: Position
    at: Instant
    fact: Fact
    first: Sequence
    link: Link = NOTHING

    @property
    def last(self) -> Sequence:
        """The highest sequence that the event takes."""
        taken = count_sequences(self.fact.report) if isinstance(self.fact, Reported) else 1
        return Sequence(self.first + taken - 1)
