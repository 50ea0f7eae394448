"""What a log is given batch by batch, and what it must say after each."""

import random
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from msgspec import structs

from airunner.log.log import Log
from airunner.log.memory import MemoryLog
from airunner.model.facts import Event
from airunner.model.job_events import JobEvent, job_event
from airunner.model.jobs import Instant, Job, JobId
from airunner.model.jobs import Sequence as EventSequence
from airunner.model.limits import KIB
from airunner.model.reports import Output, OutputCut, Report
from airunner.server.replay import replay
from airunner.store.engine import Engine, replayed
from tests.log.log_contract import Writer, by_id, output, read
from tests.store.walk import KEEP, Walk

NAME = "log"  # of the file
MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else None  # where a sync costs nothing
RETENTION = replace(
    KEEP, spec_bytes_max=200_000, output_bytes_per_job=20_000, output_bytes_total=30_000
)


class Torrent(Walk):
    """A walk whose jobs write so much that a row does not fit a page."""

    def __init__(self, dice: random.Random) -> None:
        super().__init__(dice)
        self.engine = Engine(RETENTION)

    def _report(self, number: int) -> Report:
        report = super()._report(number)
        if not isinstance(report, Output) or self.dice.random() < 0.6:
            return report
        more = b"y" * self.dice.randrange(4_000)
        return Output(tuple(replace(chunk, data=chunk.data + more) for chunk in report.chunks))


@dataclass(frozen=True, slots=True)
class Chapter:
    """All that can be known of a log when it ends at this place."""

    place: int
    jobs: Sequence[Job]
    streams: Mapping[JobId, Sequence[JobEvent]]


class Story:
    """Batches of events as a server makes them."""

    def __init__(self, batches: Sequence[Sequence[Event]], now: Instant) -> None:
        self.batches, self.now = batches, now
        self.ids = sorted({event.job for batch in batches for event in batch})

    async def chapters(self) -> Mapping[int, Chapter]:
        """Each by its place; that of an empty log is at 0."""
        return {chapter.place: chapter async for chapter in self._chapters()}

    async def _chapters(self) -> AsyncIterator[Chapter]:
        memory, told, place = MemoryLog(), list[Event](), 0
        for batch in [[], *self.batches]:
            await memory.append(batch)
            told += batch
            place = told[-1].place if told else 0
            streams = {id: seen(await read(memory, id)) for id in self.ids}
            yield Chapter(place, known(replayed(told, RETENTION)), streams)


def walked(seed: int, steps: int, batch_max: int) -> Story:
    """Of jobs to which everything happens."""
    dice, batches = random.Random(seed), list[Sequence[Event]]()
    walk = Torrent(dice)
    walk.run(steps)
    left = walk.log
    while left:
        size = dice.randint(1, batch_max)
        batches.append(left[:size])
        left = left[size:]
    return Story(batches, walk.now)


async def quiet() -> Story:
    """Of jobs that are kept, so that each batch is one transaction and nothing follows it."""
    writer = Writer(heard := _Heard())
    for id in ("one", "two", "three"):
        await writer.run(JobId(id), output("a" * 500), output("b" * 9 * KIB))
    return Story(heard.batches, Instant(2_000))


async def flooded() -> Story:
    """Of a job whose output is large enough for its space to be given back when it is dropped."""
    writer = Writer(heard := _Heard())
    one, two = JobId("one"), JobId("two")
    await writer.run(one, *[output("y" * 64 * KIB) for _ in range(24)])
    await writer.drop(one)
    await writer.run(two, output("z" * 64 * KIB))
    await writer.forget(one)
    await writer.forget(two)
    return Story(heard.batches, Instant(2_000))


async def crowded() -> Story:
    """Of so many jobs that an index of theirs needs more than a page, some of them forgotten."""
    writer, ids = Writer(heard := _Heard()), [JobId(f"job-{number:060}") for number in range(40)]
    for id in ids:
        await writer.run(id, output("a"), output("b" * 500))
    await writer.run(JobId("loud"), output("c" * 20 * KIB), output("d" * 20 * KIB))
    for id in ids[:3]:
        await writer.forget(id)
    await writer.drop(JobId("loud"))
    return Story(heard.batches, Instant(2_000))


class _Heard(MemoryLog):
    """Remembers what it was given together."""

    def __init__(self) -> None:
        super().__init__()
        self.batches: list[Sequence[Event]] = []

    async def append(self, events: Sequence[Event]) -> None:
        await super().append(events)
        self.batches.append(events)


async def engine_of(log: Log) -> Engine:
    """What a server that starts on the log has."""
    engine = Engine(RETENTION)
    await replay(log, engine)
    engine.check()
    return engine


async def is_chapter(log: Log, chapters: Mapping[int, Chapter]) -> Engine:
    """Assert that the log says what it was given up to the end of a batch, and nothing else."""
    engine = await engine_of(log)
    assert engine.tail in chapters, f"place {engine.tail} is within a batch"
    chapter = chapters[engine.tail]
    assert known(engine) == chapter.jobs
    for id, stream in chapter.streams.items():
        assert seen(await read(log, id)) == stream, id
    return engine


def known(engine: Engine) -> list[Job]:
    """The jobs as a log must know them: of one that has ended not the number of its last report."""
    return [structs.replace(job, sent=0) if job.state.final else job for job in by_id(engine)]


def seen(events: Sequence[Event]) -> list[JobEvent]:
    """What a watcher is told; cuts that follow each other are one, whenever they were made."""
    entries = list[JobEvent]()
    for each in filter(None, map(job_event, events)):
        if not isinstance(each.body, OutputCut):
            entries.append(each)
            continue
        cut, first = each.body, each.first
        before = entries[-1] if entries else None
        if before and isinstance(before.body, OutputCut) and before.attempt == each.attempt:
            entries.pop()
            cut = OutputCut(cut.items + before.body.items, cut.size + before.body.size)
            first = EventSequence(before.first)
        entries.append(structs.replace(each, first=first, at=Instant(0), body=cut))
    return entries
