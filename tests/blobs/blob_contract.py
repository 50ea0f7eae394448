"""The contract suite of blob stores. The tests of a blob store subclass it and override make().

class TestMyBlobs(BlobStoreContract):
    def make(self, folder: Path) -> BlobStore: ...
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import aclosing, closing
from functools import wraps
from hashlib import sha256
from pathlib import Path
from random import Random
from typing import TypeVar

import pytest

from airunner.blobs.blobs import BlobMissing, BlobStore
from airunner.model.artifacts import Artifact
from airunner.model.errors import InvalidRequest
from airunner.model.jobs import JobId
from airunner.model.limits import ARTIFACT_CHUNK_BYTES
from tests.promises import holds

ONE = JobId("0198a0b1-0000-7000-8000-000000000001")
TWO = JobId("0198a0b1-0000-7000-8000-000000000002")
LARGE = Random(1).randbytes(2 * ARTIFACT_CHUNK_BYTES + 9)


def artifact(data: bytes, path: str = "out/file") -> Artifact:
    return Artifact(path=path, size=len(data), sha256=sha256(data).hexdigest())


async def put(blobs: BlobStore, id: JobId, data: bytes, attempt: int = 1) -> bool:
    """Upload a blob in pieces; returns whether it is new."""
    with closing(await blobs.create(id, attempt, artifact(data))) as writer:
        for at in range(0, len(data), 100_000):
            await writer.write(data[at : at + 100_000])
        return await writer.commit()


async def get(blobs: BlobStore, id: JobId, data: bytes, attempt: int = 1, offset: int = 0) -> bytes:
    async with aclosing(blobs.read(id, attempt, artifact(data), offset)) as chunks:
        return b"".join([chunk async for chunk in chunks])


async def is_there(blobs: BlobStore, id: JobId, data: bytes, attempt: int = 1) -> bool:
    try:
        return await get(blobs, id, data, attempt) == data
    except BlobMissing:
        return False


C = TypeVar("C", bound="BlobStoreContract")


def on_a_loop(test: Callable[[C, BlobStore], Awaitable[None]]) -> Callable[[C, Path], None]:
    """Run a test of the contract with a fresh blob store."""

    @wraps(test)
    def run(contract: C, tmp_path: Path) -> None:
        async def main() -> None:
            blobs = contract.make(tmp_path / "blobs")
            try:
                await test(contract, blobs)
            finally:
                await blobs.close()

        asyncio.run(main())

    del run.__wrapped__  # or pytest would ask for the test's own arguments
    return run


class BlobStoreContract:
    def make(self, folder: Path) -> BlobStore:
        raise NotImplementedError

    @on_a_loop
    async def test_what_was_kept_is_read_as_it_came_from_any_offset(self, blobs: BlobStore) -> None:
        for data in (b"", b"x", LARGE):
            assert await put(blobs, ONE, data)
            assert await get(blobs, ONE, data) == data
        for offset in (1, ARTIFACT_CHUNK_BYTES, len(LARGE) - 1, len(LARGE)):
            assert await get(blobs, ONE, LARGE, offset=offset) == LARGE[offset:]

    @on_a_loop
    async def test_it_is_read_a_chunk_at_a_time(self, blobs: BlobStore) -> None:
        await put(blobs, ONE, LARGE)
        async with aclosing(blobs.read(ONE, 1, artifact(LARGE))) as chunks:
            sizes = [len(chunk) async for chunk in chunks]
        assert sizes == [ARTIFACT_CHUNK_BYTES, ARTIFACT_CHUNK_BYTES, 9]

    @holds("results/acknowledged-artifact-survives")
    @on_a_loop
    async def test_nobody_sees_a_file_before_it_is_whole(self, blobs: BlobStore) -> None:
        with closing(await blobs.create(ONE, 1, artifact(LARGE))) as writer:
            await writer.write(LARGE)
            assert not await is_there(blobs, ONE, LARGE)
        assert not await is_there(blobs, ONE, LARGE)

    @holds("results/acknowledged-artifact-survives")
    @on_a_loop
    async def test_bytes_that_are_not_those_that_were_said_are_not_kept(
        self, blobs: BlobStore
    ) -> None:
        writer = await blobs.create(ONE, 1, artifact(b"abc"))
        with pytest.raises(InvalidRequest, match="out/file has more than the 3 bytes said"):
            await writer.write(b"abcd")
        writer.close()
        with closing(await blobs.create(ONE, 1, artifact(b"abc"))) as writer:
            await writer.write(b"ab")
            with pytest.raises(InvalidRequest, match="out/file ends after 2 of 3 bytes"):
                await writer.commit()
        with closing(await blobs.create(ONE, 1, artifact(b"abc"))) as writer:
            await writer.write(b"abd")
            with pytest.raises(InvalidRequest, match="out/file have another digest"):
                await writer.commit()
        assert not await is_there(blobs, ONE, b"abc")

    @on_a_loop
    async def test_the_same_file_twice_is_there_once(self, blobs: BlobStore) -> None:
        assert await put(blobs, ONE, b"same")
        assert not await put(blobs, ONE, b"same")
        assert await put(blobs, ONE, b"same", attempt=2)
        blobs.delete(ONE, 1, artifact(b"same"))
        await self.settle(blobs)
        assert not await is_there(blobs, ONE, b"same")
        assert await is_there(blobs, ONE, b"same", attempt=2)

    @on_a_loop
    async def test_what_is_dropped_is_gone_and_nothing_else(self, blobs: BlobStore) -> None:
        for id in (ONE, TWO):
            for attempt in (1, 2):
                await put(blobs, id, b"it", attempt)
        blobs.delete_job(ONE, 1)
        blobs.delete_job(TWO)
        blobs.delete_job(JobId("0198a0b1-0000-7000-8000-000000000009"))
        await self.settle(blobs)
        assert [await is_there(blobs, ONE, b"it", attempt) for attempt in (1, 2)] == [False, True]
        assert [await is_there(blobs, TWO, b"it", attempt) for attempt in (1, 2)] == [False, False]
        await put(blobs, TWO, b"again")
        assert await is_there(blobs, TWO, b"again")

    @on_a_loop
    async def test_a_sweep_leaves_what_is_known_and_counts_what_is_missing(
        self, blobs: BlobStore
    ) -> None:
        for attempt in (1, 2):
            await put(blobs, ONE, b"it", attempt)
        await put(blobs, TWO, b"it")
        missing = JobId("0198a0b1-0000-7000-8000-000000000009")
        assert await blobs.collect_garbage({ONE: 2, missing: 1}) == 1
        assert [await is_there(blobs, ONE, b"it", attempt) for attempt in (1, 2)] == [False, True]
        assert not await is_there(blobs, TWO, b"it")

    async def settle(self, blobs: BlobStore) -> None:
        """Wait for the deletions in the background: an upload is committed after all of them."""
        await put(blobs, JobId("0198a0b1-0000-7000-8000-00000000000f"), b"behind")
