"""How a job ended, as a verb phrase."""

import pytest

from airunner.cli.render.outcomes import outcome_phrase
from airunner.model.jobs import JobState, Outcome, Reason


@pytest.mark.parametrize("reason", list(Reason))
def test_every_end_has_its_words(reason: Reason) -> None:
    words = outcome_phrase(JobState.FAILED, Outcome(reason=reason, error="because"))
    assert words.endswith(": because")
    assert not words.startswith(":")


def test_the_step_in_which_a_job_ended_is_part_of_the_sentence() -> None:
    failed = Outcome(reason=Reason.EXITED, exit_code=2, error="in step 2 of 3 (test)")
    assert outcome_phrase(JobState.FAILED, failed) == "exited with 2 in step 2 of 3 (test)"
    late = Outcome(reason=Reason.TIMEOUT, error="in step 2 of 3 (test): it ran too long")
    assert (
        outcome_phrase(JobState.FAILED, late) == "timed out in step 2 of 3 (test): it ran too long"
    )
