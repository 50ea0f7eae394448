"""The codec of the model's enumerations: their members and their numbers on the wire.

Each member is listed once for both directions, so neither direction can lack a new member.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final, Generic, TypeVar

from airunner.model.errors import InvalidRequest
from airunner.model.jobs import AttemptEnd, JobState, Reason
from airunner.model.reports import Stream
from airunner.model.spec import ProcessType
from airunner.model.steps import StepStatus
from airunner.wire.job.v1 import job_pb2 as pb

Member = TypeVar("Member", bound=StrEnum)
Number = TypeVar("Number", bound=int)


class Enumeration(Generic[Member, Number]):
    """A one-to-one mapping of members to numbers. `unset` is the member for 0, if 0 is allowed."""

    def __init__(self, numbers: Mapping[Member, Number], unset: Member | None = None) -> None:
        self._numbers = dict(numbers)
        self._members: dict[int, Member] = {number: member for member, number in numbers.items()}
        if unset is not None:
            self._members[0] = unset

    def encode(self, member: Member) -> Number:
        return self._numbers[member]

    def decode(self, number: int, field: str) -> Member:
        """The member of a number. Raises InvalidRequest for an unknown number."""
        if number not in self._members:
            raise InvalidRequest(field, f"{number} is not one of {sorted(self._members)}")
        return self._members[number]


JOB_STATES: Final = Enumeration(
    {
        JobState.SCHEDULED: pb.JOB_STATE_SCHEDULED,
        JobState.RUNNING: pb.JOB_STATE_RUNNING,
        JobState.COMPLETED: pb.JOB_STATE_COMPLETED,
        JobState.FAILED: pb.JOB_STATE_FAILED,
        JobState.CANCELLED: pb.JOB_STATE_CANCELLED,
    }
)
REASONS: Final = Enumeration(
    {
        Reason.EXITED: pb.REASON_EXITED,
        Reason.SIGNALED: pb.REASON_SIGNALED,
        Reason.TIMEOUT: pb.REASON_TIMEOUT,
        Reason.CANCELLED: pb.REASON_CANCELLED,
        Reason.LOST: pb.REASON_LOST,
        Reason.OOM: pb.REASON_OOM,
        Reason.SETUP_FAILED: pb.REASON_SETUP_FAILED,
        Reason.QUEUE_TIMEOUT: pb.REASON_QUEUE_TIMEOUT,
        Reason.NOT_FOUND: pb.REASON_NOT_FOUND,
        Reason.NOT_EXECUTABLE: pb.REASON_NOT_EXECUTABLE,
        Reason.FAILED: pb.REASON_FAILED,
        Reason.ARTIFACTS_FAILED: pb.REASON_ARTIFACTS_FAILED,
    }
)
STEP_STATUSES: Final = Enumeration(
    {
        StepStatus.SUCCESS: pb.STEP_STATUS_SUCCESS,
        StepStatus.FAILED: pb.STEP_STATUS_FAILED,
        StepStatus.SKIPPED: pb.STEP_STATUS_SKIPPED,
        StepStatus.CANCELLED: pb.STEP_STATUS_CANCELLED,
        StepStatus.TIMEOUT: pb.STEP_STATUS_TIMEOUT,
    }
)
ATTEMPT_ENDS: Final = Enumeration(
    {
        AttemptEnd.FINISHED: pb.ENDING_FINISHED,
        AttemptEnd.RELEASED: pb.ENDING_RELEASED,
        AttemptEnd.LAPSED: pb.ENDING_LAPSED,
        AttemptEnd.LOST: pb.ENDING_LOST,
    }
)
PROCESS_TYPES: Final = Enumeration(
    {ProcessType.PIPE: pb.PROCESS_TYPE_PIPE, ProcessType.PTY: pb.PROCESS_TYPE_PTY},
    unset=ProcessType.PIPE,
)
STREAMS: Final = Enumeration(
    {Stream.STDOUT: pb.STREAM_TYPE_STDOUT, Stream.STDERR: pb.STREAM_TYPE_STDERR},
    unset=Stream.STDOUT,
)
