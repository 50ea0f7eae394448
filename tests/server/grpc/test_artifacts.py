"""Artifacts through a real server: brought, listed and fetched by the client that everybody uses."""

import asyncio
import hashlib
import io
import random
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path

import grpc
import pytest

from airunner.blobs.folder import FolderBlobs, blob_path
from airunner.model.artifacts import Artifact
from airunner.model.errors import (
    DataLoss,
    InvalidRequest,
    NotAllowed,
    StaleLease,
    Unauthenticated,
    UnknownArtifact,
    UnknownJob,
    Unreachable,
)
from airunner.model.jobs import (
    JobId,
    JobRequest,
    Millis,
    Outcome,
    Reason,
    TaskToken,
    WorkerId,
    digest,
)
from airunner.model.limits import ARTIFACT_CHUNK_BYTES, MIB
from airunner.model.spec import JobSpec
from airunner.server.client_calls import ClientCalls
from airunner.server.policy import Role
from airunner.server.worker_calls import WorkerCalls
from airunner.server.workers.leased_job import LeasedJob
from airunner.wire.client.artifacts_client import ArtifactsClient, _CallStatus
from airunner.wire.client.connection import PAUSES
from airunner.wire.client.endpoint import Endpoint
from airunner.wire.codec.artifacts import encode_artifact
from airunner.wire.job.v1 import job_pb2 as pb
from airunner.wire.job.v1.job_pb2_grpc import JobArtifactsServiceStub
from tests.promises import holds
from tests.server.grpc.server_fixture import Keys, Served, guarded, serving, until
from tests.support.cutter import Cutter

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


async def leased(site: Served) -> LeasedJob:
    """A job that a worker has."""
    await ClientCalls(site.broker).enqueue(JobRequest(spec=JobSpec(command="make")))
    (granted,) = await WorkerCalls(site.broker).lease(
        ["default"], worker=WorkerId("w"), span=Millis(60_000)
    )
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
            serving(site_keys, blobs=FolderBlobs.open(tmp_path / "blobs")) as site,
            ArtifactsClient(site.endpoint()) as shelves,
        ):
            granted = await leased(site)
            large = await upload(shelves, granted.token, "out/large.bin", LARGE)
            small = artifact("a b\u00e9", SMALL, executable=True)
            await shelves.upload(granted.token, small, io.BytesIO(SMALL))
            empty = await upload(shelves, granted.token, "out/empty", b"")
            id = granted.job.id
            assert await shelves.list(id) == [small, empty, large]
            await WorkerCalls(site.broker).complete(granted.token, DONE)
            assert await shelves.list(id) == [small, empty, large]
            for it, data in ((small, SMALL), (large, LARGE), (empty, b"")):
                assert await fetch(shelves, id, it) == data
            for offset in (1, ARTIFACT_CHUNK_BYTES, len(LARGE) - 1, len(LARGE)):
                assert await fetch(shelves, id, large, offset) == LARGE[offset:]
            job = await ClientCalls(site.broker).get(id)
            assert (job.artifacts, job.artifact_bytes) == (3, len(LARGE) + len(SMALL))

    asyncio.run(main())


