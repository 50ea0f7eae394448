"""The job record and its parts: ids, states, reasons, leases, attempts, outcomes."""

from enum import StrEnum
from hashlib import blake2b
from typing import Final, NewType

from msgspec import Struct

from airunner.model.limits import SPEC_BYTES_SMALL
from airunner.model.proof.seal import NOTHING, Link, Seal
from airunner.model.spec import JobSpec
from airunner.model.steps import StepStatus
from airunner.model.units import text_bytes

STEP_RESULT_BYTES: Final = 320  # memory of a step's result besides the bytes of its name
Position = NewType("Position", int)  # of an event in the log, over all jobs: 1, 2, 3 ...
BEGINNING = Position(0)  # before the first event
Sequence = NewType("Sequence", int)  # in one job's event stream, over all attempts: 1, 2, 3 ...
Instant = NewType("Instant", int)  # milliseconds since the epoch; the server's never decrease
EPOCH = Instant(0)
Millis = NewType("Millis", int)

JobId = NewType("JobId", str)  # a UUIDv7
RequestId = NewType("RequestId", str)  # the submitter's idempotency key; "": none
TaskToken = NewType("TaskToken", str)  # the secret of a lease, known to its worker alone
TokenDigest = NewType("TokenDigest", bytes)  # the server stores this in place of a TaskToken
WorkerId = NewType("WorkerId", str)  # one worker process; workers of a pool share a name, not an id
Subject = NewType("Subject", str)  # the caller: the subject claim of the bearer token


def digest(token: TaskToken) -> TokenDigest:
    """The digest of a task token. It is stored in the token's place, so no log holds a secret."""
    return TokenDigest(blake2b(token.encode(), digest_size=16).digest())


class JobState(StrEnum):
    """The state of a job. The reason for a state is data on the job, never a sixth state."""

    SCHEDULED = "scheduled"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def final(self) -> bool:
        return self not in (JobState.SCHEDULED, JobState.RUNNING)


class Reason(StrEnum):
    """The reason for which a job ended."""

    EXITED = "exited"  # the command exited; exit_code has its status
    SIGNALED = "signaled"  # a signal killed the command; exit_code is 128 + signal
    TIMEOUT = "timeout"  # the command ran longer than the job's timeout
    CANCELLED = "cancelled"
    LOST = "lost"  # attempts_max leases lapsed or were reported dead
    OOM = "oom"  # the command exceeded its memory limit
    SETUP_FAILED = "setup_failed"  # checkout, workspace or sandbox; the command never ran
    QUEUE_TIMEOUT = "queue_timeout"  # the job waited in line longer than its queue timeout
    NOT_FOUND = "not_found"  # no such command; exit_code is 127
    NOT_EXECUTABLE = "not_executable"  # exit_code is 126
    FAILED = "failed"  # a worker of the published contract reported a failure without a reason
    ARTIFACTS_FAILED = "artifacts_failed"  # the command exited 0; its artifacts were not stored


class StepResult(Struct, frozen=True, kw_only=True, gc=False):
    """The result of one step. Its index is its position in `Outcome.steps`."""

    name: str
    status: StepStatus
    exit_code: int | None = None  # None: the step never ran, or never ended
    started_at: Instant | None = None  # by the worker's clock
    ended_at: Instant | None = None


class Outcome(Struct, frozen=True, kw_only=True, gc=False):
    """The end of a job. No exit code means that the command never ran or never ended."""

    reason: Reason
    exit_code: int | None = None
    signal: int | None = None
    error: str = ""
    started_at: Instant | None = None  # of the process, by the worker's clock
    ended_at: Instant | None = None
    log_complete: bool = True  # False: the worker could not deliver all of its reports
    steps: tuple[StepResult, ...] = ()  # one result for each step of a job of steps

    @property
    def steps_bytes(self) -> int:
        """An upper bound of the memory of the results of steps; 0 up to SPEC_BYTES_SMALL."""
        size = sum(STEP_RESULT_BYTES + text_bytes(step.name) for step in self.steps)
        return size if size > SPEC_BYTES_SMALL else 0

    @property
    def state(self) -> JobState:
        """The final state of a job with this outcome, if no cancellation was requested."""
        if self.reason is Reason.CANCELLED:
            return JobState.CANCELLED
        if self.reason is Reason.EXITED and self.exit_code == 0:
            return JobState.COMPLETED
        return JobState.FAILED


class Lease(Struct, frozen=True, kw_only=True, gc=False):
    """A worker's exclusive right to run a job until `until`; `span` is the visibility timeout."""

    token: TokenDigest
    worker: WorkerId
    span: Millis
    until: Instant


class AttemptEnd(StrEnum):
    """The end of an attempt."""

    FINISHED = "finished"  # with the job's outcome
    RELEASED = "released"  # returned by its worker, started or not; not a failure
    LAPSED = "lapsed"  # not renewed within the visibility timeout; a failure
    LOST = "lost"  # reported dead by the worker that took over its spool; a failure


class PastAttempt(Struct, frozen=True, kw_only=True, gc=False):
    """An ended attempt in the history of a job."""

    number: int
    token: TokenDigest
    worker: WorkerId
    leased_at: Instant
    ended_at: Instant
    ending: AttemptEnd


class Job(Struct, frozen=True, kw_only=True, gc=False):
    """The current state of a job.

    Each fact about the job makes a new Job: a Struct is copied forty times as fast as a dataclass.
    """

    id: JobId
    spec: JobSpec
    place: Position  # in line: the position of the Enqueued event, so a returned job keeps its turn
    created_at: Instant
    updated_at: Instant
    request: RequestId = RequestId("")
    submitter: Subject = Subject("")
    retry_of: JobId | None = None
    state: JobState = JobState.SCHEDULED
    attempt: int = 0  # the ordinal of the latest lease, never reused
    failures: int = 0  # leases that lapsed or were reported dead; attempts_max bounds them
    lease: Lease | None = None
    leased_at: Instant | None = None  # start of the current lease; None: no lease
    queued_at: Instant | None = None  # start of the current wait in line; None: not in line
    waited: Millis = Millis(0)  # total of the earlier waits in line
    attempts: tuple[PastAttempt, ...] = ()  # the ended attempts, oldest first
    cancel_requested_at: Instant | None = None
    outcome: Outcome | None = None
    finished_at: Instant | None = None
    seal: Seal | None = None  # of the log of a finished job
    sequence: Sequence = Sequence(0)  # of the job's last visible event
    link: Link = NOTHING  # of the job's last visible event
    sent: int = 0  # the worker's number of the current attempt's last stored report
    output_bytes: int = 0  # stored in the log, over all attempts
    output_bytes_cut: int = 0  # written by the command, but not in the log (a limit or retention)
    reports: int = 0  # stored reports other than output and marks; 0 once the job has ended
    artifacts: int = 0  # stored files of the latest attempt
    artifact_bytes: int = 0
    artifacts_void: int = 0  # stored files of earlier attempts

    @property
    def bulk_bytes(self) -> int:
        """An upper bound of the memory of its spec and of the results of its steps; 0 if they are small."""
        return self.spec.spec_bytes + (self.outcome.steps_bytes if self.outcome else 0)


class JobRequest(Struct, frozen=True, kw_only=True, gc=False):
    """A submitter's request to enqueue one job."""

    spec: JobSpec
    request: RequestId = RequestId("")
    submitter: Subject = Subject("")
    retry_of: JobId | None = None
