"""The codec of outcomes.

A worker of the published contract sends `success`, `exit_code` and a message. An exit code
overrides `success`: a success with a code other than 0 is a failure. A failure without an
exit code is Reason.FAILED, without further detail.
"""

from airunner.model.errors import InvalidRequest
from airunner.model.jobs import JobId, JobState, Outcome, Reason
from airunner.model.limits import STEPS_MAX
from airunner.model.validation import check_count
from airunner.wire.codec.enums import REASONS
from airunner.wire.codec.steps import decode_step_result, encode_step_result
from airunner.wire.codec.times import decode_instant, encode_instant
from airunner.wire.job.v1 import job_pb2 as pb


def encode_outcome(
    outcome: Outcome, id: JobId | None = None, *, with_steps: bool = True
) -> pb.JobResult:
    return pb.JobResult(
        job_id=id or "",
        success=outcome.state is JobState.COMPLETED,
        exit_code=outcome.exit_code or 0,
        error_message=outcome.error,
        started_at=encode_instant(outcome.started_at),
        completed_at=encode_instant(outcome.ended_at),
        signal=outcome.signal or 0,
        reason=REASONS.encode(outcome.reason),
        log_incomplete=not outcome.log_complete,
        no_exit_code=outcome.exit_code is None,
        steps=map(encode_step_result, outcome.steps) if with_steps else (),
    )


def decode_outcome(result: pb.JobResult) -> Outcome:
    """Decode an outcome, without its job_id: the task token alone identifies the job."""
    reason, code = _decode_reason(result)
    check_count("job_result.steps", result.steps, STEPS_MAX, "STEPS_MAX")
    return Outcome(
        reason=reason,
        exit_code=code,
        signal=result.signal or None,
        error=result.error_message,
        started_at=decode_instant(result.started_at, "job_result.started_at"),
        ended_at=decode_instant(result.completed_at, "job_result.completed_at"),
        log_complete=not result.log_incomplete,
        steps=tuple(map(decode_step_result, result.steps)),
    )


def _decode_reason(result: pb.JobResult) -> tuple[Reason, int | None]:
    """The reason and the exit code of a result."""
    if result.reason == pb.REASON_UNSPECIFIED:
        # Some runtimes report -1 as the exit code of a process without an exit code.
        if result.exit_code < 0 or (not result.success and result.exit_code == 0):
            return Reason.FAILED, None
        return Reason.EXITED, result.exit_code
    reason = REASONS.decode(result.reason, "job_result.reason")
    if reason is Reason.EXITED and result.no_exit_code:
        raise InvalidRequest("job_result.no_exit_code", "a command that exited has an exit code")
    return reason, None if result.no_exit_code else result.exit_code
