"""What a job is; nothing about how it is queued, kept or run."""

from enum import StrEnum
from hashlib import blake2b
from typing import NewType

from msgspec import Struct

from airunner.model.proof.seal import NOTHING, Link, Seal
from airunner.model.spec import JobSpec
from airunner.model.steps import StepStatus

Position = NewType("Position", int)  # in the log: one order for everything, 1, 2, 3 ...
BEGINNING = Position(0)  # before the first event
Sequence = NewType("Sequence", int)  # in one job's stream: 1, 2, 3 ... over all its attempts
Instant = NewType("Instant", int)  # milliseconds since the epoch; never goes back
Millis = NewType("Millis", int)

JobId = NewType("JobId", str)  # a UUIDv7
RequestId = NewType("RequestId", str)  # the submitter's idempotency key; "" is none
TaskToken = NewType("TaskToken", str)  # the secret that one lease gives to one worker
TokenDigest = NewType("TokenDigest", bytes)  # all that the server keeps of a TaskToken
WorkerId = NewType("WorkerId", str)  # one incarnation of a worker, not its name
Subject = NewType("Subject", str)  # who is calling, as their token says


def digest(token: TaskToken) -> TokenDigest:
    """What stands for a token wherever it is kept, so that no log holds a secret."""
    return TokenDigest(blake2b(token.encode(), digest_size=16).digest())


class JobState(StrEnum):
    """Where a job is on its way. Why it is there is data on the job, never a sixth state."""

    SCHEDULED = "scheduled"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def final(self) -> bool:
        return self not in (JobState.SCHEDULED, JobState.RUNNING)


class Reason(StrEnum):
    """Why a job ended."""

    EXITED = "exited"  # the command ended by itself; exit_code says how
    SIGNALED = "signaled"  # a signal ended it; exit_code is 128 + signal
    TIMEOUT = "timeout"  # it ran longer than it may
    CANCELLED = "cancelled"
    LOST = "lost"  # as many leases lapsed as may
    OOM = "oom"  # it used more memory than it may
    SETUP_FAILED = "setup_failed"  # checkout, workspace or sandbox; the command never ran
    QUEUE_TIMEOUT = "queue_timeout"  # it waited in line longer than it may
    NOT_FOUND = "not_found"  # no such command; exit_code is 127
    NOT_EXECUTABLE = "not_executable"  # exit_code is 126
    FAILED = "failed"  # a worker of the published contract said no more than that
    ARTIFACTS_FAILED = "artifacts_failed"  # the command did well; what it made could not be kept


class StepResult(Struct, frozen=True, kw_only=True, gc=False):
    """What came of one step; its place in the list is its index."""

    name: str
    status: StepStatus
    exit_code: int | None = None  # None: it never ran, or never ended
    started_at: Instant | None = None  # by the worker's clock
    ended_at: Instant | None = None


class Outcome(Struct, frozen=True, kw_only=True, gc=False):
    """How a job ended. No exit code means that the command never ran or never ended."""

    reason: Reason
    exit_code: int | None = None
    signal: int | None = None
    error: str = ""
    started_at: Instant | None = None  # the process, by the worker's clock
    ended_at: Instant | None = None
    log_complete: bool = True  # False: the worker could not deliver all of its reports
    steps: tuple[StepResult, ...] = ()  # of a job of steps, each of them

    @property
    def state(self) -> JobState:
        """Where this leaves a job whose cancelling nobody asked for."""
        if self.reason is Reason.CANCELLED:
            return JobState.CANCELLED
        if self.reason is Reason.EXITED and self.exit_code == 0:
            return JobState.COMPLETED
        return JobState.FAILED


class Lease(Struct, frozen=True, kw_only=True, gc=False):
    """One worker's right to one job, until it lapses (the visibility timeout)."""

    token: TokenDigest
    worker: WorkerId
    span: Millis
    until: Instant


class AttemptEnd(StrEnum):
    """How an attempt ended."""

    FINISHED = "finished"  # with the job's outcome
    RELEASED = "released"  # given back untouched or unfinished; not a failure
    LAPSED = "lapsed"  # out of touch for longer than the visibility timeout; a failure
    LOST = "lost"  # reported dead by the worker that took over its spool; a failure


class PastAttempt(Struct, frozen=True, kw_only=True, gc=False):
    """A lease that is over, as a job's history tells it."""

    number: int
    token: TokenDigest
    worker: WorkerId
    leased_at: Instant
    ended_at: Instant
    ending: AttemptEnd


class Job(Struct, frozen=True, kw_only=True, gc=False):
    """A job as it is now.

    Every fact about it makes a new one: a Struct is copied forty times as fast as a dataclass.
    """

    id: JobId
    spec: JobSpec
    place: Position  # in line: that of its Enqueued event, so a returned job keeps its turn
    created_at: Instant
    updated_at: Instant
    request: RequestId = RequestId("")
    submitter: Subject = Subject("")
    retry_of: JobId | None = None
    state: JobState = JobState.SCHEDULED
    attempt: int = 0  # the ordinal of the latest lease, never reused
    failures: int = 0  # leases that lapsed or were reported dead; what attempts_max bounds
    lease: Lease | None = None
    leased_at: Instant | None = None  # the current lease, if there is one
    queued_at: Instant | None = None  # since when it is in line, if it is
    waited: Millis = Millis(0)  # in line before that
    attempts: tuple[PastAttempt, ...] = ()  # the leases that are over, oldest first
    cancel_requested_at: Instant | None = None
    outcome: Outcome | None = None
    finished_at: Instant | None = None
    seal: Seal | None = None  # of the log of a job that has ended
    sequence: Sequence = Sequence(0)  # of the job's last visible event
    link: Link = NOTHING  # of that event
    sent: int = 0  # the number that the current attempt's worker gave its last stored report
    output_bytes: int = 0  # kept in the log, over all attempts
    output_bytes_cut: int = 0  # written by the command, but not kept
    artifacts: int = 0  # files of the latest attempt
    artifact_bytes: int = 0


class JobRequest(Struct, frozen=True, kw_only=True, gc=False):
    """A request for one job."""

    spec: JobSpec
    request: RequestId = RequestId("")
    submitter: Subject = Subject("")
    retry_of: JobId | None = None
