"""A server's storage by its URLs: which back end opens, what it says of itself, and how it fails."""

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import pytest

from airunner.blobs.blobs import BlobStore
from airunner.blobs.folder import FolderBlobs
from airunner.blobs.memory import MemoryBlobs
from airunner.log.log import Fsync, LogFailed
from airunner.log.memory import MemoryLog
from airunner.log.sqlite.log import SqliteLog
from airunner.log.storage import (
    BLOB_STORES,
    LOGS,
    LogBackend,
    OpenLog,
    StorageOptions,
    StorageRefused,
    backend_of,
    open_storage,
    sqlite_file,
)
from airunner.model.errors import LimitReached
from airunner.model.jobs import JobId
from airunner.store.retention import IN_MEMORY, ON_DISK, Retention
from tests.log.log_contract import Writer, output

TIB: Final = 1 << 40


def sqlite(folder: Path, **options: object) -> StorageOptions:
    return StorageOptions(log=f"sqlite:{folder / 'jobs.db'}", **options)  # type: ignore[arg-type]  # as a caller names them


def test_memory_holds_a_log_and_blobs_for_as_long_as_it_is_open() -> None:
    async def story() -> None:
        async with await open_storage(StorageOptions(log="memory"), IN_MEMORY) as storage:
            assert isinstance(storage.log, MemoryLog)
            assert isinstance(storage.blobs, MemoryBlobs)
            assert (storage.location, storage.notes) == ("memory", ())
            assert storage.fields == {"store": "memory"}
            assert storage.name == storage.log.name
            storage.room()

    asyncio.run(story())


def test_a_sqlite_url_names_a_file_and_its_blobs_lie_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "jobs.db"

    async def story() -> None:
        async with await open_storage(sqlite(tmp_path), ON_DISK) as storage:
            assert isinstance(storage.log, SqliteLog)
            assert isinstance(storage.blobs, FolderBlobs)
            assert storage.blobs.folder == tmp_path / "jobs.db-artifacts"
            assert storage.fields == {"store": "sqlite", "path": str(path), "fsync": "full"}
            assert (storage.location, storage.name) == (str(path), storage.log.name)
            await Writer(storage.log).run(JobId("one"), output("a"))

    asyncio.run(story())
    assert not path.with_name("jobs.db-wal").exists()  # it was closed


def test_blobs_lie_where_their_own_url_says(tmp_path: Path) -> None:
    async def story() -> None:
        options = sqlite(tmp_path, blobs=f"file:{tmp_path / 'elsewhere'}")
        async with await open_storage(options, ON_DISK) as storage:
            assert isinstance(storage.blobs, FolderBlobs)
            assert storage.blobs.folder == tmp_path / "elsewhere"

    asyncio.run(story())


def test_a_disk_short_of_room_is_seen_before_the_log_is_full(tmp_path: Path) -> None:
    async def story() -> None:
        options = sqlite(tmp_path, free_bytes_min=1_000_000 * TIB, fsync=Fsync.NORMAL)
        async with await open_storage(options, ON_DISK) as storage:
            with pytest.raises(LimitReached):
                storage.room()

    asyncio.run(story())


def test_each_kind_of_log_has_bounds_of_its_own() -> None:
    assert backend_of("memory").retention == IN_MEMORY
    assert backend_of("sqlite:jobs.db").retention == ON_DISK


@pytest.mark.parametrize("url", ["", "jobs.db", "sqlite", "sqlite:", "memory:1", "nats://one/jobs"])
def test_a_url_that_no_back_end_has_is_refused(url: str) -> None:
    with pytest.raises(StorageRefused, match=r"no store '.*'; use memory or sqlite:PATH"):
        backend_of(url)
    with pytest.raises(StorageRefused):
        asyncio.run(open_storage(StorageOptions(log=url), IN_MEMORY))


