"""The writer of the log: appends, and the housekeeping between them.

Rules
- An append is one transaction. It is durable when COMMIT has returned; with Fsync.FULL it then outlives
  a power cut.
- A full disk raises LogFull after a rollback, and the same append may be repeated. Any other error is
  raised unchanged, and the writer writes nothing more: the state after a failed fsync is unknown.
- A mark of cut output that follows another one of its job replaces that row (cuts.py).
- An append contains no other work. SQLite's automatic checkpoint runs after a commit and would report
  its own failure as the failure of a transaction that is already durable. So it is off, and tidy()
  checkpoints instead.
- tidy() does one bounded piece of housekeeping: a checkpoint, a slice of retention, or vacuum. A full
  disk is no error there: the work waits for the next append that succeeds. Any other failure is raised
  by the next append, because no caller waits for tidy().

How the write-ahead log stays small: beyond WAL_BYTES_MAX a PASSIVE checkpoint copies it into the
database without waiting for readers, and the next commit restarts it if no reader holds an old page. A
TRUNCATE checkpoint, which waits for readers, is worth its wait if the file has grown to several times
that size, or if the database has just become smaller.
"""

import errno
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import apsw

from airunner.log.cuts import NewestCuts
from airunner.log.log import Fsync, LogFull
from airunner.log.records import FACT_CODEC, FACTS, FactCodec
from airunner.log.sqlite.damage import extended, reported_as_damage
from airunner.log.sqlite.rows import (
    FACT_COLUMNS,
    REPORT_COLUMNS,
    FactRow,
    ReportRow,
    fact_row,
    report_row,
)
from airunner.log.sqlite.schema import BUSY_MILLIS
from airunner.log.sqlite.trim import Trim
from airunner.model.facts import (
    Event,
    Finished,
    Forgotten,
    OutputDropped,
    Renewed,
    Reported,
    Returned,
)
from airunner.model.jobs import JobId, Position
from airunner.model.limits import FREE_BYTES_KEPT, VACUUM_BYTES_MAX, WAL_BYTES_MAX

READERS_MILLIS: Final = 50  # a checkpoint waits that long for readers of old pages

_ADD_FACTS: Final = f"INSERT INTO facts({FACT_COLUMNS}) VALUES ({', '.join('?' * 8)})"  # noqa: S608  # our own words
_ADD_REPORTS: Final = f"INSERT INTO reports({REPORT_COLUMNS}) VALUES ({', '.join('?' * 12)})"  # noqa: S608  # as above
_REPLACE_CUTS: Final = "DELETE FROM reports WHERE place = ?"
_ADD_TRIMS: Final = "INSERT INTO trims(place) VALUES (?)"
_DROP_RENEWALS: Final = f"DELETE FROM facts WHERE job = ? AND kind = {FACTS[Renewed]} AND place < ?"  # noqa: S608  # our own words
_NO_ROOM: Final = (errno.ENOSPC, errno.EDQUOT)
_ROOM_CODES: Final = (apsw.SQLITE_IOERR_WRITE, apsw.SQLITE_IOERR_SHMSIZE)


