"""The events of a job as remarks for a person who watches."""

from typing import Final

from airunner.cli.render.streams import printable
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
from airunner.model.units import show_duration, show_size

_CLONE_LINES: Final = 5  # of git's own, the last of which says what was wrong
_WHY_BACK: Final = {
    AttemptEnd.FINISHED: "the attempt is over",
    AttemptEnd.RELEASED: "its worker gave it back",
    AttemptEnd.LAPSED: "its worker was not heard of in time",
    AttemptEnd.LOST: "the attempt was lost with what ran it",
}


def remark(what: JobEventBody) -> str | None:
    """What a person who watches wants to know of an entry; None: nothing."""
    match what:
        case JobReturned(end, failures):
            return f"back in line: {_WHY_BACK[end]} ({failures} failed so far)"
        case JobCancelRequested(by):
            return f"a cancel was requested by {printable(by)}" if by else "a cancel was requested"
        case CloneStarted(repository):
            return f"cloning {printable(repository)}"
        case CloneProgressed(message):
            return printable(message)
        case CloneEnded(commit, duration):
            return f"checked out {commit[:12]} in {show_duration(duration)}"
        case CloneFailed(error, stderr):
            lines = [printable(line) for line in stderr.splitlines() if line.strip()]
            return "the clone failed: " + "; ".join([printable(error), *lines[-_CLONE_LINES:]])
        case ProcessFailed(error):
            return printable(error)
        case Remark(message):
            return printable(message)
        case OutputCut(_, size):
            return f"{show_size(size)} of output were cut here: a limit was reached"
        case JobEnqueued() | JobLeased() | JobFinished():
            return None
        case _:
            return None


def last_line(what: CloneFailed | ProcessFailed) -> str:
    """The end of what remark() says of an error."""
    text = what.stderr or what.error if isinstance(what, CloneFailed) else what.error
    return next((line for line in reversed(text.splitlines()) if line.strip()), "")
