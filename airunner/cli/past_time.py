"""Times in the past as people write them: RFC 3339 with a zone, or a duration before now."""

from datetime import UTC, datetime, timedelta
from typing import Final

from airunner.cli.exit_codes import USAGE, CommandFailed
from airunner.model.units import NumberTooLarge, parse_duration, shortened

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_DATE_CHARS: Final = len("2031-04-01")  # of a time; a duration has no dash


def past_millis(flag: str, text: str, now: int) -> int:
    """Milliseconds since the epoch. `now` is such a time. Raises CommandFailed with the flag."""
    try:
        return now - 1000 * parse_duration(text)
    except NumberTooLarge as error:
        raise CommandFailed(f"{flag}: {error}", USAGE) from None
    except ValueError:
        if "-" not in text[:_DATE_CHARS]:
            raise CommandFailed(_sentence(flag, text), USAGE) from None
    try:
        time = datetime.fromisoformat(text.strip().upper())
        if time.tzinfo is None:
            raise CommandFailed(
                f"{flag}: {shortened(text)!r} has no zone: write {time.isoformat()}Z for UTC", USAGE
            )
        return (time - _EPOCH) // timedelta(milliseconds=1)
    except (ValueError, OverflowError):
        raise CommandFailed(_sentence(flag, text), USAGE) from None


def _sentence(flag: str, text: str) -> str:
    return (
        f"{flag}: {shortened(text)!r} is not a time: write 2031-04-01T09:00:00Z, or a duration before "
        "now such as 10m"
    )
