"""What whoever follows all jobs is told: stretches of the log as responses, filtered.

All that there is to say of a stretch travels together, so that a server with many small events
does not send as many messages.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from airunner.entries import entry
from airunner.errors import DataLoss, InvalidRequest
from airunner.facts import Event
from airunner.jobs import Job, JobId, Place
from airunner.limits import MESSAGES_TOGETHER_BYTES
from airunner.server.audience import Audience, Stretch
from airunner.spec import check_queue
from airunner.wire.entries import decode_filter, fill_entry
from airunner.wire.job.v1 import job_pb2 as pb

PLACES_UNSAID_MAX: Final = 10_000  # that go by without a word to a caller who filters them out

_OUTPUT: Final = frozenset((int(pb.EVENT_TYPE_OUTPUT), int(pb.EVENT_TYPE_OUTPUT_CUT)))


@dataclass(frozen=True, slots=True)
class Filter:
    """What a caller wants to be told of; `find` is the table's."""

    queue: str  # "": all
    types: frozenset[int]  # empty: all
    find: Callable[[JobId], Job | None]

    def has_queue(self, id: JobId) -> bool:
        if not self.queue:
            return True
        job = self.find(id)
        return job is not None and job.spec.queue == self.queue

    def has_type(self, type: int) -> bool:
        return not self.types or type in self.types


def filter_of(request: pb.StreamEventsRequest, find: Callable[[JobId], Job | None]) -> Filter:
    """The filter that is asked for; output and what is cut of it pass together."""
    if request.queue:
        check_queue(request.queue)
    types = decode_filter(request.event_filter)
    return Filter(request.queue, types | _OUTPUT if types & _OUTPUT else types, find)


def beginning(request: pb.StreamEventsRequest, audience: Audience) -> Place:
    """Where a stream begins; DataLoss if this log never came to the place that is asked for."""
    if not request.HasField("after_place"):
        return audience.end
    if request.after_place < 0:
        raise InvalidRequest("after_place", f"{request.after_place} is below 0")
    if request.log not in {"", audience.log} or request.after_place > audience.end:
        raise DataLoss(
            f"the server's log has no place {request.after_place}: it has lost it, or is another "
            "one; begin from now"
        )
    return Place(request.after_place)


def responses(stretch: Stretch, wanted: Filter) -> Iterator[pb.StreamEventsResponse]:
    """What is told of a stretch; the last response, which may have no event, is at its end."""
    response, size = pb.StreamEventsResponse(), 0
    for event in stretch.events:
        if size >= MESSAGES_TOGETHER_BYTES:
            yield response
            response, size = pb.StreamEventsResponse(), 0
        response.place = event.place
        if wanted.has_queue(event.fact.id) and (told := _told(event, wanted)):
            response.events.append(told)
            size += told.ByteSize()
    response.place = stretch.through
    yield response


def _told(event: Event, wanted: Filter) -> pb.StreamedEvent | None:
    """The event as a watcher of its job is told it; None: it is filtered out."""
    seen = entry(event)
    assert seen
    told = pb.StreamedEvent(job_id=event.fact.id)
    fill_entry(told.event, seen, event.fact.id)
    return told if wanted.has_type(told.event.event_type) else None
