"""What whoever follows all jobs is told, on the wire.

All that there is to say at a moment travels together, in as few messages as its size allows: a
message costs more than an event in it.
"""

from collections.abc import Iterable, Iterator
from typing import Final

from airunner.model.job_events import JobEvent
from airunner.model.jobs import JobId, Position
from airunner.model.limits import MESSAGES_TOGETHER_BYTES
from airunner.wire.codec.job_events import decode_filter, fill_job_event
from airunner.wire.job.v1 import job_pb2 as pb

_OUTPUT: Final = frozenset((int(pb.EVENT_TYPE_OUTPUT), int(pb.EVENT_TYPE_OUTPUT_CUT)))


def decode_event_types(types: Iterable[int]) -> frozenset[int]:
    """The types that are asked for, output and what was cut of it together; empty: all."""
    wanted = decode_filter(types)
    return wanted | _OUTPUT if wanted & _OUTPUT else wanted


def encode_events(
    entries: Iterable[tuple[JobId, Position, JobEvent]], through: Position, types: frozenset[int]
) -> Iterator[pb.StreamEventsResponse]:
    """What is told of a stretch of the log that goes through a place; the last may be empty."""
    response, size = pb.StreamEventsResponse(), 0
    for id, place, entry in entries:
        if size >= MESSAGES_TOGETHER_BYTES:
            yield response
            response, size = pb.StreamEventsResponse(), 0
        response.place = place
        told = pb.StreamedEvent(job_id=id)
        fill_job_event(told.event, entry, id)
        if not types or told.event.event_type in types:
            response.events.append(told)
            size += told.ByteSize()
    response.place = through
    yield response
