"""What jobs and their events are shown with alike."""

import pytest

from airunner.cli.rendering import ending, show_instant
from airunner.jobs import Instant, JobState, Outcome, Reason


def test_an_instant_is_shown_in_utc_with_milliseconds() -> None:
    assert show_instant(Instant(250)) == "1970-01-01T00:00:00.250Z"


@pytest.mark.parametrize("reason", list(Reason))
def test_every_end_has_its_words(reason: Reason) -> None:
    words = ending(JobState.FAILED, Outcome(reason=reason, error="because"))
    assert words.endswith(": because")
    assert not words.startswith(":")
