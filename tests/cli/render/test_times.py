"""What jobs and their events are shown with alike."""

import pytest

from airunner.cli.render.times import ending, show_instant
from airunner.model.jobs import Instant, JobState, Outcome, Reason


def test_an_instant_is_shown_in_utc_with_milliseconds() -> None:
    assert show_instant(Instant(250)) == "1970-01-01T00:00:00.250Z"


@pytest.mark.parametrize("reason", list(Reason))
def test_every_end_has_its_words(reason: Reason) -> None:
    words = ending(JobState.FAILED, Outcome(reason=reason, error="because"))
    assert words.endswith(": because")
    assert not words.startswith(":")


def test_the_step_in_which_a_job_ended_is_part_of_the_sentence() -> None:
    failed = Outcome(reason=Reason.EXITED, exit_code=2, error="in step 2 of 3 (test)")
    assert ending(JobState.FAILED, failed) == "exited with 2 in step 2 of 3 (test)"
    late = Outcome(reason=Reason.TIMEOUT, error="in step 2 of 3 (test): it ran too long")
    assert ending(JobState.FAILED, late) == "timed out in step 2 of 3 (test): it ran too long"
