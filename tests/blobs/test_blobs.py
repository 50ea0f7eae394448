"""The blob stores in a folder and in memory: the contract suite, and the tests of each."""

import asyncio
import os
import stat
from contextlib import closing
from pathlib import Path

import pytest

from airunner.blobs.blobs import BlobCorrupted, BlobStore
from airunner.blobs.folder import (
    PARTIAL,
    TRASH,
    FolderBlobs,
    blob_path,
    blobs_folder,
    disk_full_as_refusal,
)
from airunner.blobs.memory import MemoryBlobs
from airunner.model.errors import LimitReached
from tests.blobs.blob_contract import (
    LARGE,
    ONE,
    TWO,
    BlobStoreContract,
    artifact,
    get,
    is_there,
    put,
)
from tests.promises import holds, promise


class TestMemoryBlobs(BlobStoreContract):
    def make(self, folder: Path) -> BlobStore:
        return MemoryBlobs()


class TestFolderBlobs(BlobStoreContract):
    def make(self, folder: Path) -> BlobStore:
        return FolderBlobs.open(folder)


class TestFolderBlobsWithoutSync(BlobStoreContract):
    def make(self, folder: Path) -> BlobStore:
        return FolderBlobs.open(folder, sync=False)


@pytest.mark.parametrize("link", ["parent", "folder"])
def test_a_blob_store_opens_in_a_folder_behind_a_link(tmp_path: Path, link: str) -> None:
    (disk := tmp_path / "disk").mkdir()
    (tmp_path / "link").symlink_to(disk)
    folder = tmp_path / "link" / "blobs" if link == "parent" else tmp_path / "link"

    async def main() -> None:
        blobs = FolderBlobs.open(folder)
        try:
            await put(blobs, ONE, b"1234")
            assert await get(blobs, ONE, b"1234") == b"1234"
        finally:
            await blobs.close()

    asyncio.run(main())
    found = {stat.S_IMODE(each.stat().st_mode) for each in (folder, folder / PARTIAL)}
    assert found == {0o700}


def test_a_contract_says_how_its_blob_store_is_made(tmp_path: Path) -> None:
    with pytest.raises(NotImplementedError):
        BlobStoreContract().make(tmp_path)


@holds("results/transfers-are-bounded")
def test_memory_is_bounded_with_what_is_on_its_way() -> None:
    async def main() -> None:
        blobs = MemoryBlobs(10)
        await put(blobs, ONE, b"1234")
        coming = await blobs.create(ONE, 1, artifact(b"12345"))
        with pytest.raises(LimitReached, match=r"room for 10 bytes .* 9 are taken"):
            await blobs.create(TWO, 1, artifact(b"12"))
        coming.close()
        assert blobs.size == 4
        await put(blobs, TWO, b"123456")
        assert blobs.size == 10
        blobs.delete_job(ONE)
        assert blobs.size == 6
        await put(blobs, TWO, b"1")
        await put(blobs, TWO, b"1")
        assert blobs.size == 7
        blobs.delete(TWO, 1, artifact(b"1"))
        assert blobs.size == 6

    asyncio.run(main())


def names(folder: Path) -> set[str]:
    """All files in a folder, as paths relative to it."""
    return {str(each.relative_to(folder)) for each in folder.rglob("*") if each.is_file()}


def test_files_are_their_owners_alone(tmp_path: Path) -> None:
    async def main() -> None:
        blobs = FolderBlobs.open(blobs_folder(tmp_path / "jobs.db"))
        await put(blobs, ONE, b"secret")
        await blobs.close()

    asyncio.run(main())
    folder = tmp_path / "jobs.db-artifacts"
    place = blob_path(folder, ONE, 1, artifact(b"secret"))
    assert place.read_bytes() == b"secret"
    assert stat.S_IMODE(place.stat().st_mode) == 0o600
    for each in (folder, folder / PARTIAL, folder / TRASH, place.parent, place.parent.parent):
        assert stat.S_IMODE(each.stat().st_mode) == 0o700


