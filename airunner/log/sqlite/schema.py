"""The file of a durable log: one SQLite database with four tables.

Rules
- `facts` has a row for each fact of a job's life and of retention, `reports` one for each
  Reported, and `trims` the place of each retention fact whose work is not done yet.
- Both tables of events share one order of places. A row is written once; only retention
  changes one, and only from output to a mark in its place (trim.py).
- `crc` covers every other column of its row (rows.py) and is checked whenever the row is read.
- Every page carries a checksum of its own where SQLite's extension for that is there, in 8
  bytes at its end. A file that was made with them is never written without them.
- `names` has the names of the log (names.py).
- application_id says that the file is a log of airunner. user_version has two numbers: its low 16
  bits are the format of the tables, and the others the feature level less 1 (records.py). Page 1
  has both, so every reader checks them before anything else, a salvage without SQLite too.

Why two tables, and not one with a partial index: a replay reads facts in order of place. In
one table these lie between pages of output, and each would be a seek; here they are next to
each other, and ten GiB of output cost a start nothing. A watcher merges two short ranges.

Why pages of 8 KiB: a commit of one small fact writes 4 or 5 pages to the write-ahead log, so
small pages are good; a report of 64 KiB takes a chain of pages, so large ones are. From 4 to 8
KiB output gained more than half, and from 8 to 32 a fifth, while each doubling doubles what a
small commit writes.

Small columns come before the record, and the index of reports has the sizes, so that a tally
of a job reads no output.
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
BUSY_MILLIS: Final = 5_000  # how long to wait for another process, such as a backup

_CHECKSUMS: Final = "cksmvfs"  # the name under which SQLite's extension offers page checksums
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
    """The name of the VFS that keeps page checksums; None: this platform's apsw has none."""
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
    """Whether the file is there and a log may be made in it.

    False: it is a log. Raises LogRefused if it is neither, or FileNotFoundError.
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

    `vfs` names another way to the disk than the usual one; such a connection neither makes nor
    checks page checksums.
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
    """Make a log of a file that is not there, or is empty; all of it, or nothing.

    It is made under another name, synced, and only then given its own: so whoever finds a file of
    this name finds a whole log, whenever the power went. What an interrupted make() has left is
    removed. Raises LogRefused if what is beside it belongs to a log that was there before.
    """
    for name in _beside(path):
        if name.is_file() and name.stat().st_size:
            raise LogRefused(
                f"{name} belongs to a log that was at {path} and is gone: bring that back, or move "
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
    """Make an empty file a log; the connection may write. use_wal() comes next."""
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
    """Have the log's write-ahead log, from now on and for every connection."""
    connection.execute("PRAGMA journal_mode=WAL")


def touch(path: Path) -> None:
    """Make sure that the file is there, for its owner alone, and synced; its folder must exist."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        os.fchmod(descriptor, 0o600)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    sync(path.parent)


def _beside(path: Path) -> tuple[Path, Path]:
    """What SQLite keeps beside a database and would believe."""
    return path.with_name(f"{path.name}-wal"), path.with_name(f"{path.name}-journal")
