"""How jobs, their events and queues are shown, as far as that is alike.

JSON: names in snake_case, states and types in lower case, times as RFC 3339 in
UTC with milliseconds, spans in milliseconds with _ms in their name. `null` is
said where something does not exist. Output is text where it is UTF-8; where it
is not, `output` has replacement characters and `output_base64` has the bytes.
The timestamp of every event is by the server's clock, so that it never goes back;
`written_at` of output and `started_at` of a process are by the worker's.
"""

from airunner.cli.render.streams import printable
from airunner.model.jobs import Instant, JobState, Outcome, Reason
from airunner.model.steps import IN_STEP
from airunner.model.units import show_time

Json = dict[str, object]


def show_instant(at: Instant | None) -> str | None:
    """RFC 3339 in UTC, such as 2031-04-01T09:00:00.250Z."""
    return None if at is None else show_time(at)


def ending(state: JobState, outcome: Outcome, told: str = "") -> str:
    """How a job ended, in a few words; its error is left out if its reader was `told`."""
    known = not outcome.error or (told and told in outcome.error)
    between = " " if outcome.error.startswith(IN_STEP) else ": "
    error = "" if known else f"{between}{printable(outcome.error)}"
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
            words = "used more memory than it may"
        case Reason.SETUP_FAILED:
            words = "could not be set up"
        case Reason.QUEUE_TIMEOUT:
            words = "was never started"
        case Reason.NOT_FOUND | Reason.NOT_EXECUTABLE:
            words = "could not be started"
        case Reason.ARTIFACTS_FAILED:
            words = "went well, but not all of its artifacts could be kept"
        case Reason.CANCELLED | Reason.FAILED:
            words = ""
    if state is JobState.CANCELLED:
        words = "was cancelled" + (
            f" (it {words})" if words and outcome.exit_code is not None else ""
        )
    return (words or "failed") + error