@holds("results/acknowledged-artifact-survives")
def test_a_file_is_synced_before_it_has_its_name_and_its_name_before_it_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a power cut each name that is left belongs to a complete file."""
    folder = tmp_path / "blobs"
    place = blob_path(folder, ONE, 1, artifact(LARGE))
    synced: list[
        tuple[Path, bool]
    ] = []  # the synced path, and whether the blob had its name by then
    sync = os.fsync

    def watched(file: int) -> None:
        synced.append((Path(f"/proc/self/fd/{file}").readlink(), place.exists()))
        sync(file)

    async def main() -> None:
        blobs = FolderBlobs.open(folder)
        monkeypatch.setattr(os, "fsync", watched)
        await put(blobs, ONE, LARGE)
        (partial, named), *above, last = synced
        assert (partial.parent, named) == (folder / PARTIAL, False)
        assert above == [(folder, False), (folder / ONE, False)]
        assert last == (place.parent, True)
        await blobs.close()
        lazy = FolderBlobs.open(tmp_path / "lazy", sync=False)
        synced.clear()
        await put(lazy, ONE, LARGE)
        await lazy.close()
        assert not synced

    asyncio.run(main())


@holds("results/bytes-before-facts")
def test_what_goes_leaves_no_folder_behind(tmp_path: Path) -> None:
    async def main() -> None:
        blobs = FolderBlobs.open(tmp_path / "blobs")
        await put(blobs, ONE, b"one")
        blobs.delete(ONE, 1, artifact(b"one"))
        await put(blobs, TWO, b"two", 3)
        blobs.delete_job(TWO, 3)
        with closing(await blobs.create(ONE, 1, artifact(LARGE))) as writer:
            await writer.write(LARGE[:9])
        await blobs.wait_for_removals()
        await blobs.close()

    asyncio.run(main())
    assert {each.name for each in (tmp_path / "blobs").rglob("*")} == {PARTIAL, TRASH}


def test_a_start_removes_what_was_on_its_way_and_what_no_job_has(tmp_path: Path) -> None:
    folder = tmp_path / "blobs"

    async def first() -> None:
        blobs = FolderBlobs.open(folder)
        await put(blobs, ONE, b"one")
        await put(blobs, TWO, b"two")
        writer = await blobs.create(ONE, 1, artifact(LARGE))
        await writer.write(LARGE)
        await blobs.close()

    async def second() -> None:
        blobs = FolderBlobs.open(folder)
        assert await blobs.collect_garbage({ONE: 1}) == 0
        assert await is_there(blobs, ONE, b"one")
        await blobs.wait_for_removals()
        await blobs.close()

    asyncio.run(first())
    (folder / "notes.txt").write_text("not ours")
    asyncio.run(second())
    assert names(folder) == {
        "notes.txt", str(blob_path(folder, ONE, 1, artifact(b"one")).relative_to(folder)),
    }  # fmt: skip


@holds("results/bytes-before-facts")
def test_what_a_server_did_not_get_to_remove_the_next_one_does(tmp_path: Path) -> None:
    folder = tmp_path / "blobs"

    async def first() -> None:
        blobs = FolderBlobs.open(folder)
        for number in range(200):
            await put(blobs, ONE, b"%d" % number)
        blobs.delete_job(ONE)
        await blobs.close()
        assert not (folder / ONE).exists()

    async def second() -> None:
        blobs = FolderBlobs.open(folder)
        await blobs.collect_garbage({})
        await blobs.wait_for_removals()
        await blobs.close()

    asyncio.run(first())
    asyncio.run(second())
    assert names(folder) == set()


@promise(
    "results/artifact-or-data-loss",
    "A read of an artifact returns the stored bytes, or DATA_LOSS. The server's log names the "
    "file.",
)
def test_a_file_that_is_not_what_was_kept_is_not_passed_on_as_if_it_were(tmp_path: Path) -> None:
    async def main() -> None:
        blobs = FolderBlobs.open(tmp_path / "blobs")
        await put(blobs, ONE, LARGE)
        place = blob_path(blobs.folder, ONE, 1, artifact(LARGE))
        changed = bytearray(LARGE)
        changed[-1] ^= 1
        place.write_bytes(changed)
        with pytest.raises(BlobCorrupted, match="has another digest"):
            await get(blobs, ONE, LARGE)
        place.write_bytes(LARGE[:-1])
        with pytest.raises(
            BlobCorrupted, match=f"has {len(LARGE) - 1} bytes instead of {len(LARGE)}"
        ):
            await get(blobs, ONE, LARGE)
        place.unlink()
        place.mkdir()
        with pytest.raises(BlobCorrupted):
            await get(blobs, ONE, LARGE)
        place.rmdir()
        place.symlink_to("/etc/passwd")
        with pytest.raises(BlobCorrupted, match="cannot be read"):
            await get(blobs, ONE, LARGE)
        await blobs.close()

    asyncio.run(main())


@holds("results/transfers-are-bounded")
def test_room_is_asked_for_with_all_that_is_still_to_come(tmp_path: Path) -> None:
    asked: list[int] = []

    async def main() -> None:
        blobs = FolderBlobs.open(tmp_path / "blobs", check_space=asked.append)
        with closing(await blobs.create(ONE, 1, artifact(b"x" * 100))) as writer:
            await writer.write(b"x" * 60)
            with closing(await blobs.create(TWO, 1, artifact(b"y" * 7))):
                pass
        await put(blobs, ONE, b"z")
        await blobs.close()

    asyncio.run(main())
    assert asked == [100, 47, 1]


def test_a_disk_without_room_is_a_limit_and_one_that_fails_is_not() -> None:
    full = Path("/dev/full")
    with pytest.raises(LimitReached, match="no room"), disk_full_as_refusal():
        full.write_bytes(b"x")
    with pytest.raises(NotADirectoryError), disk_full_as_refusal():
        (full / "nothing").write_bytes(b"x")


@holds("results/acknowledged-artifact-survives")
def test_one_who_goes_away_leaves_nothing_whenever_that_is(tmp_path: Path) -> None:
    async def main() -> None:
        blobs = FolderBlobs.open(tmp_path / "blobs")
        for turns in range(12):
            task = asyncio.get_running_loop().create_task(put(blobs, ONE, LARGE))
            for _ in range(turns):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        await blobs.close()
        assert not os.listdir(tmp_path / "blobs" / PARTIAL)

    asyncio.run(main())
