"""A server's storage: its log and its blob store, each opened by a URL.

    memory        a log or a blob store that ends with its process
    sqlite:FILE   a log in a SQLite file; its blobs lie in the folder FILE-artifacts
    file:FOLDER   a blob store in a folder

Callers name URLs and get a Log and a BlobStore. They know no back end, no library and no library's
errors. A new back end is one entry of LOGS or BLOB_STORES.

This module lies in log/ because log/ is the lowest folder that knows both interfaces: blob stores are
below it, and the server, the bench and the command line above.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from airunner.blobs.blobs import BlobStore
from airunner.blobs.folder import FolderBlobs, blobs_folder
from airunner.blobs.memory import MemoryBlobs
from airunner.log.disk_space import FreeSpaceCheck
from airunner.log.log import Fsync, Log, LogDamaged, LogFailed, LogRefused
from airunner.log.memory import MemoryLog
from airunner.log.sqlite.log import SqliteLog
from airunner.store.retention import IN_MEMORY, ON_DISK, Retention

MEMORY: Final = "memory"
SQLITE: Final = "sqlite"
_FOLDER: Final = "file"


class StorageRefused(Exception):
    """The storage cannot be opened; one sentence that says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StorageOptions:
    """The storage that a server is told to use."""

    log: str  # the URL of the log
    blobs: str = ""  # the URL of the blob store; "": the one that belongs to the log
    fsync: Fsync = Fsync.FULL  # for back ends on a disk of their own
    free_bytes_min: int = 0  # bytes that jobs and output must leave free on that disk


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenLog:
    """An open log, and the properties that only its back end knows."""

    log: Log
    close: Callable[[], Awaitable[None]]
    location: str  # the log's name for people, such as the path of its file
    fields: Mapping[str, str]  # of the server's log line about its storage
    blobs: str  # the URL of the blob store that belongs to the log
    room: Callable[[], None] = lambda: None  # raises LimitReached without room for jobs and output
    notes: tuple[str, ...] = ()  # a sentence for each remarkable finding of the opening


@dataclass(frozen=True, slots=True, kw_only=True)
class LogBackend:
    """A kind of log, as LOGS lists it."""

    form: str  # of its URLs, for messages
    located: bool  # true if more than the scheme is needed to find a log
    syncs: bool  # true if StorageOptions.fsync has an effect
    retention: Retention  # the default bounds of such a log
    open: Callable[[StorageOptions], Awaitable[OpenLog]]  # raises as open_storage() catches


BlobOpener = Callable[[StorageOptions, str, Retention], Awaitable[BlobStore]]  # str: the URL


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenStorage:
    """A server's open log and blob store; an async context manager that closes both."""

    log: Log
    blobs: BlobStore
    location: str
    fields: Mapping[str, str]
    room: Callable[[], None]
    notes: tuple[str, ...]
    _close_log: Callable[[], Awaitable[None]] = field(repr=False)

    @property
    def name(self) -> str:
        """The name of the log."""
        return self.log.name

    async def close(self) -> None:
        """Closes the blob store and then the log, after all given data has been stored.

        Raises LogFailed, LogDamaged.
        """
        try:
            await self.blobs.close()
        finally:
            await self._close_log()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()


async def _open_memory_log(_options: StorageOptions) -> OpenLog:
    async def close() -> None:
        pass

    fields = {"store": MEMORY}
    return OpenLog(log=MemoryLog(), close=close, location=MEMORY, fields=fields, blobs=MEMORY)


async def _open_sqlite_log(options: StorageOptions) -> OpenLog:
    return _sqlite_log(options, Path(location_of(options.log)))


def _sqlite_log(options: StorageOptions, path: Path) -> OpenLog:
    """The open log in a file. It takes as long as the disk does; a server does nothing else then."""
    log = SqliteLog.open(path, fsync=options.fsync)
    return OpenLog(
        log=log,
        close=log.close,
        location=str(path),
        fields={"store": SQLITE, "path": str(path), "fsync": options.fsync.value},
        blobs=f"{_FOLDER}:{blobs_folder(path.absolute())}",
        room=FreeSpaceCheck(path.absolute().parent, options.free_bytes_min).check,
        notes=log.notes,
    )


async def _open_memory_blobs(
    _options: StorageOptions, _url: str, retention: Retention
) -> BlobStore:
    return MemoryBlobs(retention.artifact_bytes_total)


async def _open_folder_blobs(options: StorageOptions, url: str, _retention: Retention) -> BlobStore:
    folder = Path(location_of(url))
    room = FreeSpaceCheck(folder, options.free_bytes_min)
    try:
        return FolderBlobs.open(folder, sync=options.fsync is Fsync.FULL, check_space=room.check)
    except OSError as error:
        raise StorageRefused(f"cannot keep artifacts in {folder}: {error.strerror}") from None


LOGS: Final[Mapping[str, LogBackend]] = {
    MEMORY: LogBackend(
        form="memory",
        located=False,
        syncs=False,
        retention=IN_MEMORY,
        open=_open_memory_log,
    ),
    SQLITE: LogBackend(
        form="sqlite:PATH",
        located=True,
        syncs=True,
        retention=ON_DISK,
        open=_open_sqlite_log,
    ),
}
BLOB_STORES: Final[Mapping[str, BlobOpener]] = {
    MEMORY: _open_memory_blobs,
    _FOLDER: _open_folder_blobs,
}


def backend_of(url: str, logs: Mapping[str, LogBackend] = LOGS) -> LogBackend:
    """The back end of a log's URL. Raises StorageRefused if no back end has such URLs."""
    backend = logs.get(_scheme(url))
    if backend is None or backend.located != bool(location_of(url)):
        forms = " or ".join(each.form for each in logs.values())
        raise StorageRefused(f"there is no store {url!r}; use {forms}")
    return backend


def location_of(url: str) -> str:
    """The part of a URL behind its scheme."""
    return url.partition(":")[2]


async def open_storage(
    options: StorageOptions,
    retention: Retention,
    *,
    logs: Mapping[str, LogBackend] = LOGS,
    blob_stores: Mapping[str, BlobOpener] = BLOB_STORES,
) -> OpenStorage:
    """Opens the log and the blob store. Raises StorageRefused, and then nothing is open."""
    try:
        opened = await backend_of(options.log, logs).open(options)
    except (LogRefused, LogDamaged, LogFailed) as error:
        raise StorageRefused(str(error)) from error
    try:
        url = options.blobs or opened.blobs
        if (opener := blob_stores.get(_scheme(url))) is None:
            raise StorageRefused(f"there is no blob store {url!r}")
        blobs = await opener(options, url, retention)
    except BaseException:
        await opened.close()
        raise
    return OpenStorage(
        log=opened.log,
        blobs=blobs,
        location=opened.location,
        fields=opened.fields,
        room=opened.room,
        notes=opened.notes,
        _close_log=opened.close,
    )


def sqlite_file(text: str) -> Path:
    """The SQLite file that a path or `sqlite:FILE` names.

    Raises StorageRefused for the URL of another kind of log.
    """
    scheme = _scheme(text)
    if scheme == SQLITE:
        return Path(location_of(text)).expanduser()
    if (scheme in LOGS or "://" in text) and not Path(text).exists():
        raise StorageRefused(
            f"{text} is no SQLite file: `airunner log` reads the file of a server with "
            "--store sqlite:FILE, and no other kind of store"
        )
    return Path(text)


def _scheme(url: str) -> str:
    return url.partition(":")[0]
