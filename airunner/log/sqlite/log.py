"""A log that outlives its process and its machine's power: one SQLite file.

Rules
- append() returns when its transaction is durable, as far as Fsync says (writer.py).
- One thread writes and one reads, each with a connection of its own, so the event loop never
  waits for the disk, and readers and the writer never for each other. What readers see is what
  was committed.
- Batching is not done here: the server gathers what comes while an append is under way, so
  under load many events share one fsync, and alone none waits for a timer.
- Housekeeping goes on the writer's thread, a bounded piece at a time, behind whatever append is
  waiting.
- Nothing here holds a job's output in memory but a page for each reader and a window on the
  newest events.

How it works
    schema.py   the file and its tables          records.py  facts and reports as bytes
    rows.py     events as rows                   writer.py   appends and housekeeping
    reader.py   a job's pages, for watchers      trim.py     retention's work, in slices
    replay.py   what a start needs               recent.py   the newest events, in memory
    wal.py      what a crash has left            lock.py     one server for each file

What was rejected
- The standard library's sqlite3: it comes with whatever SQLite the system has, without page
  checksums, and hides extended error codes, which tell a full disk from a broken one.
- A file of our own with records one after another: simple to append, but it needs an index for
  reading from a sequence, a way to give space back, and proofs for both, which SQLite has.
- An async driver: a thread and a queue are ten lines, and their order is ours.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import ParamSpec, Self, TypeVar

import apsw

from airunner.log.log import Fsync, LogDamaged, LogRefused, LogStatistics
from airunner.log.records import FACT_CODEC, FactCodec
from airunner.log.sqlite import replay, schema
from airunner.log.sqlite.damage import missing_events, reported_as_damage, reported_as_failure
from airunner.log.sqlite.lock import FileLock
from airunner.log.sqlite.migrations import migrate
from airunner.log.sqlite.names import Names, read_names
from airunner.log.sqlite.reader import Reader
from airunner.log.sqlite.recent import EventCache
from airunner.log.sqlite.wal import scan, wal_of
from airunner.log.sqlite.writer import Writer
from airunner.model.facts import Event
from airunner.model.jobs import JobId, Position

P = ParamSpec("P")
T = TypeVar("T")


class SqliteLog:
    """The log in one file, which is this object's alone until close()."""

    def __init__(
        self,
        path: Path,
        connection: apsw.Connection,
        lock: FileLock,
        *,
        fsync: Fsync,
        vfs: str | None,
        codec: FactCodec,
        names: Names,
        notes: tuple[str, ...],
    ) -> None:
        """Use open(): it finds out whether the file may be used."""
        self.path = path
        self._names = names
        self.notes = notes  # what was found when it was opened, a sentence each
        self._vfs = vfs
        self._codec = codec
        self._lock = lock
        self._recent = EventCache()
        self._writer = Writer(path, connection, fsync, codec)
        self._reader = Reader(path, vfs=vfs)
        self._writing = ThreadPoolExecutor(1, "log-writer")
        self._reading = ThreadPoolExecutor(1, "log-reader")
        self._tidying = False  # known to the writer's thread alone, as is the next
        self._closing = False
        self._writing.submit(self._tidy_later)

    @classmethod
    def open(
        cls,
        path: Path,
        *,
        fsync: Fsync = Fsync.FULL,
        vfs: str | None = None,
        codec: FactCodec = FACT_CODEC,
    ) -> Self:
        """The log in this file, which is made if it is not there; its folder is.

        Takes as long as the disk does. `vfs` is SQLite's name of another way to the disk; there
        are no page checksums then. Raises LogRefused if the file is something else, of a later
        format or in use; LogDamaged; LogFailed.
        """
        with reported_as_failure(f"cannot open the log {path}"):
            return cls._open(path, fsync, vfs, codec)

    @classmethod
    def _open(cls, path: Path, fsync: Fsync, vfs: str | None, codec: FactCodec) -> Self:
        if not path.parent.is_dir():
            raise LogRefused(f"{path.parent} is not there: make the folder for the log first")
        if path.exists():
            schema.is_empty(path)  # refuses what is not ours, before anything is touched
        lock = FileLock(path)
        try:
            if not path.exists() or schema.is_empty(path):
                schema.make(path, vfs=vfs)
            schema.touch(path)
            found = scan(path.with_name(f"{path.name}-wal"))
            connection = schema.connect(path, vfs=vfs, write=True)
            try:
                with reported_as_damage(path, "opening it"):
                    notes = found.notes + _prepare(path, connection)
                    names = read_names(connection)
                    if found.dropped:  # its frames would stand behind new ones, and look like them
                        connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
                    return cls(
                        path,
                        connection,
                        lock,
                        fsync=fsync,
                        vfs=vfs,
                        codec=codec,
                        names=names,
                        notes=notes,
                    )
            except BaseException:
                connection.close()
                raise
        except BaseException:
            lock.release()
            raise

    @property
    def name(self) -> str:
        return self._names.current

    def knows(self, name: str, position: Position) -> bool:
        return self._names.include(name, position)

    async def append(self, events: Sequence[Event]) -> None:
        await _on(self._writing, self._append, events)
        self._recent.add(events)

    async def read(
        self, id: JobId | None = None, after: int = 0, *, reported: bool = True
    ) -> AsyncGenerator[Event, None]:
        if id is None:
            pages = replay.pages(self.path, after, vfs=self._vfs, codec=self._codec)
            try:
                while events := await _on(self._reading, _next, pages):
                    for event in events:
                        yield event
            finally:  # on that thread, which may be in the middle of a page
                await _on(self._reading, pages.close)
            return
        more = True
        while more:
            recent = self._recent.since(id, after) if reported else None
            if recent is None:
                page = await _on(self._reading, self._reader.page, id, after, reported)
                recent, more = page.events, page.through is not None
            if not recent:
                return
            for event in recent:
                if reported and event.first > after + 1:
                    raise LogDamaged(missing_events(self.path, id, after + 1, event.first - 1))
                yield event
                after = event.last

    async def read_all(self, place: Position) -> AsyncGenerator[Event, None]:
        through: int | None = place
        while through is not None:
            recent = self._recent.since_place(Position(through))
            if recent is None:
                page = await _on(self._reading, self._reader.page_of_all, Position(through))
                recent, through = page.events, page.through
            else:
                through = recent[-1].place if recent else None
            for event in recent:
                yield event

    async def statistics(self) -> LogStatistics:
        return await _on(self._reading, self._statistics)

    async def trimmed(self) -> None:
        """Return when there is no housekeeping left to do now."""
        while await _on(self._writing, lambda: self._writer.due):
            pass

    async def close(self) -> None:
        """Finish the append that is under way, and leave one file. Nobody reads any more."""
        try:
            await _on(self._reading, self._reader.close)
            await _on(self._writing, self._end)
        finally:
            self._writing.shutdown()
            self._reading.shutdown()
            self._lock.release()

    # On the reader's thread

    def _statistics(self) -> LogStatistics:
        oldest, newest = self._reader.ends()
        size = sum(each.stat().st_size for each in (self.path, wal_of(self.path)) if each.exists())
        return LogStatistics(newest=newest, oldest=oldest, size=size)

    # On the writer's thread

    def _append(self, events: Sequence[Event]) -> None:
        try:
            self._writer.append(events)
        finally:
            self._tidy_later()

    def _tidy_later(self) -> None:
        """Let one piece of housekeeping wait in line, if there is one to do."""
        if self._writer.due and not self._tidying and not self._closing:
            self._tidying = True
            self._writing.submit(self._tidy)

    def _tidy(self) -> None:
        self._tidying = False
        if not self._closing:
            self._writer.tidy()
            self._tidy_later()

    def _end(self) -> None:
        self._closing = True
        self._writer.close()


def _prepare(path: Path, connection: apsw.Connection) -> tuple[str, ...]:
    """Make an old log one of today's format; what is worth saying."""
    notes = migrate(connection, path)
    schema.use_wal(connection)
    if not schema.has_page_checksums(connection):
        notes += (f"{path} has no page checksums: only what is read can be found damaged",)
    return notes


def _next(pages: Iterator[list[Event]]) -> list[Event]:
    """The next page that has an event in it; an empty one if there is none."""
    return next((page for page in pages if page), [])


async def _on(thread: ThreadPoolExecutor, work: Callable[P, T], *args: P.args, **_: P.kwargs) -> T:
    """The result of work on a thread. Raises LogFailed for errors of SQLite and of the disk."""
    with reported_as_failure():
        return await asyncio.get_running_loop().run_in_executor(thread, work, *args)