def test_a_log_that_cannot_be_opened_is_refused_in_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "jobs.db").mkdir()
    with pytest.raises(StorageRefused, match=r"cannot open the log .*jobs\.db: Is a directory"):
        asyncio.run(open_storage(sqlite(tmp_path), ON_DISK))


def test_a_folder_that_can_hold_no_blobs_is_refused_and_the_log_is_closed(tmp_path: Path) -> None:
    (tmp_path / "jobs.db-artifacts").write_text("a letter")
    with pytest.raises(StorageRefused, match=r"cannot keep artifacts in .*jobs\.db-artifacts: "):
        asyncio.run(open_storage(sqlite(tmp_path), ON_DISK))
    with pytest.raises(StorageRefused, match="no blob store 's3://bucket'"):
        asyncio.run(open_storage(sqlite(tmp_path, blobs="s3://bucket"), ON_DISK))

    async def read() -> None:
        await SqliteLog.open(tmp_path / "jobs.db").close()

    asyncio.run(read())  # nobody has it


class Remote:
    """A back end as another module would add it: a log somewhere else, and blobs of its own."""

    def __init__(self, *, fails: bool = False) -> None:
        self.fails = fails
        self.closed = 0
        self.blobs = MemoryBlobs()

    def logs(self) -> Mapping[str, LogBackend]:
        backend = LogBackend(
            form="remote://HOST",
            located=True,
            syncs=False,
            retention=ON_DISK,
            open=self.open,
        )
        return {**LOGS, "remote": backend}

    async def open(self, options: StorageOptions) -> OpenLog:
        if self.fails:
            raise LogFailed(f"{options.log} does not answer")
        return OpenLog(
            log=MemoryLog(),
            close=self.close,
            location=options.log,
            fields={"store": "remote"},
            blobs="remote-blobs",
            notes=("it was far away",),
        )

    async def open_blobs(self, _options: StorageOptions, url: str, _bounds: Retention) -> BlobStore:
        assert url == "remote-blobs"
        return self.blobs

    async def close(self) -> None:
        self.closed += 1


def test_a_new_back_end_is_an_entry_in_a_table() -> None:
    async def story(remote: Remote) -> None:
        options = StorageOptions(log="remote://host")
        storage = await open_storage(
            options,
            ON_DISK,
            logs=remote.logs(),
            blob_stores={**BLOB_STORES, "remote-blobs": remote.open_blobs},
        )
        assert storage.blobs is remote.blobs
        assert (storage.location, storage.notes) == ("remote://host", ("it was far away",))
        await storage.close()
        assert remote.closed == 1

    asyncio.run(story(Remote()))
    with pytest.raises(StorageRefused, match="remote://host does not answer"):
        asyncio.run(story(Remote(fails=True)))


def test_a_log_is_closed_even_if_its_blobs_cannot_be() -> None:
    class Stuck(MemoryBlobs):
        async def close(self) -> None:
            raise OSError("stuck")

    async def story(remote: Remote) -> None:
        remote.blobs = Stuck()
        storage = await open_storage(
            StorageOptions(log="remote://host"),
            ON_DISK,
            logs=remote.logs(),
            blob_stores={"remote-blobs": remote.open_blobs},
        )
        with pytest.raises(OSError, match="stuck"):
            await storage.close()
        assert remote.closed == 1

    asyncio.run(story(Remote()))


def test_a_log_command_reads_a_path_or_a_sqlite_url_and_no_other(tmp_path: Path) -> None:
    assert sqlite_file("jobs.db") == Path("jobs.db")
    assert sqlite_file("sqlite:jobs.db") == Path("jobs.db")
    (odd := tmp_path / "odd:").mkdir()
    (odd / "jobs.db").touch()
    assert sqlite_file(f"{odd}//jobs.db") == odd / "jobs.db"
    for url in ("memory", "nats://one/jobs", "s3://bucket"):
        with pytest.raises(StorageRefused, match="is no SQLite file: `airunner log` reads"):
            sqlite_file(url)
