"""The file of a durable log: one SQLite database with four tables.

Rules
- `facts` has a row for each fact except Reported, `reports` a row for each Reported, `trims` the
  position of each retention fact whose work is not finished, and `names` the names of the log
  (names.py). The column `job` of a fact about another subject has that subject.
- `facts` and `reports` share one order of positions (the column `place`). A row is written once; only
  retention changes a row, and only from output to an OutputCut (trim.py). The row of a mark of cut
  output is replaced by that of the next mark of its job, if no other event is between the two.
- `crc` covers every other column of its row (rows.py) and is checked at each read of the row.
- Every page has a checksum in its last 8 bytes, if SQLite's extension for page checksums is available.
  A file that was created with page checksums is never written without them.
- application_id says that the file is a log of airunner. user_version has two numbers: its low 16
  bits are the format of the tables, and the others the feature level less 1 (records.py). Page 1
  has both, so every reader checks them before anything else, a salvage without SQLite too.

Why two tables, and not one with a partial index: a replay reads facts in the order of their positions.
In one table, pages of output would lie between them and each fact would cost a seek. In a table of
their own facts are neighbours, and ten GiB of output do not slow a start down. A watcher merges two
short ranges.

Why pages of 8 KiB: a commit of one small fact writes 4 or 5 pages to the write-ahead log, which favours
small pages; a report of 64 KiB takes a chain of pages, which favours large pages. From 4 to 8 KiB the
throughput of output rose by more than half, from 8 to 32 by a fifth, and each doubling doubles the
bytes of a small commit.

Small columns come before the record, and the index of reports has the sizes, so the sums of a job's
output are computed without reading output.
"""

import os
from pathlib import Path
from typing import Final, NamedTuple, Self

import apsw
from apsw import sqlite_extra

from airunner.log.log import LogRefused
from airunner.log.records import FEATURE_LEVEL
from airunner.log.sqlite.names import TABLE, give_name
from airunner.model.limits import KIB
from airunner.system.sync import sync

APPLICATION_ID: Final = 0x61697272  # "airr"
FORMAT: Final = 2  # of the tables
PAGE_BYTES: Final = 8 * KIB
CHECKSUM_BYTES: Final = 8  # reserved at the end of each page for its checksum
BUSY_MILLIS: Final = 5_000  # time limit of a wait for another process, such as a backup

_CHECKSUMS: Final = "cksmvfs"  # the VFS of SQLite's extension for page checksums
_MAGIC: Final = b"SQLite format 3\0"
_HEADER_BYTES: Final = 100
_TABLES: Final = """
CREATE TABLE facts(
  place INTEGER PRIMARY KEY,
  job TEXT NOT NULL,
  kind INTEGER NOT NULL,
  at INTEGER NOT NULL,
  last INTEGER NOT NULL,
  link BLOB NOT NULL,
  record BLOB NOT NULL,
  crc INTEGER NOT NULL
) STRICT;
CREATE INDEX facts_of_job ON facts(job, last, kind);
CREATE TABLE reports(
  place INTEGER PRIMARY KEY,
  job TEXT NOT NULL,
  kind INTEGER NOT NULL,
  at INTEGER NOT NULL,
  last INTEGER NOT NULL,
  attempt INTEGER NOT NULL,
  sent INTEGER NOT NULL,
  size INTEGER NOT NULL,
  cut INTEGER NOT NULL,
  link BLOB NOT NULL,
  record BLOB NOT NULL,
  crc INTEGER NOT NULL
) STRICT;
CREATE INDEX reports_of_job ON reports(job, last, size, cut);
CREATE TABLE trims(place INTEGER PRIMARY KEY) STRICT;
"""


class Version(NamedTuple):
    """The format of a log's tables, and the feature level of its records."""

    format: int = FORMAT
    level: int = FEATURE_LEVEL

    @classmethod
    def of(cls, number: int) -> Self:
        """The version that a `user_version` says."""
        return cls(number & 0xFFFF, (number >> 16 & 0xFFFF) + 1)

    @property
    def number(self) -> int:
        """Its `user_version`."""
        return self.format | (self.level - 1) << 16


def checksum_vfs() -> str | None:
    """The name of the VFS that maintains page checksums; None: apsw on this platform has no such VFS."""
    if _CHECKSUMS not in apsw.vfs_names():
        memory = apsw.Connection(":memory:")
        try:
            sqlite_extra.load(memory, "cksumvfs")
        except (sqlite_extra.NotAvailable, LookupError, apsw.Error):
            return None
        finally:
            memory.close()
    return _CHECKSUMS


