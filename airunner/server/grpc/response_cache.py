"""What watchers are told of an event, as bytes, each made once.

A hundred who watch one job are told the same: a response follows from its event alone, unless
its reader has seen a part of it. So the newest responses are kept, RESPONSES_BYTES_MAX of them, for
those who come a moment later; whoever reads older ones has them made anew.

A response belongs to an event as an object: in the place of output retention puts a mark, which is another.
"""

from dataclasses import dataclass
from typing import Final

from airunner.model.facts import Event
from airunner.model.job_events import JobEvent, job_event
from airunner.model.jobs import Instant, Position, Sequence
from airunner.model.limits import MIB
from airunner.wire.codec.job_events import encode_told

RESPONSES_BYTES_MAX: Final = 4 * MIB  # newest encoded events, shared by all watchers


@dataclass(frozen=True, slots=True)
class CachedResponse:
    """One response, and what a filter asks of it."""

    event: Event
    last: Sequence
    at: Instant
    type: int
    response: bytes


class ResponseCache:
    """The newest responses, of all jobs."""

    def __init__(self, size_max: int = RESPONSES_BYTES_MAX) -> None:
        self._size_max = size_max
        self._size = 0
        self._kept: dict[Position, CachedResponse] = {}  # the oldest first

    def of(self, event: Event) -> CachedResponse:
        """What is told of an event that watchers see, and that this one has seen nothing of."""
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
    """The entry of an event that watchers see."""
    told = job_event(event)
    assert told
    return told


def made(event: Event, told: JobEvent) -> CachedResponse:
    """The response that says this of the event."""
    type, response = encode_told(told, event.job)
    return CachedResponse(event, told.last, told.at, type, response)
