"""Exit codes of `airunner`.

    0 .. 255   the exit code of the job's command (submit, run, monitor, retry, worker --once)
    128 + n    signal n ended the job's command
    126, 127   the job's command is not executable, or does not exist
    124        the job's command ran longer than its timeout
    130        the job was cancelled; or Ctrl-C ended the watching
    125        airunner failed, not the command: job lost, set-up failed, artifacts not stored,
               queue timeout, server unreachable, permission denied, bad job file, wrong usage
    2          wrong usage of a command that does not exit with a job's exit code
    1          the check found a difference (verify, log check, bench --baseline), or the job has
               no such artifact (artifacts get)

The codes are those of timeout(1) and env(1), so a script can put `airunner submit` before a command
and keep its error handling. A command that itself exits with 124 to 130 cannot be told from these
codes; `airunner show` has the reason.
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
    """An `airunner` command cannot go on. The message names the cause and a remedy."""

    def __init__(self, why: str, code: int = OURS) -> None:
        super().__init__(why)
        self.code = code


def exit_code(state: "JobState", outcome: "Outcome | None") -> int:
    """The exit code for the outcome of a job. `state` must be final."""
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
    """The command's own exit code, but never 0 for a job that has failed."""
    from airunner.model.jobs import JobState

    if outcome.exit_code is not None:
        code = outcome.exit_code & 0xFF
    elif outcome.signal is not None:
        code = 128 + outcome.signal
    else:
        code = 0 if state is JobState.COMPLETED else OURS
    return code if code or state is JobState.COMPLETED else OURS


def innermost(error: BaseException) -> BaseException:
    """The first error inside nested exception groups."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
