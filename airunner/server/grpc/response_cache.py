"""A cache of encoded responses: each event is encoded once for all its watchers.

A response follows from its event alone, unless its reader has seen a part of the event. The cache
holds the newest responses, up to RESPONSES_BYTES_MAX, for watchers that come a moment later; older
events are encoded anew.

The key is the identity of the event object: retention replaces output by a mark, which is another
object.
"""

from dataclasses import dataclass
from typing import Final

from airunner.model.facts import Event
from airunner.model.job_events import JobEvent, job_event
from airunner.model.jobs import Instant, Position, Sequence
from airunner.model.limits import MIB
from airunner.wire.codec.job_events import encode_stream_response

RESPONSES_BYTES_MAX: Final = 4 * MIB  # newest encoded events, shared by all watchers


@dataclass(frozen=True, slots=True)
class CachedResponse:
    """An encoded response, and the fields that a filter reads."""

    event: Event
    last: Sequence
    at: Instant
    type: int
    response: bytes


class ResponseCache:
    """The newest responses of all jobs."""

    def __init__(self, size_max: int = RESPONSES_BYTES_MAX) -> None:
        self._size_max = size_max
        self._size = 0
        self._kept: dict[Position, CachedResponse] = {}  # the oldest first

    def of(self, event: Event) -> CachedResponse:
        """The response of a visible event of which the watcher has seen no part."""
        if (told := self._kept.get(event.place)) is None or told.event is not event:
            told = made(event, seen(event))
            self._keep(told)
        return told

    def _keep(self, told: CachedResponse) -> None:
        if before := self._kept.pop(told.event.place, None):
            self._size -= len(before.response)
        self._kept[told.event.place] = told
        self._size += len(told.response)
        while self._size > self._size_max:
            oldest = self._kept.pop(next(iter(self._kept)))
            self._size -= len(oldest.response)


def seen(event: Event) -> JobEvent:
    """The job event of a visible event."""
    told = job_event(event)
    assert told
    return told


def made(event: Event, told: JobEvent) -> CachedResponse:
    """The response for an event, encoded anew."""
    type, response = encode_stream_response(told, event.job)
    return CachedResponse(event, told.last, told.at, type, response)
