"""A disk in virtual time, and the log on it: what a server's crash leaves is what a real one may leave.

An append takes time, now and then a long one. What was answered is there for good; of an append that
was under way when the server died, any prefix is there. A full disk takes nothing, and a broken one fails
once. A replay is told as little as a Log may tell it, so that nobody comes to depend on more.
"""

import asyncio
from collections.abc import AsyncGenerator, Iterable, Sequence
from random import Random

from msgspec.structs import replace

from airunner.blobs.memory import MemoryBlobs
from airunner.log.log import LogFull
from airunner.log.memory import MemoryLog
from airunner.log.records import decode_fact, decode_report, encode_fact, encode_report
from airunner.model.facts import (
    Event,
    Finished,
    Forgotten,
    Leased,
    Renewed,
    Reported,
    ReportTotals,
    SubjectFact,
)
from airunner.model.jobs import JobId, Position
from airunner.model.jobs import Sequence as EventSequence
from airunner.model.reports import Output, OutputCut


class Disk:
    """What outlives the server."""

    def __init__(self, dice: Random) -> None:
        self.dice = dice
        self.full = False
        self.low = False  # little room is left: no more jobs or output, please
        self.broken = False  # the next append fails
        self.slow = 1.0  # times the usual time
        self.events: list[Event] = []
        self.jobs = MemoryLog()  # the same, by job, with what retention took taken
        self.artifacts = MemoryBlobs()  # their bytes

    def pause(self) -> float:
        """Seconds that an append takes."""
        short = self.dice.uniform(0.001, 0.01)
        return self.slow * (short if self.dice.random() < 0.97 else self.dice.uniform(0.1, 0.8))

    async def keep(self, events: Sequence[Event]) -> None:
        kept = [_through_bytes(event) for event in events]
        self.events += kept
        await self.jobs.append(kept)

    def left(self, events: Sequence[Event]) -> Sequence[Event]:
        """How much of an append that was under way is there after a crash."""
        return events[: self.dice.randint(0, len(events))]


class DiskLog:
    """One server's log on the disk, until it dies."""

    def __init__(self, disk: Disk) -> None:
        self.name = "disk"
        self._disk = disk
        self._under_way: Sequence[Event] = ()
        self._dead = False

    async def append(self, events: Sequence[Event]) -> None:
        disk = self._disk
        await self._unless_dead()
        assert not self._under_way, "one append at a time"
        self._under_way = tuple(events)
        await asyncio.sleep(disk.pause())
        await self._unless_dead()
        self._under_way = ()
        if disk.broken:
            disk.broken = False
            await disk.keep(disk.left(events))
            raise OSError("the disk reports an error")
        if disk.full:
            raise LogFull("there is no room on the disk")
        await disk.keep(events)

    async def die(self) -> None:
        """The server is gone, in the middle of whatever it did."""
        self._dead = True
        if not self._disk.full:
            await self._disk.keep(self._disk.left(self._under_way))

    async def read(
        self, id: JobId | None = None, after: int = 0, *, reported: bool = True
    ) -> AsyncGenerator[Event, None]:
        await self._unless_dead()
        if id is None:
            for event in condensed(self._disk.events):
                if event.place > after:
                    yield event
            return
        async for event in self._disk.jobs.read(id, after, reported=reported):
            await self._unless_dead()
            if self._disk.dice.random() < 0.05:
                await asyncio.sleep(self._disk.pause())
            yield event

    async def read_all(self, place: Position) -> AsyncGenerator[Event, None]:
        await self._unless_dead()
        async for event in self._disk.jobs.read_all(place):
            await self._unless_dead()
            yield event

    async def _unless_dead(self) -> None:
        if self._dead:
            await asyncio.Event().wait()


def condensed(events: Iterable[Event]) -> Sequence[Event]:
    """What a replay must be told of these events, and no more."""
    kept: dict[int, Event] = {}  # by place
    known: dict[JobId, list[int]] = {}  # the places of a job
    renewed: dict[JobId, int] = {}  # where the last renewal of its lease is
    tallied: dict[JobId, Event] = {}  # how far its reports had come
    attempts: dict[JobId, int] = {}  # the one that these were of
    for event in events:
        fact, id = event.fact, event.job
        match fact:
            case Reported():
                if id in tallied:
                    del kept[tallied[id].place]
                tallied[id] = _tally(tallied.get(id), event, fact, attempts.get(id, 0))
                attempts[id] = fact.attempt
            case Forgotten():
                for place in known.pop(id, ()):
                    kept.pop(place, None)
                tallied.pop(id, None)
            case Renewed():
                if id in renewed:
                    kept.pop(renewed[id], None)
                renewed[id] = event.place
            case Leased():
                renewed.pop(id, None)
            case Finished() if id in tallied:
                del kept[tallied.pop(id).place]
            case _:
                pass
        kept[event.place] = tallied[id] if isinstance(fact, Reported) else event
        known.setdefault(id, []).append(event.place)
    return [kept[place] for place in sorted(kept)]


def _tally(before: Event | None, event: Event, fact: Reported, attempt: int) -> Event:
    """The sums of what was reported up to an event, in its place; `attempt`: of the sums before."""
    old = before.fact if before else None
    sent, kept, cut = 0, 0, 0
    if isinstance(old, ReportTotals):
        sent, kept, cut = old.sent, old.output_bytes, old.output_bytes_cut
    sent = fact.sent or (sent if attempt == fact.attempt else 0)
    match fact.report:
        case Output() as output:
            kept += output.size
        case OutputCut(size=size):
            cut += size
    tally = ReportTotals(fact.id, sent, kept, cut)
    return replace(event, fact=tally, first=EventSequence(event.last))


def _through_bytes(event: Event) -> Event:
    """The event as a file gives it back."""
    fact = event.fact
    if isinstance(fact, Reported):
        report = decode_report(encode_report(fact.report))
        return replace(event, fact=replace(fact, report=report))
    assert not isinstance(fact, ReportTotals | SubjectFact)
    return replace(event, fact=decode_fact(encode_fact(fact)))
