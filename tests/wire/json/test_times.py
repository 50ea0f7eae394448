"""The JSON of times."""

from airunner.model.jobs import Instant
from airunner.wire.json.times import show_instant


def test_an_instant_is_shown_in_utc_with_milliseconds() -> None:
    assert show_instant(Instant(250)) == "1970-01-01T00:00:00.250Z"
