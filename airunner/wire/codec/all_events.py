"""The codec of the stream of all jobs' events (StreamEvents).

The events of a range travel in as few messages as their size allows: a message costs more
than an event in it.
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
    """The event types of a filter; OUTPUT and OUTPUT_CUT imply each other. Empty: all types."""
    wanted = decode_filter(types)
    return wanted | _OUTPUT if wanted & _OUTPUT else wanted


def encode_events(
    events: Iterable[tuple[JobId, Position, JobEvent]], through: Position, types: frozenset[int]
) -> Iterator[pb.StreamEventsResponse]:
    """The responses for a range of the log that ends at `through`; the last may have no event."""
    response, size = pb.StreamEventsResponse(), 0
    for id, position, event in events:
        if size >= MESSAGES_TOGETHER_BYTES:
            yield response
            response, size = pb.StreamEventsResponse(), 0
        response.place = position
        streamed = pb.StreamedEvent(job_id=id)
        fill_job_event(streamed.event, event, id)
        if not types or streamed.event.event_type in types:
            response.events.append(streamed)
            size += streamed.ByteSize()
    response.place = through
    yield response
