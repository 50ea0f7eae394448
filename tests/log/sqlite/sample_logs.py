"""Real logs on disk for the tests of what is done to one: written row by row, as a server would."""

import asyncio
from collections.abc import Iterable, Sequence
from contextlib import closing
from pathlib import Path

import apsw

from airunner.blobs.folder import blob_path, blobs_folder
from airunner.log.log import Log
from airunner.log.memory import MemoryLog
from airunner.log.sqlite.log import SqliteLog
from airunner.log.sqlite.rows import (
    FACT_COLUMNS,
    REPORT_COLUMNS,
    FactRow,
    ReportRow,
    fact_row,
    report_row,
)
from airunner.log.sqlite.schema import checksum_vfs, connect, create, touch, use_wal
from airunner.model.facts import ArtifactKept, Event, Reported, SubjectFact
from airunner.model.jobs import Instant, JobId
from airunner.store.engine import Engine
from tests.log.log_contract import CODEC, NOW, Writer, output
from tests.store.test_engine import Pauses
from tests.store.walk import Walk

JOBS = tuple(JobId(name) for name in ("one", "two", "three", "four", "five"))


class Rows(MemoryLog):
    """A log whose appends are rows of a file, one transaction each."""

    def __init__(self, path: Path, *, checksums: bool = True) -> None:
        super().__init__()
        touch(path)
        self.connection = connect(path, write=True)
        create(self.connection, checksums=checksums and checksum_vfs() is not None)
        use_wal(self.connection)

    async def append(self, events: Sequence[Event]) -> None:
        await super().append(events)
        with self.connection:
            for event in events:
                store(self.connection, event)


def store(connection: apsw.Connection, event: Event) -> None:
    if isinstance(event.fact, Reported):
        insert(connection, "reports", REPORT_COLUMNS, report_row(event))
    else:
        insert(connection, "facts", FACT_COLUMNS, fact_row(event, CODEC))


def insert(connection: apsw.Connection, table: str, columns: str, row: FactRow | ReportRow) -> None:
    marks = ", ".join("?" * len(row))
    connection.execute(f"INSERT INTO {table}({columns}) VALUES({marks})", row)


def write(path: Path, jobs: Iterable[JobId] = JOBS, *, size: int = 3_000) -> Writer:
    """A log in which each job has run and said something, checkpointed and closed."""
    with closing((log := Rows(path)).connection):
        writer = Writer(log)
        run(writer, jobs, size=size)
    return writer


def run(writer: Writer, jobs: Iterable[JobId], *, size: int = 3_000) -> None:
    async def each() -> None:
        for id in jobs:
            await writer.run(id, output("a" * size, "b"), output("c" * size))

    asyncio.run(each())


def run_with_subjects(writer: Writer) -> list[Event]:
    """Jobs, and in between facts about queues; these facts."""
    pauses = Pauses()
    writer.engine = engine = Engine(machines={"queue": pauses})
    for number, id in enumerate(JOBS):
        run(writer, [id])
        facts = pauses.pause(f"q{number % 2}", Instant(NOW + 1 + number))
        asyncio.run(writer.append(engine.record(facts, NOW)))
    return [event for event in writer.events if isinstance(event.fact, SubjectFact)]


def age(path: Path) -> None:
    """Make a log one of format 1, as the first airunner wrote it: without names."""
    with closing(connect(path, write=True)) as connection:
        connection.execute("DROP TABLE names; PRAGMA user_version=1")


def shelve(path: Path, fact: ArtifactKept, data: bytes) -> Path:
    """Put a file where the artifacts of a log are."""
    place = blob_path(blobs_folder(path), fact.id, fact.attempt, fact.artifact)
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(data)
    return place


def events_of(log: Log, id: JobId) -> list[Event]:
    async def read() -> list[Event]:
        return [event async for event in log.read(id)]

    return asyncio.run(read())


def write_walk(path: Path, walk: Walk, *, trimmed: bool) -> None:
    """All that a random walk has left, by a server's own log; with retention's work done, or not.

    The files of its artifacts are there too, those that have gone included.
    """
    for event in walk.log:
        if isinstance(event.fact, ArtifactKept):
            shelve(path, event.fact, bytes(event.fact.artifact.size))

    async def append() -> None:
        log = SqliteLog.open(path)
        rest = walk.log
        while rest:
            size = walk.dice.randrange(1, 40)
            await log.append(rest[:size])
            rest = rest[size:]
        if trimmed:
            await log.trimmed()
        await log.close()

    asyncio.run(append())
