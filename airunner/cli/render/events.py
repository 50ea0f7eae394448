"""Job events as remarks: sentences on standard error for a person who watches."""

from typing import Final

from airunner.model.job_events import (
    JobCancelRequested,
    JobEnqueued,
    JobEventBody,
    JobFinished,
    JobLeased,
    JobReturned,
)
from airunner.model.jobs import AttemptEnd
from airunner.model.reports import (
    CloneEnded,
    CloneFailed,
    CloneProgressed,
    CloneStarted,
    OutputCut,
    ProcessFailed,
    Remark,
)
from airunner.model.repositories import redacted
from airunner.model.units import show_count, show_duration, show_size

_CLONE_LINES: Final = 5  # the last lines that git wrote; the last of all names the error
_WHY_BACK: Final = {
    AttemptEnd.FINISHED: "the attempt is over",
    AttemptEnd.RELEASED: "its worker released it",
    AttemptEnd.LAPSED: "its lease expired without a word from its worker",
    AttemptEnd.LOST: "the attempt was lost when its worker died",
}


def remark(body: JobEventBody) -> str | None:
    """The remark about an event; None if a person need not know of the event."""
    text = _remark(body)
    return None if text is None else redacted(text)


def _remark(body: JobEventBody) -> str | None:
    match body:
        case JobReturned(end, failures):
            return f"back in line: {_WHY_BACK[end]} ({failures} failed so far)"
        case JobCancelRequested(by):
            return f"a cancel was requested by {by}" if by else "a cancel was requested"
        case CloneStarted(repository):
            return f"cloning {repository}"
        case CloneProgressed(message):
            return message
        case CloneEnded(commit, duration):
            return f"checked out {commit[:12]} in {show_duration(duration)}"
        case CloneFailed(error, stderr):
            lines = [line for line in stderr.splitlines() if line.strip()]
            return "the clone failed: " + "; ".join([error, *lines[-_CLONE_LINES:]])
        case ProcessFailed(error):
            return error
        case Remark(message):
            return message
        case OutputCut(items, 0):
            return (
                f"{show_count(items, 'event')} of the job were left out here: a limit was reached"
            )
        case OutputCut(_, size):
            return f"{show_size(size)} of output were cut here: a limit was reached"
        case JobEnqueued() | JobLeased() | JobFinished():
            return None
        case _:
            return None


def last_line(body: CloneFailed | ProcessFailed) -> str:
    """The last line of an error's remark."""
    text = body.stderr or body.error if isinstance(body, CloneFailed) else body.error
    return next((line for line in reversed(text.splitlines()) if line.strip()), "")
