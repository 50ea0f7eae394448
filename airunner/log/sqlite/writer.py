"""The one who writes: appends, and between them what keeps the file small.

Rules
- An append is one transaction: all of it, or nothing. It is over when COMMIT has returned, which
  with Fsync.FULL means that it outlives a power cut.
- A disk without room is LogFull, after a rollback; the same append may be tried again. What
  else fails is raised as it is, and nothing is written any more: what a failed fsync has left
  behind, nobody knows.
- Nothing but the append happens inside an append. SQLite's own checkpoint runs after a commit
  and would report its failure as that of a transaction that is already durable; so it is off,
  and tidy() checkpoints instead.
- tidy() does one bounded piece of housekeeping at a time: checkpoint, retention, giving space
  back. No room for it is no error: it waits for the next append that succeeds. A failure that is
  more than that is raised by the next append, since nobody waits for tidy().

How the write-ahead log stays small: past WAL_BYTES_MAX it is copied into the database without
waiting for anybody (PASSIVE), and if no reader holds an old page, the next commit begins it anew.
A file that grew to several times that, or a database that has just become smaller, is worth
waiting out readers for (TRUNCATE).
"""

import errno
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import apsw

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

READERS_MILLIS: Final = 50  # how long a checkpoint may wait for readers to let go of old pages

_ADD_FACTS: Final = f"INSERT INTO facts({FACT_COLUMNS}) VALUES ({', '.join('?' * 8)})"  # noqa: S608  # our own words
_ADD_REPORTS: Final = f"INSERT INTO reports({REPORT_COLUMNS}) VALUES ({', '.join('?' * 12)})"  # noqa: S608  # as above
_ADD_TRIMS: Final = "INSERT INTO trims(place) VALUES (?)"
_DROP_RENEWALS: Final = f"DELETE FROM facts WHERE job = ? AND kind = {FACTS[Renewed]} AND place < ?"  # noqa: S608  # our own words
_NO_ROOM: Final = (errno.ENOSPC, errno.EDQUOT)
_ROOM_CODES: Final = (apsw.SQLITE_IOERR_WRITE, apsw.SQLITE_IOERR_SHMSIZE)


class Writer:
    """The connection that writes; every call is on the one thread of whoever owns it."""

    def __init__(
        self, path: Path, connection: apsw.Connection, fsync: Fsync, codec: FactCodec = FACT_CODEC
    ) -> None:
        self._path = path
        self._connection = connection
        self._codec = codec
        connection.execute(f"PRAGMA synchronous={fsync.value.upper()}")
        connection.set_wal_hook(self._committed)
        self._page_bytes: Final = _number(connection, "page_size")
        self._wal_pages_max: Final = WAL_BYTES_MAX // self._page_bytes
        self._wal_pages = 0
        self._checkpoint_at = self._wal_pages_max
        self._shrink = False  # whether the database is smaller than its file
        self._trim = Trim(connection)
        self._vacuum = self._trim.pending or self._has_space()
        self._waits = False  # for the next append, because there is no room
        self._failure: Exception | None = None

    @property
    def due(self) -> bool:
        """Whether tidy() has something to do now."""
        if self._waits or self._failure:
            return False
        return (
            self._wal_pages >= self._checkpoint_at
            or self._trim.pending
            or self._vacuum
            or self._shrink
        )

    def append(self, events: Sequence[Event]) -> None:
        """Make events last, all or none. Raises LogFull, or what means that the server must stop."""
        if self._failure is not None:
            raise self._failure
        batch = _Batch(events, self._codec)
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
                f"there is no room to append to {self._path}: {error}; free some on its disk"
            ) from error
        except Exception as error:
            self._roll_back()
            self._failure = error
            raise
        self._waits = False
        self._trim.add(batch.tasks)

    def tidy(self) -> None:
        """Do one piece of what is due."""
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
        """Leave a database without a write-ahead log, if there is room for that.

        After a failure all is left as it is: what a checkpoint would overwrite may be needed.
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
        if pages < self._wal_pages:  # it began anew
            self._checkpoint_at = self._wal_pages_max
        self._wal_pages = pages
        return apsw.SQLITE_OK

    def _has_space(self) -> bool:
        """Whether enough of the file is free to be worth giving back."""
        return _number(self._connection, "freelist_count") * self._page_bytes > FREE_BYTES_KEPT

    def _roll_back(self) -> None:
        """End the transaction if SQLite has not done so by itself."""
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")


class _Batch:
    """Events as what is to be written."""

    def __init__(self, events: Sequence[Event], codec: FactCodec) -> None:
        self.facts: list[FactRow] = []
        self.reports: list[ReportRow] = []
        self.renewed: dict[JobId, Position] = {}  # whose earlier renewals no replay needs any more
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