def is_empty(path: Path) -> bool:
    """True if the file is empty, so that a log may be created in it; False if it is a log.

    Raises LogRefused if it is something else, and FileNotFoundError.
    """
    with path.open("rb") as file:
        header = file.read(_HEADER_BYTES)
    if not header:
        return True
    if not header.startswith(_MAGIC):
        raise LogRefused(f"{path} is no log of airunner: it is no SQLite file; name another file")
    if int.from_bytes(header[68:72], "big") != APPLICATION_ID:
        raise LogRefused(f"{path} is a SQLite file, but no log of airunner: name another file")
    if header[20] and checksum_vfs() is None:
        raise LogRefused(
            f"{path} has page checksums, which SQLite here cannot keep "
            "(its extension cksumvfs is missing): serve it where airunner was installed from wheels"
        )
    return False


def connect(path: Path, *, vfs: str | None = None, write: bool = False) -> apsw.Connection:
    """A connection to a file that exists, for one thread at a time.

    `vfs` names another of SQLite's interfaces to the disk; such a connection neither writes nor checks
    page checksums.
    """
    flags = apsw.SQLITE_OPEN_READWRITE if write else apsw.SQLITE_OPEN_READONLY
    connection = apsw.Connection(str(path), flags=flags, vfs=vfs or checksum_vfs())
    connection.set_busy_timeout(BUSY_MILLIS)
    connection.execute("PRAGMA cell_size_check=ON")
    connection.wal_autocheckpoint(0)
    return connection


def has_page_checksums(connection: apsw.Connection) -> bool:
    return str(connection.pragma("checksum_verification")) == "1"


def read_version(connection: apsw.Connection) -> Version:
    number = connection.pragma("user_version")
    assert isinstance(number, int)
    return Version.of(number)


def check_version(path: Path, found: Version, known: Version | None = None) -> None:
    """Raises LogRefused if a later airunner wrote the log. `known` is today's version."""
    known = known or Version()
    for number, highest, words in (
        (found.format, known.format, "format"),
        (found.level, known.level, "feature level"),
    ):
        if number > highest:
            raise LogRefused(
                f"{path} has {words} {number}, and this airunner knows {words}s up to {highest}: use "
                "the version that wrote it, or a later one"
            )


def make(path: Path, *, vfs: str | None = None) -> None:
    """Creates a log in a file that does not exist or is empty, all or nothing.

    The log is created under another name, synced and then renamed, so a file of this name is a whole
    log even after a power cut. Files of an interrupted make() are removed. Raises LogRefused if files
    beside it belong to a log that was there before.
    """
    for name in _beside(path):
        if name.is_file() and name.stat().st_size:
            raise LogRefused(
                f"{name} belongs to a log that was at {path} and is gone: restore that log, or move "
                "this file away"
            )
    new = path.with_name(f"{path.name}.new")
    for name in (new, *_beside(new)):
        name.unlink(missing_ok=True)
    touch(new)
    connection = connect(new, vfs=vfs, write=True)
    try:
        create(connection, checksums=vfs is None and checksum_vfs() is not None)
        use_wal(connection)
    finally:
        connection.close()
    touch(new)
    new.replace(path)


def create(connection: apsw.Connection, *, checksums: bool = True) -> None:
    """Creates the tables of a log in an empty file; the connection may write. use_wal() comes next."""
    if checksums:
        connection.reserve_bytes("main", CHECKSUM_BYTES)
    connection.execute(f"PRAGMA page_size={PAGE_BYTES}; PRAGMA auto_vacuum=INCREMENTAL")
    with connection:
        connection.execute(f"PRAGMA application_id={APPLICATION_ID}")
        connection.pragma("user_version", Version().number)
        connection.execute(_TABLES)
        connection.execute(TABLE)
        give_name(connection)


def use_wal(connection: apsw.Connection) -> None:
    """Switches the file to a write-ahead log, for every connection from now on."""
    connection.execute("PRAGMA journal_mode=WAL")


def touch(path: Path) -> None:
    """Creates the file if needed, for its owner alone, and syncs it and its folder, which must exist."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        os.fchmod(descriptor, 0o600)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    sync(path.parent)


def _beside(path: Path) -> tuple[Path, Path]:
    """The files beside a database that SQLite would read as parts of it."""
    return path.with_name(f"{path.name}-wal"), path.with_name(f"{path.name}-journal")
