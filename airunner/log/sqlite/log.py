"""A log that outlives its process and a power cut: one SQLite file.

Rules
- append() returns when its transaction is durable, to the degree that Fsync says (writer.py).
- One thread writes and one reads, each with a connection of its own. So the event loop never waits for
  the disk, and readers and the writer never wait for each other. Readers see committed events only.
- The log does no batching: the server gathers events while an append is under way. So many events share
  one fsync under load, and a single event waits for no timer.
- Housekeeping runs on the writer's thread, a bounded piece at a time, behind every waiting append.
- Memory holds no output except one page for each reader and a cache of the newest events.

How it works
    schema.py   the file and its tables          records.py  facts and reports as bytes
    rows.py     events as rows                   writer.py   appends and housekeeping
    reader.py   pages of events, for watchers    trim.py     deletions of retention, in slices
    replay.py   the events of a start            recent.py   the newest events, in memory
    wal.py      the state after a crash          lock.py     one server for each file
    names.py    the names of the log             damage.py   errors of SQLite as errors of the log

What was rejected
- The standard library's sqlite3: it uses the SQLite of the system, without page checksums, and hides
  the extended error codes that tell a full disk from a broken one.
- A file format of our own with one record after another: appends are simple, but it needs an index for
  reads from a sequence, space management, and proofs for both, which SQLite has.
- An async driver: a thread and a queue are ten lines, and keep the order of calls.
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
from airunner.log.sqlite.event_cache import EventCache
from airunner.log.sqlite.lock import FileLock
from airunner.log.sqlite.migrations import migrate
from airunner.log.sqlite.names import Names, read_names
from airunner.log.sqlite.reader import Reader
from airunner.log.sqlite.wal import scan, wal_of
from airunner.log.sqlite.writer import Writer
from airunner.model.facts import Event
from airunner.model.jobs import JobId, Position

P = ParamSpec("P")
T = TypeVar("T")


class SqliteLog:
    """The log in one file, which no other process may write until close()."""

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
        """For open(), which checks that the file may be used."""
        self.path = path
        self._names = names
        self.notes = notes  # a sentence for each remarkable finding of open()
        self._vfs = vfs
        self._codec = codec
        self._lock = lock
        self._recent = EventCache()
        self._writer = Writer(path, connection, fsync, codec)
        self._reader = Reader(path, vfs=vfs)
        self._writing = ThreadPoolExecutor(1, "log-writer")
        self._reading = ThreadPoolExecutor(1, "log-reader")
        self._tidying = False  # of the writer's thread alone, as is the next
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
        """Opens the log in this file, or creates it in a folder that exists.

        The call blocks for as long as the disk takes. `vfs` names another of SQLite's interfaces to the
        disk, without page checksums; `codec` has the kinds of facts. Raises LogRefused if the file is
        something else, of a later version or in use; LogDamaged; LogFailed.
        """
        with reported_as_failure(f"cannot open the log {path}"):
            return cls._open(path, fsync, vfs, codec)

    @classmethod
    def _open(cls, path: Path, fsync: Fsync, vfs: str | None, codec: FactCodec) -> Self:
        if not path.parent.is_dir():
            raise LogRefused(f"{path.parent} is not there: make the folder for the log first")
        if path.exists():
            schema.is_empty(path)  # refuses other files before it changes anything
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
                    if found.dropped:  # else its frames would follow new ones and look like these
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
            finally:  # on that thread, which may be reading a page
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
        """Returns when no housekeeping is due."""
        while await _on(self._writing, lambda: self._writer.due):
            pass

    async def close(self) -> None:
        """Finishes the append that is under way, and leaves one file. All reads have ended."""
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
        """Queues one piece of housekeeping, if any is due."""
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
    """Migrates an old log to today's format; a sentence for each remarkable finding."""
    notes = migrate(connection, path)
    schema.use_wal(connection)
    if not schema.has_page_checksums(connection):
        notes += (f"{path} has no page checksums: damage is found only in rows that are read",)
    return notes


def _next(pages: Iterator[list[Event]]) -> list[Event]:
    """The next page with an event; an empty list at the end."""
    return next((page for page in pages if page), [])


async def _on(thread: ThreadPoolExecutor, work: Callable[P, T], *args: P.args, **_: P.kwargs) -> T:
    """The result of work on a thread. Raises LogFailed for errors of SQLite and of the disk."""
    with reported_as_failure():
        return await asyncio.get_running_loop().run_in_executor(thread, work, *args)
