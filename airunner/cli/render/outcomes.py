"""The outcome of a job as a verb phrase."""

from airunner.model.jobs import JobState, Outcome, Reason
from airunner.model.repositories import redacted
from airunner.model.steps import IN_STEP


def outcome_phrase(state: JobState, outcome: Outcome, last_error: str = "") -> str:
    """How a job ended, such as "exited with 2", and its error.

    The error is left out if it contains `last_error`, which the reader has seen already.
    """
    known = not outcome.error or (last_error and last_error in outcome.error)
    between = " " if outcome.error.startswith(IN_STEP) else ": "
    error = "" if known else f"{between}{redacted(outcome.error)}"
    match outcome.reason:
        case Reason.EXITED:
            words = f"exited with {outcome.exit_code}"
        case Reason.SIGNALED:
            words = f"was ended by signal {outcome.signal}"
        case Reason.TIMEOUT:
            words = "timed out"
        case Reason.LOST:
            words = "was lost too often"
        case Reason.OOM:
            words = "exceeded its memory limit"
        case Reason.SETUP_FAILED:
            words = "could not be set up"
        case Reason.QUEUE_TIMEOUT:
            words = "was never started"
        case Reason.NOT_FOUND | Reason.NOT_EXECUTABLE:
            words = "could not be started"
        case Reason.ARTIFACTS_FAILED:
            words = "succeeded, but not all of its artifacts could be stored"
        case Reason.CANCELLED | Reason.FAILED:
            words = ""
    if state is JobState.CANCELLED:
        words = "was cancelled" + (
            f" (it {words})" if words and outcome.exit_code is not None else ""
        )
    return (words or "failed") + error
