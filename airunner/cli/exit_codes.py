"""What an exit code of `airunner` says.

    0 .. 255   the command's own exit code (submit, monitor, worker --once)
    128 + n    signal n ended the command
    126, 127   the command is not executable, or does not exist
    124        the command ran longer than its timeout
    130        the job was cancelled; or Ctrl-C ended our own waiting for it
    125        anything of ours: a job that was lost, never started or waited too long,
               no server, no permission, a bad job file, wrong usage
    2          wrong usage of the command line, of commands that stand for no other
    1          what was to be checked is not as it should be (verify, log check, bench --baseline),
               or what was to be fetched is not there (artifacts get)

The table is that of timeout(1) and env(1), so that a script can put `airunner
submit` before a command and keep its error handling. A command that itself
exits with 124 to 130 looks like one of ours; `airunner show` tells them apart.
"""

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from airunner.model.jobs import JobState, Outcome

OURS: Final = 125
USAGE: Final = 2
DIFFERS: Final = 1
TIMEOUT: Final = 124
INTERRUPTED: Final = 130
NOT_EXECUTABLE: Final = 126
NOT_FOUND: Final = 127


class CommandFailed(Exception):
    """Why a command of ours cannot go on: one sentence that says what to do."""

    def __init__(self, why: str, code: int = OURS) -> None:
        super().__init__(why)
        self.code = code


def exit_code(state: "JobState", outcome: "Outcome | None") -> int:
    """The exit code that stands for how a job ended; `state` is final."""
    from airunner.model.jobs import JobState, Reason

    assert state.final
    if state is JobState.CANCELLED:
        return INTERRUPTED
    if outcome is None:
        return 0 if state is JobState.COMPLETED else OURS
    match outcome.reason:
        case Reason.EXITED | Reason.SIGNALED | Reason.FAILED | Reason.OOM:
            return _own(state, outcome)
        case Reason.TIMEOUT:
            return TIMEOUT
        case Reason.NOT_FOUND:
            return NOT_FOUND
        case Reason.NOT_EXECUTABLE:
            return NOT_EXECUTABLE
        case _:
            return OURS


def _own(state: "JobState", outcome: "Outcome") -> int:
    """The command's own code, but never 0 for a job that has failed."""
    from airunner.model.jobs import JobState

    if outcome.exit_code is not None:
        code = outcome.exit_code & 0xFF
    elif outcome.signal is not None:
        code = 128 + outcome.signal
    else:
        code = 0 if state is JobState.COMPLETED else OURS
    return code if code or state is JobState.COMPLETED else OURS


def innermost(error: BaseException) -> BaseException:
    """What went wrong first, of all that task groups in each other tell."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
