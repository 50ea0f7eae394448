"""The JSON of times, and the conventions of all JSON that airunner prints or serves.

Names are in snake_case, states and types in lower case. Times are RFC 3339 in UTC with
milliseconds; spans are in milliseconds and their names end in `_ms`. A value that does not exist
is `null`. Output is text if it is UTF-8; otherwise `output` has replacement characters and
`output_base64` has the bytes; no character is split over two objects of a stream. The `timestamp`
of an event is by the server's clock and never decreases along a job; `written_at` of output and
`started_at` of a process are by the worker's clock.
"""

from airunner.model.jobs import Instant
from airunner.model.units import show_time

Json = dict[str, object]


def show_instant(at: Instant | None) -> str | None:
    """RFC 3339 in UTC, such as 2031-04-01T09:00:00.250Z."""
    return None if at is None else show_time(at)