def test_a_refused_upload_says_why_whenever_it_is_refused(site_keys: Keys) -> None:
    async def main() -> None:
        async with (
            serving(site_keys) as site,
            ArtifactsClient(site.endpoint()) as shelves,
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


def test_a_list_of_any_length_comes_in_messages_that_are_not_too_long(site_keys: Keys) -> None:
    async def main() -> None:
        async with (
            serving(site_keys) as site,
            ArtifactsClient(site.endpoint()) as shelves,
        ):
            granted = await leased(site)
            queue, token = site.broker.engine.queue, digest(granted.token)
            wanted = []
            for number in range(6_000):
                wanted.append(artifact(f"{number:04}/{'x' * 4_000}", b"x"))
                site.broker.decide(queue.store_artifact(token, wanted[-1], now=site.broker.now()))
            assert await shelves.list(granted.job.id) == wanted

    asyncio.run(main())


def test_what_is_no_upload_is_refused_and_keeps_nothing(site_keys: Keys) -> None:
    async def main() -> None:
        async with serving(site_keys) as site:
            granted = await leased(site)
            it = encode_artifact(artifact("it", b"data"))
            head = pb.UploadArtifactRequest(
                head=pb.ArtifactHead(task_token=granted.token, artifact=it)
            )
            up = pb.Artifact(path="../up", size=4, sha256=it.sha256)
            away = pb.UploadArtifactRequest(
                head=pb.ArtifactHead(task_token=granted.token, artifact=up)
            )
            data = pb.UploadArtifactRequest(data=b"data")
            large = pb.UploadArtifactRequest(data=bytes(ARTIFACT_CHUNK_BYTES + 1))
            for requests, why in (
                ([], "head: is missing"),
                ([data], "head: is missing"),
                ([away], "artifact.path: '../up' is not a plain path"),
                ([head, head], "head: comes once"),
                ([head, large], "data: has 262145 bytes, more than ARTIFACT_CHUNK_BYTES"),
                ([head], "data: it ends after 0 of 4 bytes"),
                ([head, data, data], "data: it has more than the 4 bytes said"),
            ):
                code, details = await refused(site, requests)
                assert code is grpc.StatusCode.INVALID_ARGUMENT
                assert details.startswith(why)
            assert (await ClientCalls(site.broker).get(granted.job.id)).artifacts == 0

    async def refused(
        site: Served, requests: list[pb.UploadArtifactRequest]
    ) -> tuple[grpc.StatusCode, str]:
        call = JobArtifactsServiceStub(site.channel()).UploadArtifact(iter(requests))
        with pytest.raises(grpc.aio.AioRpcError) as error:
            await _CallStatus(call).check()
        details = error.value.details() or ""
        return error.value.code(), details

    asyncio.run(main())


def test_one_who_hangs_up_in_the_middle_leaves_nothing(site_keys: Keys, tmp_path: Path) -> None:
    async def main() -> None:
        folder = tmp_path / "blobs"
        async with serving(site_keys, blobs=FolderBlobs.open(folder)) as site:
            granted = await leased(site)
            channel = site.channel()
            call = JobArtifactsServiceStub(channel).UploadArtifact()
            it = encode_artifact(artifact("it", LARGE))
            head = pb.ArtifactHead(task_token=granted.token, artifact=it)
            await call.write(pb.UploadArtifactRequest(head=head))
            await call.write(pb.UploadArtifactRequest(data=LARGE[:1000]))
            await until(lambda: any(each.stat().st_size for each in partial(folder)))
            await channel.close()
            await until(lambda: not partial(folder))
            assert (await ClientCalls(site.broker).get(granted.job.id)).artifacts == 0

    def partial(folder: Path) -> list[Path]:
        return list((folder / "partial").iterdir())

    asyncio.run(main())


@holds("results/artifact-or-data-loss")
def test_a_file_that_is_damaged_on_disk_is_data_loss_and_the_log_says_where(
    site_keys: Keys, tmp_path: Path
) -> None:
    async def main() -> None:
        blobs = FolderBlobs.open(tmp_path / "blobs")
        async with (
            serving(site_keys, blobs=blobs) as site,
            ArtifactsClient(site.endpoint()) as shelves,
        ):
            granted = await leased(site)
            it = await upload(shelves, granted.token, "it", LARGE)
            place = blob_path(blobs.folder, granted.job.id, 1, it)
            place.write_bytes(LARGE[:-1] + b"!")
            for _ in range(2):
                with pytest.raises(
                    DataLoss, match=r"it: what the server has .* the server's log says where"
                ):
                    await fetch(shelves, granted.job.id, it)
                assert str(place) in site.lines.getvalue()
                place.unlink(missing_ok=True)
            assert "log_damaged" in site.lines.getvalue()

    asyncio.run(main())


def test_a_file_that_was_replaced_is_not_taken_for_what_was_listed(site_keys: Keys) -> None:
    async def main() -> None:
        async with (
            serving(site_keys) as site,
            ArtifactsClient(site.endpoint()) as shelves,
        ):
            granted = await leased(site)
            old = await upload(shelves, granted.token, "it", b"old")
            await upload(shelves, granted.token, "it", b"new")
            with pytest.raises(DataLoss, match="it is another file by now"):
                await fetch(shelves, granted.job.id, old)
            with pytest.raises(UnknownArtifact):
                await fetch(shelves, granted.job.id, artifact("none", b""))
            with pytest.raises(UnknownJob):
                await shelves.list(JobId("nobody"))
            with pytest.raises(InvalidRequest, match="offset: 4 is not within 0 to the 3 bytes"):
                await fetch(shelves, granted.job.id, artifact("it", b"new"), 4)

    asyncio.run(main())


def test_workers_bring_and_everybody_who_may_look_fetches(site_keys: Keys) -> None:
    async def main() -> None:
        async with serving(site_keys, gate=guarded(site_keys)) as site:
            granted = await leased(site)
            async with ArtifactsClient(site.endpoint(Role.WORKER)) as shelves:
                it = await upload(shelves, granted.token, "it", SMALL)
            async with ArtifactsClient(site.endpoint(Role.VIEWER)) as shelves:
                assert await shelves.list(granted.job.id) == [it]
                assert await fetch(shelves, granted.job.id, it) == SMALL
            for role in (Role.VIEWER, Role.USER):
                async with ArtifactsClient(site.endpoint(role)) as shelves:
                    with pytest.raises(NotAllowed, match="may not call UploadArtifact"):
                        await upload(shelves, granted.token, "it", LARGE)

    asyncio.run(main())


def test_a_client_whose_server_was_never_there_gives_up_soon(site_keys: Keys) -> None:
    async def main() -> None:
        nowhere = Endpoint(server="127.0.0.1:1", ca_cert=site_keys.certs / "ca.pem")
        pauses: list[float] = []

        def dice(low: float, high: float) -> float:
            pauses.append(high)
            return low

        async with ArtifactsClient(nowhere, patience=0, dice=dice) as shelves:
            with pytest.raises(Unreachable, match="no server answers at"):
                await shelves.list(JobId("x"))
            assert pauses == list(PAUSES)  # there may be a server yet
            pauses.clear()
            with pytest.raises(Unreachable, match="no server answers at"):
                await upload(shelves, TaskToken("x"), "it", SMALL)
            with pytest.raises(Unreachable, match="no server answers at"):
                await fetch(shelves, JobId("x"), artifact("it", SMALL))
        assert not pauses

    asyncio.run(main())


def test_a_lost_connection_costs_a_download_nothing_that_had_come(site_keys: Keys) -> None:
    async def main() -> None:
        async with serving(site_keys) as site:
            granted = await leased(site)
            data = 4 * LARGE  # far more than is on its way at once
            async with ArtifactsClient(site.endpoint()) as shelves:
                it = await upload(shelves, granted.token, "it", data)
            with Cutter(site.address, after=len(data) // 2) as cutter:
                far = replace(site.endpoint(), server=cutter.address)
                lost: list[str] = []
                async with ArtifactsClient(far) as shelves:
                    chunks = shelves.download(
                        granted.job.id, it, lost=lambda refusal: lost.append(str(refusal))
                    )
                    async with aclosing(chunks):
                        assert b"".join([chunk async for chunk in chunks]) == data
                assert cutter.has_cut
                assert len(lost) == 1

    asyncio.run(main())


def test_a_token_that_ran_out_is_read_again(site_keys: Keys, tmp_path: Path) -> None:
    async def main() -> None:
        async with serving(site_keys, gate=guarded(site_keys)) as site:
            granted = await leased(site)
            file = tmp_path / "token"
            file.write_text("none")

            def renewed(low: float, high: float) -> float:
                file.write_text(site_keys.token(Role.WORKER))
                return low

            said = replace(site.endpoint(), token_file=file)
            async with ArtifactsClient(said, dice=renewed) as shelves:
                it = await upload(shelves, granted.token, "it", SMALL)
                assert await shelves.list(granted.job.id) == [it]
            file.write_text("none")
            async with ArtifactsClient(said, dice=lambda low, _: low) as shelves:
                with pytest.raises(Unauthenticated):
                    await shelves.list(granted.job.id)

    asyncio.run(main())
