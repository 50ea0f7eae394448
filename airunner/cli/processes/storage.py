"""The storage of a server: the log and the blob store that --store and --fsync name."""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import apsw

from airunner.blobs.blobs import BlobStore
from airunner.blobs.folder import FolderBlobs, blobs_folder
from airunner.blobs.memory import MemoryBlobs
from airunner.cli.exit_codes import USAGE, CommandFailed, innermost
from airunner.log.disk_space import FreeSpaceCheck
from airunner.log.log import Log, LogDamaged, LogRefused
from airunner.log.memory import MemoryLog
from airunner.log.sqlite.log import SqliteLog
from airunner.log.sqlite.writer import Fsync
from airunner.store.retention import Retention

MEMORY: Final = "memory"
_SQLITE: Final = "sqlite:"


class LogFailed(Exception):
    """A write to the log has failed, so the server must stop. The message has the cause."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StorageOptions:
    """The storage that the command line asks for."""

    path: Path | None  # of the SQLite file; None: memory
    fsync: Fsync = Fsync.FULL
    free_bytes_min: int = 0

    def said(self) -> dict[str, str]:
        """The options as fields of a line in the server's journal."""
        if self.path is None:
            return {"store": MEMORY}
        return {"store": "sqlite", "path": str(self.path), "fsync": self.fsync.value}


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenStorage:
    """An open log and its blob store."""

    log: Log
    blobs: BlobStore
    room: Callable[[], None]  # raises LimitReached if the disk has no room for jobs and output
    notes: tuple[str, ...] = ()  # findings in the file that the operator should know


def sqlite_path(store: str) -> Path | None:
    """The file that --store names, or None for memory. Raises CommandFailed for anything else."""
    if store == MEMORY:
        return None
    path = store.removeprefix(_SQLITE)
    if path == store or not path:
        raise CommandFailed(
            f"--store: there is no store {store!r}; use memory or sqlite:PATH",
            USAGE,
        )
    return Path(path).expanduser()


def fsync_named(name: str | None, path: Path | None) -> Fsync:
    """The sync mode that --fsync names.

    Raises CommandFailed if the mode does not exist, or if the store is in memory.
    """
    if name is None:
        return Fsync.FULL
    if path is None:
        raise CommandFailed(
            "--fsync: memory has nothing to sync; leave it out, or use --store sqlite:PATH", USAGE
        )
    if name not in list(Fsync):
        raise CommandFailed(f"--fsync: {name!r} is not {' or '.join(Fsync)}", USAGE)
    return Fsync(name)


@asynccontextmanager
async def open_storage(store: StorageOptions, retention: Retention) -> AsyncIterator[OpenStorage]:
    """Opens the log and the blob store for a block. At its end all writes are done.

    Raises CommandFailed if either cannot be opened.
    """
    if store.path is None:
        blobs = MemoryBlobs(retention.artifact_bytes_total)
        yield OpenStorage(log=MemoryLog(), blobs=blobs, room=lambda: None)
        return
    log = _sqlite(store.path, store.fsync)
    try:
        room = FreeSpaceCheck(store.path.absolute().parent, store.free_bytes_min)
        files = _folder(store)
        try:
            yield OpenStorage(log=log, blobs=files, room=room.check, notes=log.notes)
        finally:
            await files.close()
    finally:
        with log_failures(store):
            await log.close()


@contextmanager
def log_failures(store: StorageOptions) -> Iterator[None]:
    """Turns the errors of a log whose disk fails into LogFailed."""
    try:
        yield
    except* (OSError, apsw.Error, LogDamaged) as failed:
        error = innermost(failed)
        why = str(error) or type(error).__name__
        raise LogFailed(f"the log {store.path} failed, so the server stops: {why}") from error


def _folder(store: StorageOptions) -> FolderBlobs:
    assert store.path
    folder = blobs_folder(store.path.absolute())
    room = FreeSpaceCheck(folder, store.free_bytes_min)
    try:
        return FolderBlobs.open(folder, sync=store.fsync is Fsync.FULL, check_space=room.check)
    except OSError as error:
        raise CommandFailed(f"cannot keep artifacts in {folder}: {error.strerror}") from None


def _sqlite(path: Path, fsync: Fsync) -> SqliteLog:
    try:
        return SqliteLog.open(path, fsync=fsync)
    except (LogRefused, LogDamaged) as refused:
        raise CommandFailed(str(refused)) from None
    except OSError as error:
        raise CommandFailed(f"cannot open the log {path}: {error.strerror}") from None
    except apsw.Error as error:
        raise CommandFailed(f"cannot open the log {path}: {error}") from None
