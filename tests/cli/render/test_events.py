"""A job's events as remarks."""

import pytest

from airunner.cli.render.events import last_line, remark
from airunner.cli.render.outcomes import outcome_phrase
from airunner.model.job_events import (
    JobLeased,
    JobReturned,
)
from airunner.model.jobs import (
    AttemptEnd,
    JobState,
    Outcome,
    Reason,
    WorkerId,
)
from airunner.model.reports import (
    CloneFailed,
    OutputCut,
    ProcessFailed,
)


@pytest.mark.parametrize("end", AttemptEnd)
def test_a_job_that_is_back_in_line_says_why_in_words(end: AttemptEnd) -> None:
    said = str(remark(JobReturned(end, 1)))
    assert said.startswith("back in line: ")
    assert said.endswith(" (1 failed so far)")


@pytest.mark.parametrize(
    "what", [ProcessFailed("no such command: 'x'"), CloneFailed("ended with 128", "a\nfatal: x\n")]
)
def test_an_error_is_not_told_twice(what: ProcessFailed | CloneFailed) -> None:
    told = last_line(what)
    assert str(remark(what)).endswith(told)
    outcome = Outcome(reason=Reason.SETUP_FAILED, error=f"checkout failed: {told}")
    assert outcome_phrase(JobState.FAILED, outcome, told) == "could not be set up"


def test_a_failed_clone_is_remarked_with_what_git_said() -> None:
    assert remark(CloneFailed("exit 128", "fatal: no such ref\n")) == (
        "the clone failed: exit 128; fatal: no such ref"
    )


def test_a_cut_is_remarked_with_its_size() -> None:
    assert remark(OutputCut(1, 2048)) == "2.0 KiB of output were cut here: a limit was reached"


def test_what_a_person_need_not_know_is_not_remarked() -> None:
    assert remark(JobLeased(WorkerId("w"))) is None
