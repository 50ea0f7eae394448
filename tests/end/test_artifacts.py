"""Artifacts on a server that is killed: what was answered is there, whole, and nothing else is."""

import asyncio
import io
import signal
import subprocess
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from hashlib import sha256
from pathlib import Path
from random import Random

import grpc
import pytest

from airunner.model.artifacts import Artifact
from airunner.model.jobs import JobId, TaskToken
from airunner.model.limits import ARTIFACT_CHUNK_BYTES
from airunner.wire.client.artifacts_client import ArtifactsClient
from airunner.wire.client.endpoint import Endpoint, dial
from airunner.wire.codec.artifacts import encode_artifact
from airunner.wire.job.v1 import job_pb2 as pb
from airunner.wire.job.v1.job_pb2_grpc import JobArtifactsServiceStub, JobServiceStub
from tests.promises import holds, promise
from tests.server.grpc.server_fixture import until
from tests.support.installation import Site

LARGE = Random(1).randbytes(40 * ARTIFACT_CHUNK_BYTES + 11)


def artifact(path: str, data: bytes) -> Artifact:
    return Artifact(path=path, size=len(data), sha256=sha256(data).hexdigest())


def endpoint(it: Site) -> Endpoint:
    return Endpoint(server=it.address, ca_cert=it.certs / "ca.pem")


@asynccontextmanager
async def leased(it: Site) -> AsyncIterator[tuple[JobId, TaskToken, ArtifactsClient]]:
    """A job that the test has, and a way to leave files of it."""
    id = JobId(await asyncio.to_thread(it.submit, "--", "true"))
    async with dial(endpoint(it)) as channel:
        jobs = JobServiceStub(channel)
        (granted,) = [each async for each in jobs.DequeueJob(pb.DequeueJobRequest())]
    async with ArtifactsClient(endpoint(it)) as shelves:
        yield id, TaskToken(granted.task_token), shelves


def kill(it: Site) -> None:
    assert it.server
    it.server.signal(signal.SIGKILL)
    it.server.wait()


def restart(it: Site) -> None:
    kill(it)
    it.start_server()


def files(it: Site) -> list[Path]:
    """All that is in the folder of artifacts, what is on its way included."""
    return sorted(each for each in (it.folder / "jobs.db-artifacts").rglob("*") if each.is_file())


async def fetch(shelves: ArtifactsClient, id: JobId, it: Artifact) -> bytes:
    async with aclosing(shelves.download(id, it)) as chunks:
        return b"".join([chunk async for chunk in chunks])


@promise(
    "results/acknowledged-artifact-survives",
    "An acknowledged artifact is there, whole, after a crash, and nobody ever sees a partial "
    "artifact. The bytes are synced and named before their fact is in the log, and the answer "
    "comes after that.",
)
def test_what_was_answered_is_there_whole_after_a_kill(own: Site) -> None:
    async def main() -> None:
        async with leased(own) as (id, token, shelves):
            kept = []
            for number, data in enumerate((b"", b"small\n", LARGE)):
                it = artifact(f"file {number}", data)
                await shelves.upload(token, it, io.BytesIO(data))
                await asyncio.to_thread(restart, own)
                kept.append((it, data))
                assert await shelves.list(id) == [each for each, _ in kept]
                for each, expected in kept:
                    assert await fetch(shelves, id, each) == expected
            assert own.show(id)["state"] == "running"

    asyncio.run(main())
    summed = subprocess.run(["sha256sum", *files(own)], capture_output=True, check=True, text=True)
    for line in summed.stdout.splitlines():
        digest, _, name = line.partition("  ")
        assert digest == Path(name).name
    assert len(files(own)) == 3
    checked = own.run("log", "check", str(own.folder / "jobs.db"), check=True).stdout.decode()
    assert "3 artifacts of" in checked


