"""Times in the past as people write them."""

import pytest

from airunner.cli.exit_codes import CommandFailed
from airunner.cli.past_time import past_millis
from airunner.model.units import show_time

NOW = 2_000_000_000_000


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("90", "2033-05-18T03:31:50.000Z"),
        ("10m", "2033-05-18T03:23:20.000Z"),
        ("1h30m", "2033-05-18T02:03:20.000Z"),
        ("2d", "2033-05-16T03:33:20.000Z"),
        ("2031-04-01T09:00:00Z", "2031-04-01T09:00:00.000Z"),
        ("2031-04-01T09:00:00.123456+02:00", "2031-04-01T07:00:00.123Z"),
        (" 2031-04-01 09:00:00-01:30 ", "2031-04-01T10:30:00.000Z"),
        ("2031-04-01t09:00:00z", "2031-04-01T09:00:00.000Z"),
    ],
)
def test_a_time_is_rfc_3339_or_a_duration_before_now(text: str, time: str) -> None:
    assert show_time(past_millis("--since", text, NOW)) == time


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("soon", "--since: 'soon' is not a time: write 2031-04-01T09:00:00Z, or a duration"),
        ("", "'' is not a time"),
        ("-10m", "'-10m' is not a time"),
        ("2031-04-01T09:00:00", "has no zone: write 2031-04-01T09:00:00Z for UTC"),
        ("2031-04-01", "has no zone: write 2031-04-01T00:00:00Z for UTC"),
        ("2031-13-01T09:00:00Z", "is not a time"),
        ("9" * 4299 + "d", "9…' is too large a number"),
        ("2031-04-01T" + "x" * 5000, "x…' is not a time"),
        ("2031-04-01T too large", "'2031-04-01T too large' is not a time: write"),
        ("too large", "'too large' is not a time: write 2031-04-01T09:00:00Z, or a duration"),
    ],
)
def test_any_other_text_is_told(text: str, sentence: str) -> None:
    with pytest.raises(CommandFailed) as caught:
        past_millis("--since", text, NOW)
    assert sentence in str(caught.value)
    assert caught.value.code == 2
