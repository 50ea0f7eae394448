"""The exit codes of submit and monitor."""

import pytest

from airunner.cli.exit_codes import exit_code, innermost
from airunner.model.jobs import JobState, Outcome, Reason


@pytest.mark.parametrize(
    ("outcome", "code"),
    [
        (Outcome(reason=Reason.EXITED, exit_code=0), 0),
        (Outcome(reason=Reason.EXITED, exit_code=7), 7),
        (Outcome(reason=Reason.SIGNALED, exit_code=137, signal=9), 137),
        (Outcome(reason=Reason.SIGNALED, signal=15), 143),
        (Outcome(reason=Reason.NOT_FOUND, exit_code=127), 127),
        (Outcome(reason=Reason.NOT_EXECUTABLE, exit_code=126), 126),
        (Outcome(reason=Reason.TIMEOUT, exit_code=143, signal=15), 124),
        (Outcome(reason=Reason.CANCELLED), 130),
        (Outcome(reason=Reason.LOST), 125),
        (Outcome(reason=Reason.SETUP_FAILED), 125),
        (Outcome(reason=Reason.QUEUE_TIMEOUT), 125),
        (Outcome(reason=Reason.ARTIFACTS_FAILED, exit_code=0), 125),
        (Outcome(reason=Reason.OOM, exit_code=137, signal=9), 137),
        (Outcome(reason=Reason.FAILED), 125),
        (Outcome(reason=Reason.FAILED, exit_code=0), 125),
        (Outcome(reason=Reason.FAILED, exit_code=3), 3),
    ],
)
def test_each_end_of_a_job_has_its_exit_code(outcome: Outcome, code: int) -> None:
    assert exit_code(outcome.state, outcome) == code


def test_a_cancelled_job_is_130_whatever_its_command_had_to_say() -> None:
    assert exit_code(JobState.CANCELLED, Outcome(reason=Reason.EXITED, exit_code=0)) == 130


@pytest.mark.parametrize("reason", list(Reason))
def test_no_failed_job_is_0(reason: Reason) -> None:
    for code in (None, 0, 256):
        assert exit_code(JobState.FAILED, Outcome(reason=reason, exit_code=code)) != 0


def test_what_went_wrong_first_is_told_however_deep_it_lies() -> None:
    first = OSError("the disk is gone")
    groups = ExceptionGroup("tasks", [ExceptionGroup("more", [first, ValueError()]), KeyError()])
    assert innermost(groups) is first
    assert innermost(first) is first
