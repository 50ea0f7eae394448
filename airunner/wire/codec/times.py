"""The codec of times and durations: Timestamp and Duration messages, to the millisecond.

A time before 1970 is decoded as "not set", because some languages send one for an unset time.
"""

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from airunner.model.errors import InvalidRequest
from airunner.model.jobs import Instant, Millis

_SECONDS_MAX = 253_402_300_799  # the end of the year 9999, protobuf's largest Timestamp
MILLIS_MAX = _SECONDS_MAX * 1000 + 999  # latest instant, the end of the year 9999
_DURATION_SECONDS_MAX = 315_576_000_000  # ten thousand years, protobuf's largest Duration


def encode_instant(at: Instant | None) -> Timestamp | None:
    """Encode an instant; None stays None, which leaves a protobuf field unset."""
    if at is None:
        return None
    seconds, millis = divmod(at, 1000)
    return Timestamp(seconds=seconds, nanos=millis * 1_000_000)


def fill_instant(stamp: Timestamp, at: Instant) -> None:
    stamp.seconds, millis = divmod(at, 1000)
    stamp.nanos = millis * 1_000_000


def decode_instant(stamp: Timestamp, field: str) -> Instant | None:
    """Decode an instant; None for a time before 1970 and for an unset message."""
    if not -62_135_596_800 <= stamp.seconds <= _SECONDS_MAX or not 0 <= stamp.nanos < 10**9:
        raise InvalidRequest(field, "is not a time between the years 1 and 9999")
    at = stamp.seconds * 1000 + stamp.nanos // 1_000_000
    return Instant(at) if at > 0 else None


def encode_millis(span: Millis) -> Duration:
    seconds, millis = divmod(span, 1000)
    return Duration(seconds=seconds, nanos=millis * 1_000_000)


def decode_millis(span: Duration, field: str) -> Millis:
    """Decode a duration. A negative duration, from a clock that was set back, is 0."""
    if abs(span.seconds) > _DURATION_SECONDS_MAX or abs(span.nanos) >= 10**9:
        raise InvalidRequest(field, "is not a duration of at most ten thousand years")
    return Millis(max(0, span.seconds * 1000 + span.nanos // 1_000_000))


def decode_report_time(stamp: Timestamp, otherwise: Timestamp, field: str) -> Instant:
    """Decode a time in a report; if it is not set, `otherwise`; 0 if neither is."""
    reported = decode_instant(stamp, field)
    return reported or decode_instant(otherwise, "events.timestamp") or Instant(0)
