"""Errors of SQLite and of the disk as errors of the log (log.py): damage, and every other failure."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import apsw

from airunner.log.log import LogDamaged, LogFailed
from airunner.log.sqlite.rows import DamagedRow
from airunner.model.jobs import JobId

_DISK_GONE: Final = (errno.EIO, errno.ENXIO, errno.ENODEV, errno.EROFS, errno.ESTALE)


def is_damage(error: Exception) -> bool:
    """True if the error of a connection means that the file differs from the written data."""
    if isinstance(error, apsw.IOError):
        return extended(error) in (apsw.SQLITE_IOERR_DATA, apsw.SQLITE_IOERR_CORRUPTFS)
    return isinstance(error, apsw.CorruptError | apsw.NotADBError | UnicodeDecodeError | DamagedRow)


def extended(error: apsw.Error) -> int:
    """SQLite's extended result code, which apsw attaches to its errors; 0: the error has none."""
    return int(getattr(error, "extendedresult", 0))


@contextmanager
def reported_as_damage(path: Path, doing: str) -> Iterator[None]:
    """Raises LogDamaged for damage found in the block; says where, during which work, and the remedy.

    SQLite reports a disk that is gone as an unreadable sector or as a malformed file. That is no
    damage, and raises LogFailed: the events are whole once the disk is back.
    """
    try:
        yield
    except (apsw.Error, UnicodeDecodeError, DamagedRow) as error:
        if not is_damage(error):
            raise
        if _disk_fails(path):
            raise LogFailed(f"{path}: its disk reports errors, met while {doing}") from error
        why = str(error) if isinstance(error, DamagedRow) else f"SQLite reports {error}"
        raise LogDamaged(f"{path}: {why}, found while {doing}: {_remedy(path)}") from error


@contextmanager
def reported_as_failure(doing: str = "") -> Iterator[None]:
    """Raises LogFailed for each error of SQLite or of the disk in the block; `doing` names the work."""
    try:
        yield
    except apsw.FullError as error:
        raise LogFailed(_failure(doing, "the disk is full: free space on it")) from error
    except apsw.Error as error:
        raise LogFailed(_failure(doing, f"SQLite reports {error}")) from error
    except OSError as error:
        named = error.filename if error.filename and not doing else ""
        raise LogFailed(_failure(doing or str(named), error.strerror or str(error))) from error


def missing_events(path: Path, id: JobId, first: int, last: int) -> str:
    """The message for events that are missing although later ones are there."""
    return f"{path}: job {id} has no sequences {first} to {last}, but later ones: {_remedy(path)}"


def _disk_fails(path: Path) -> bool:
    """True if the whole disk of the log fails, as a sync of the log's folder then does.

    The log itself must not be opened here: its close would drop the locks of SQLite.
    """
    try:
        folder = os.open(path.absolute().parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as failure:
        return failure.errno in _DISK_GONE
    return False


def _failure(doing: str, why: str) -> str:
    return f"{doing}: {why}" if doing else why


def _remedy(path: Path) -> str:
    return (
        f"`airunner log check {path}` names all that is damaged; `airunner log salvage {path} OUT` "
        "writes what can still be read to a new log"
    )
