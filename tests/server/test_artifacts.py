"""Artifacts through a real server: brought, listed and fetched by the client that everybody uses."""

import asyncio
import hashlib
import io
import random
from contextlib import aclosing
from pathlib import Path

import pytest

from airunner.artifacts import Artifact
from airunner.errors import (
    InvalidRequest,
    StaleLease,
)
from airunner.jobs import Enqueue, JobId, Millis, Outcome, Reason, TaskToken, WorkerId
from airunner.limits import ARTIFACT_CHUNK_BYTES, MIB
from airunner.log.folder_depot import FolderDepot
from airunner.server.granted import Granted
from airunner.spec import JobSpec
from airunner.wire.shelves import ArtifactsClient
from tests.server.serving import Keys, Served, serving

DONE = Outcome(reason=Reason.EXITED, exit_code=0)
SMALL = b"hello\n"
LARGE = random.Random(1).randbytes(3 * ARTIFACT_CHUNK_BYTES + 17)


def artifact(path: str, data: bytes, *, executable: bool = False) -> Artifact:
    return Artifact(
        path=path,
        size=len(data),
        sha256=hashlib.sha256(data).hexdigest(),
        executable=executable,
    )


async def leased(site: Served) -> Granted:
    """A job that a worker has."""
    await site.broker.enqueue(Enqueue(spec=JobSpec(command="make")))
    (granted,) = await site.broker.lease(["default"], worker=WorkerId("w"), span=Millis(60_000))
    return granted


async def upload(shelves: ArtifactsClient, token: TaskToken, path: str, data: bytes) -> Artifact:
    """Keep a file."""
    it = artifact(path, data)
    await shelves.upload(token, it, io.BytesIO(data))
    return it


async def fetch(shelves: ArtifactsClient, id: JobId, it: Artifact, offset: int = 0) -> bytes:
    async with aclosing(shelves.download(id, it, offset)) as chunks:
        return b"".join([chunk async for chunk in chunks])


def test_what_a_job_leaves_can_be_listed_and_fetched(site_keys: Keys, tmp_path: Path) -> None:
    async def main() -> None:
        async with (
            serving(site_keys, depot=FolderDepot.open(tmp_path / "depot")) as site,
            ArtifactsClient(site.destination()) as shelves,
        ):
            granted = await leased(site)
            large = await upload(shelves, granted.token, "out/large.bin", LARGE)
            small = artifact("a b\u00e9", SMALL, executable=True)
            await shelves.upload(granted.token, small, io.BytesIO(SMALL))
            empty = await upload(shelves, granted.token, "out/empty", b"")
            id = granted.job.id
            assert await shelves.list(id) == [small, empty, large]
            await site.broker.complete(granted.token, DONE)
            assert await shelves.list(id) == [small, empty, large]
            for it, data in ((small, SMALL), (large, LARGE), (empty, b"")):
                assert await fetch(shelves, id, it) == data
            for offset in (1, ARTIFACT_CHUNK_BYTES, len(LARGE) - 1, len(LARGE)):
                assert await fetch(shelves, id, large, offset) == LARGE[offset:]
            job = await site.broker.get(id)
            assert (job.artifacts, job.artifact_bytes) == (3, len(LARGE) + len(SMALL))

    asyncio.run(main())


def test_a_refused_upload_says_why_whenever_it_is_refused(site_keys: Keys) -> None:
    async def main() -> None:
        async with (
            serving(site_keys) as site,
            ArtifactsClient(site.destination()) as shelves,
        ):
            granted = await leased(site)
            data = bytes(8 * MIB)
            for _ in range(20):
                with pytest.raises(StaleLease):
                    await upload(shelves, TaskToken("nobody's"), "x", data)
                it = artifact("x", data[:100])
                with pytest.raises(InvalidRequest, match="100 bytes said"):
                    await shelves.upload(granted.token, it, io.BytesIO(data))
            assert await shelves.list(granted.job.id) == []

    asyncio.run(main())