@holds("results/acknowledged-artifact-survives")
def test_nothing_of_an_upload_that_was_cut_off_is_there(own: Site) -> None:
    async def main() -> None:
        async with leased(own) as (id, token, shelves), dial(endpoint(own)) as channel:
            call = JobArtifactsServiceStub(channel).UploadArtifact()
            it = artifact("half", LARGE)
            head = pb.ArtifactHead(task_token=token, artifact=encode_artifact(it))
            await call.write(pb.UploadArtifactRequest(head=head))
            for at in range(0, len(LARGE) // 2, ARTIFACT_CHUNK_BYTES):
                chunk = LARGE[at : at + ARTIFACT_CHUNK_BYTES]
                await call.write(pb.UploadArtifactRequest(data=chunk))
            (partial,) = files(own)
            assert partial.parent.name == "partial"
            await asyncio.to_thread(kill, own)
            assert files(own) == [partial]
            await asyncio.to_thread(own.start_server)
            assert await call.code() is grpc.StatusCode.UNAVAILABLE
            assert await shelves.list(id) == []
            await until(lambda: not files(own))

    asyncio.run(main())


class Killing(io.BytesIO):
    """A file that has the server killed and started anew when so much of it was read."""

    def __init__(self, data: bytes, it: Site, after: int) -> None:
        super().__init__(data)
        self.site, self.after, self.kills = it, after, 0

    def read(self, size: int | None = -1, /) -> bytes:
        if self.tell() >= self.after and not self.kills:
            self.kills += 1
            restart(self.site)
        return super().read(size)


@holds("results/upload-survives-server-death")
@pytest.mark.parametrize("after", [0, len(LARGE) // 2, len(LARGE)])
def test_an_upload_goes_through_though_the_server_is_killed_on_the_way(
    own: Site, after: int
) -> None:
    async def main() -> None:
        async with leased(own) as (id, token, shelves):
            it, data = artifact("it", LARGE), Killing(LARGE, own, after)
            await shelves.upload(token, it, data)
            assert data.kills == 1
            assert await shelves.list(id) == [it]
            assert await fetch(shelves, id, it) == LARGE
            await until(lambda: len(files(own)) == 1)

    asyncio.run(main())


def test_a_download_goes_on_where_it_was_when_its_server_was_killed(own: Site) -> None:
    async def main() -> None:
        async with leased(own) as (id, token, shelves):
            it = artifact("it", LARGE)
            await shelves.upload(token, it, io.BytesIO(LARGE))
            lost: list[str] = []
            chunks = shelves.download(id, it, lost=lambda refusal: lost.append(str(refusal)))
            async with aclosing(chunks):
                got = [await anext(chunks)]
                await asyncio.to_thread(restart, own)
                got += [chunk async for chunk in chunks]
            assert b"".join(got) == LARGE
            assert len(lost) == 1

    asyncio.run(main())


@holds("results/acknowledged-artifact-survives")
def test_many_at_once_over_kills_are_each_kept_once_and_whole(own: Site) -> None:
    async def main() -> None:
        async with leased(own) as (id, token, shelves):
            texts = {f"{number:03}": f"text {number % 7}".encode() for number in range(60)}

            async def bring(path: str) -> None:
                await shelves.upload(token, artifact(path, texts[path]), io.BytesIO(texts[path]))

            async with asyncio.TaskGroup() as tasks:
                for path in texts:
                    tasks.create_task(bring(path))
                for _ in range(3):
                    await asyncio.to_thread(restart, own)
            kept = await shelves.list(id)
            assert [each.path for each in kept] == sorted(texts)
            for each in kept:
                assert await fetch(shelves, id, each) == texts[each.path]
            assert own.show(id)["artifacts_kept"] == len(texts)

    asyncio.run(main())


@holds("results/bytes-before-facts")
def test_what_a_killed_server_did_not_remove_the_next_one_does(own: Site) -> None:
    async def main() -> None:
        async with leased(own) as (_, token, shelves):
            await shelves.upload(token, artifact("it", b"data"), io.BytesIO(b"data"))
            (kept,) = files(own)
            stray = kept.parent.parent.with_name("0198a0b1-0000-7000-8000-00000000000f")
            (stray / "1").mkdir(parents=True)
            (stray / "1" / kept.name).write_bytes(b"data")
            (kept.parent.with_name("7")).mkdir()
            await asyncio.to_thread(restart, own)
            await until(lambda: files(own) == [kept])
            assert [each.name for each in kept.parent.parent.iterdir()] == ["1"]
            kept.unlink()
            kept.parent.rmdir()
            await asyncio.to_thread(restart, own)
            assert own.server
            assert own.server.said("artifacts_missing")["jobs"] == 1

    asyncio.run(main())


@holds("results/artifacts-follow-their-log")
def test_a_server_on_a_backup_has_the_artifacts_of_its_moment(own: Site) -> None:
    async def main() -> None:
        async with leased(own) as (id, token, shelves):
            before, after = artifact("before", LARGE), artifact("after", b"after")
            await shelves.upload(token, before, io.BytesIO(LARGE))
            log, copy = own.folder / "jobs.db", own.folder / "copy.db"
            await asyncio.to_thread(
                lambda: own.run("log", "backup", str(log), str(copy), check=True)
            )
            await shelves.upload(token, after, io.BytesIO(b"after"))
            assert await shelves.list(id) == [after, before]
            await asyncio.to_thread(kill, own)
            own.store = f"sqlite:{copy}"
            await asyncio.to_thread(own.start_server)
            assert await shelves.list(id) == [before]
            assert await fetch(shelves, id, before) == LARGE
            await shelves.upload(token, after, io.BytesIO(b"after"))
            assert await shelves.list(id) == [after, before]

    asyncio.run(main())
