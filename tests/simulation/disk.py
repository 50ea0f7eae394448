"""A simulated disk and its log, in virtual time: a crash leaves any state that a real crash may.

An append takes time, occasionally a long time. An answered append is durable. After a crash, any
prefix of the pending append is on the disk. A full disk refuses every append, and a broken disk
fails once. A replay returns the least that a Log may return, so that no caller depends on more.
"""

import asyncio
from collections.abc import AsyncGenerator, Iterable, Sequence
from random import Random

from msgspec.structs import replace

from airunner.blobs.memory import MemoryBlobs
from airunner.log.log import LogFull, LogStatistics
from airunner.log.memory import MemoryLog
from airunner.log.records import FACT_CODEC, FactCodec, decode_report, encode_report
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
    """The state that survives a server: events, artifacts and faults of the disk."""

    def __init__(self, dice: Random, codec: FactCodec = FACT_CODEC) -> None:
        self.dice = dice
        self.codec = codec
        self.full = False
        self.low = False  # little space is left: the server refuses jobs and output
        self.broken = False  # the next append fails
        self.slow = 1.0  # the factor of an append's time
        self.events: list[Event] = []
        self.jobs = MemoryLog()  # the events by job, without those that retention has removed
        self.artifacts = MemoryBlobs()  # the artifacts' bytes

    def pause(self) -> float:
        """The seconds of an append."""
        short = self.dice.uniform(0.001, 0.01)
        return self.slow * (short if self.dice.random() < 0.97 else self.dice.uniform(0.1, 0.8))

    async def keep(self, events: Sequence[Event]) -> None:
        kept = [_through_bytes(event, self.codec) for event in events]
        self.events += kept
        await self.jobs.append(kept)

    def left(self, events: Sequence[Event]) -> Sequence[Event]:
        """The random prefix of a pending append that a crash leaves."""
        return events[: self.dice.randint(0, len(events))]


class DiskLog:
    """The log of a server life on the disk, until the server dies."""

    def __init__(self, disk: Disk) -> None:
        self.name = "disk"
        self._disk = disk
        self._under_way: Sequence[Event] = ()
        self._dead = False

    def knows(self, name: str, position: Position) -> bool:
        del position
        return name == self.name

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
        """Ends the log with the server's crash; a prefix of a pending append stays."""
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

    async def statistics(self) -> LogStatistics:
        return await self._disk.jobs.statistics()

    async def _unless_dead(self) -> None:
        if self._dead:
            await asyncio.Event().wait()


def condensed(events: Iterable[Event]) -> Sequence[Event]:
    """The least events that a replay needs of `events`."""
    kept: dict[int, Event] = {}  # by position
    known: dict[JobId, list[int]] = {}  # the positions of a job's events
    renewed: dict[JobId, int] = {}  # the position of the last renewal of a job's lease
    tallied: dict[JobId, Event] = {}  # the totals of a job's reports
    attempts: dict[JobId, int] = {}  # the attempt of those reports
    for event in events:
        fact = event.fact
        if isinstance(fact, SubjectFact):
            kept[event.place] = event
            continue
        id = event.job
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
    """The totals of the reports up to an event, at its position; `attempt` is that of `before`."""
    old = before.fact if before else None
    sent, kept, cut, others = 0, 0, 0, 0
    if isinstance(old, ReportTotals):
        sent, kept, cut = old.sent, old.output_bytes, old.output_bytes_cut
        others = old.reports
    sent = fact.sent or (sent if attempt == fact.attempt else 0)
    match fact.report:
        case Output() as output:
            kept += output.size
        case OutputCut(size=size):
            cut += size
        case _:
            others += 1
    tally = ReportTotals(fact.id, sent, kept, cut, others)
    return replace(event, fact=tally, first=EventSequence(event.last))


def _through_bytes(event: Event, codec: FactCodec) -> Event:
    """The event after encoding and decoding, as a file returns it."""
    fact = event.fact
    if isinstance(fact, Reported):
        report = decode_report(encode_report(fact.report))
        return replace(event, fact=replace(fact, report=report))
    assert not isinstance(fact, ReportTotals)
    return replace(event, fact=codec.decode(codec.encode(fact)))
