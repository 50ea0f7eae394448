"""Text formats of durations ("90", "10m", "1h30m"), sizes ("65536", "64KiB"), times and counts.

Times are shown in RFC 3339 in UTC: "2031-04-01T09:00:00.250Z".
"""

import re
from datetime import UTC, datetime
from typing import Final

_DIGITS_MAX: Final = 15  # of a number; Python makes no int of more than 4,300
_DURATION = re.compile(r"(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s?)?", re.ASCII)
_QUOTED_CHARS: Final = 80  # of a text in an error
_SECONDS: Final = (86_400, 3_600, 60, 1)
_SIZE = re.compile(r"(\d+) ?([kmgt]?)(i?)b?", re.IGNORECASE | re.ASCII)
_POWERS: Final = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4}

# Memory in CPython, at most:
TEXT_BYTES: Final = 64  # of a text without its characters, and of the reference to it
PAIR_BYTES: Final = 128  # of an entry of a map, without its texts


class NumberTooLarge(ValueError):
    """A number with more digits than any limit has."""


def parse_duration(text: str) -> int:
    """Parse a duration into whole seconds. ValueError says which forms are valid."""
    match = _DURATION.fullmatch(text.strip())
    if match is None or not any(match.groups()):
        raise ValueError(
            f"{shortened(text)!r} is not a duration: write seconds, or 90s, 10m, 1h30m, 2d"
        )
    return sum(
        _number(part or "0") * unit for part, unit in zip(match.groups(), _SECONDS, strict=True)
    )


def parse_size(text: str) -> int:
    """Parse a size into bytes: KiB is 1,024, kB 1,000. ValueError says which forms are valid."""
    match = _SIZE.fullmatch(text.strip())
    if match is None or (match[3] and not match[2]):
        raise ValueError(
            f"{shortened(text)!r} is not a size: write bytes, or 64KiB, 10MiB, 1GiB, 1GB"
        )
    base = 1024 if match[3] else 1000
    return _number(match[1]) * int(base ** _POWERS[match[2].lower()])


def shortened(text: str) -> str:
    """The text as an error may quote it: its first 80 characters, and an ellipsis for the rest.

    A quotation is known by its beginning, so it loses its end; bounded_text(), which cuts the middle
    out of texts that are stored or sent, is for whole texts.
    """
    return text if len(text) <= _QUOTED_CHARS else f"{text[:_QUOTED_CHARS]}…"


def _number(digits: str) -> int:
    if len(digits.lstrip("0")) > _DIGITS_MAX:
        raise NumberTooLarge(f"{shortened(digits)!r} is too large a number")
    return int(digits[-_DIGITS_MAX:])


def show_duration(milliseconds: int) -> str:
    """Format a duration in at most two units: "1.2s", "42s", "3m05s", "2h07m", "4d03h"."""
    if milliseconds < 10_000:
        return f"{max(0, milliseconds) / 1000:.1f}s"
    seconds = milliseconds // 1000
    if seconds < 60:
        return f"{seconds}s"
    if seconds < 3_600:
        return f"{seconds // 60}m{seconds % 60:02}s"
    if seconds < 86_400:
        return f"{seconds // 3_600}h{seconds % 3_600 // 60:02}m"
    return f"{seconds // 86_400}d{seconds % 86_400 // 3_600:02}h"


def show_size(size: int) -> str:
    """Format a size in bytes: "512 B", "1.5 MiB"."""
    if size < 1024:
        return f"{size} B"
    value = float(size)
    for unit in ("KiB", "MiB", "GiB"):
        value /= 1024
        if value < 1024:
            return f"{value:.1f} {unit}"
    return f"{value / 1024:.1f} TiB"


def show_count(count: int, noun: str) -> str:
    """Format a number of things: "1 file", "12,345 files"."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def show_time(milliseconds: int) -> str:
    """Format an instant, given in ms since the epoch: "2031-04-01T09:00:00.250Z"."""
    seconds, rest = divmod(milliseconds, 1000)  # a float would round up, past the year 9999
    when = datetime.fromtimestamp(seconds, UTC).replace(microsecond=rest * 1000)
    return when.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def text_bytes(text: str) -> int:
    """An upper bound of the memory of a text's characters."""
    return len(text) if text.isascii() else 4 * len(text)