class Writer:
    """The connection that writes; all calls come from one thread."""

    def __init__(
        self, path: Path, connection: apsw.Connection, fsync: Fsync, codec: FactCodec = FACT_CODEC
    ) -> None:
        self._path = path
        self._connection = connection
        self._codec = codec
        self._cuts = NewestCuts()
        connection.execute(f"PRAGMA synchronous={fsync.value.upper()}")
        connection.set_wal_hook(self._committed)
        self._page_bytes: Final = _number(connection, "page_size")
        self._wal_pages_max: Final = WAL_BYTES_MAX // self._page_bytes
        self._wal_pages = 0
        self._checkpoint_at = self._wal_pages_max
        self._shrink = False  # true if the database is smaller than its file
        self._trim = Trim(connection)
        self._vacuum = self._trim.pending or self._has_space()
        self._waits = False  # true if housekeeping found no room and waits for the next append
        self._failure: Exception | None = None

    @property
    def due(self) -> bool:
        """True if tidy() has work to do now."""
        if self._waits or self._failure:
            return False
        return (
            self._wal_pages >= self._checkpoint_at
            or self._trim.pending
            or self._vacuum
            or self._shrink
        )

    def append(self, events: Sequence[Event]) -> None:
        """Appends events, all or none. Raises LogFull; after any other error the server must stop."""
        if self._failure is not None:
            raise self._failure
        append = self._cuts.join(events)
        batch = _Batch(append.events, self._codec)
        batch.replaced = [(place,) for place in append.replaced]
        try:
            with reported_as_damage(self._path, "appending to it"):
                self._write(batch)
        except apsw.Error as error:
            self._roll_back()
            if not _is_full(error, self._connection):
                self._failure = error
                raise
            self._checkpoint_at, self._waits = 0, False  # a checkpoint may make room
            raise LogFull(
                f"there is no room to append to {self._path}: {error}; free space on its disk"
            ) from error
        except Exception as error:
            self._roll_back()
            self._failure = error
            raise
        self._waits = False
        self._cuts.keep(append)
        self._trim.add(batch.tasks)

    def tidy(self) -> None:
        """Does one piece of the housekeeping that is due."""
        try:
            with reported_as_damage(self._path, "making room in it"):
                self._tidy()
        except apsw.Error as error:
            self._roll_back()
            if isinstance(error, apsw.BusyError | apsw.LockedError) or _is_full(
                error, self._connection
            ):
                self._waits = True
            else:
                self._failure = error
        except Exception as error:  # the next append raises it
            self._roll_back()
            self._failure = error

    def close(self) -> None:
        """Copies the write-ahead log into the database and removes it, if there is room for that.

        After a failure the files stay unchanged: a checkpoint could overwrite pages that are needed.
        """
        try:
            if self._failure is None:
                with reported_as_damage(self._path, "closing it"):
                    self._checkpoint(apsw.SQLITE_CHECKPOINT_TRUNCATE)
        except apsw.Error as error:  # nothing is lost: the next start reads the write-ahead log
            self._failure = error
        finally:
            if self._failure is not None:
                self._connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
            self._connection.close()

    def _write(self, batch: "_Batch") -> None:
        connection = self._connection
        connection.execute("BEGIN IMMEDIATE")
        if batch.facts:
            connection.executemany(_ADD_FACTS, batch.facts)
        if batch.replaced:
            connection.executemany(_REPLACE_CUTS, batch.replaced)
        if batch.reports:
            connection.executemany(_ADD_REPORTS, batch.reports)
        if batch.renewed:
            connection.executemany(_DROP_RENEWALS, batch.renewed.items())
        if batch.tasks:
            connection.executemany(_ADD_TRIMS, [(place,) for place, *_ in batch.tasks])
        connection.execute("COMMIT")

    def _tidy(self) -> None:
        if self._wal_pages >= self._checkpoint_at:
            large = self._wal_pages >= 4 * self._wal_pages_max
            self._checkpoint(
                apsw.SQLITE_CHECKPOINT_TRUNCATE if large else apsw.SQLITE_CHECKPOINT_PASSIVE
            )
        elif self._trim.pending:
            self._vacuum = True
            self._trim.slice()
        elif self._vacuum:
            self._vacuum = self._has_space()
            if self._vacuum:
                self._shrink = True
                pages = VACUUM_BYTES_MAX // self._page_bytes
                self._connection.execute(f"PRAGMA incremental_vacuum({pages})").fetchall()
        else:
            self._shrink = False
            self._checkpoint(apsw.SQLITE_CHECKPOINT_TRUNCATE)

    def _checkpoint(self, mode: int) -> None:
        self._checkpoint_at = self._wal_pages + self._wal_pages_max
        patience = BUSY_MILLIS if mode == apsw.SQLITE_CHECKPOINT_PASSIVE else READERS_MILLIS
        self._connection.set_busy_timeout(patience)
        try:
            self._connection.wal_checkpoint(mode=mode)
        finally:
            self._connection.set_busy_timeout(BUSY_MILLIS)

    def _committed(self, _connection: apsw.Connection, _database: str, pages: int) -> int:
        if pages < self._wal_pages:  # SQLite has restarted the write-ahead log
            self._checkpoint_at = self._wal_pages_max
        self._wal_pages = pages
        return apsw.SQLITE_OK

    def _has_space(self) -> bool:
        """True if the free pages of the file are worth a vacuum."""
        return _number(self._connection, "freelist_count") * self._page_bytes > FREE_BYTES_KEPT

    def _roll_back(self) -> None:
        """Rolls the transaction back, unless SQLite has done so."""
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")


class _Batch:
    """The rows of an append, by table."""

    def __init__(self, events: Sequence[Event], codec: FactCodec) -> None:
        self.facts: list[FactRow] = []
        self.reports: list[ReportRow] = []
        self.replaced: list[tuple[Position]] = []  # reports that the new rows contain
        self.renewed: dict[JobId, Position] = {}  # no replay needs renewals before the position
        self.tasks: list[tuple[int, str, int]] = []
        for event in events:
            fact = event.fact
            if isinstance(fact, Reported):
                self.reports.append(report_row(event))
                continue
            self.facts.append(fact_row(event, codec))
            if isinstance(fact, Renewed | Returned | Finished):
                self.renewed[fact.id] = event.place
            elif isinstance(fact, OutputDropped | Forgotten):
                self.tasks.append((event.place, fact.id, FACTS[type(fact)]))


def _is_full(error: apsw.Error, connection: apsw.Connection) -> bool:
    if isinstance(error, apsw.FullError):
        return True
    return extended(error) in _ROOM_CODES and connection.system_errno in _NO_ROOM


def _number(connection: apsw.Connection, pragma: str) -> int:
    value = connection.pragma(pragma)
    assert isinstance(value, int)
    return value
