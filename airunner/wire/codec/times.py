"""Times on the wire: Timestamp and Duration messages, to the millisecond.

A time before 1970 is what some languages send for "not set", and is read so.
"""

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from airunner.model.errors import InvalidRequest
from airunner.model.jobs import Instant, Millis
from airunner.wire.job.v1 import job_pb2 as pb

_SECONDS_MAX = 253_402_300_799  # the end of the year 9999, up to which protobuf counts
MILLIS_MAX = _SECONDS_MAX * 1000  # latest instant, the end of the year 9999
_DURATION_SECONDS_MAX = 315_576_000_000  # ten thousand years, the same


def encode_instant(at: Instant | None) -> Timestamp | None:
    """A protobuf field takes None for unset."""
    if at is None:
        return None
    seconds, millis = divmod(at, 1000)
    return Timestamp(seconds=seconds, nanos=millis * 1_000_000)


def fill_instant(stamp: Timestamp, at: Instant) -> None:
    stamp.seconds, millis = divmod(at, 1000)
    stamp.nanos = millis * 1_000_000


def decode_instant(stamp: Timestamp, field: str) -> Instant | None:
    """None for a time before 1970, and for the default of an unset message."""
    if not -62_135_596_800 <= stamp.seconds <= _SECONDS_MAX or not 0 <= stamp.nanos < 10**9:
        raise InvalidRequest(field, "is not a time between the years 1 and 9999")
    at = stamp.seconds * 1000 + stamp.nanos // 1_000_000
    return Instant(at) if at > 0 else None


def encode_millis(span: Millis) -> Duration:
    seconds, millis = divmod(span, 1000)
    return Duration(seconds=seconds, nanos=millis * 1_000_000)


def decode_millis(span: Duration, field: str) -> Millis:
    """Clocks that were set back make negative durations; those count as none."""
    if abs(span.seconds) > _DURATION_SECONDS_MAX or abs(span.nanos) >= 10**9:
        raise InvalidRequest(field, "is not a duration of at most ten thousand years")
    return Millis(max(0, span.seconds * 1000 + span.nanos // 1_000_000))


def decode_report_time(stamp: Timestamp, event: pb.JobEvent, field: str) -> Instant:
    """A time that a worker reported; the time of its event if the worker left it out."""
    own = decode_instant(stamp, field)
    return own or decode_instant(event.timestamp, "events.timestamp") or Instant(0)
