"""The artifact sink that uploads to a server, with a real server."""

import asyncio
import io
from contextlib import aclosing
from pathlib import Path

import pytest

from airunner.blobs.memory import MemoryBlobs
from airunner.log.memory import MemoryLog
from airunner.model.artifacts import Artifact
from airunner.model.jobs import JobRequest, Millis, Outcome, Reason, WorkerId
from airunner.model.spec import JobSpec
from airunner.server.client_calls import ClientCalls
from airunner.server.worker_calls import WorkerCalls
from airunner.server.workers.leased_job import LeasedJob
from airunner.wire.client.artifacts_client import ArtifactsClient
from airunner.worker.uploads import Uploads
from airunner.worker.workspace.workspace import NotStored
from tests.server.grpc.conftest import site_keys
from tests.server.grpc.server_fixture import Keys, Served, serving
from tests.worker.workspace.results.sink_contract import Kept, Scene, SinkContract, artifact

__all__ = ["site_keys"]


async def leased(site: Served) -> tuple[LeasedJob, Uploads]:
    """A leased job, and the uploads of its worker."""
    await ClientCalls(site.broker).enqueue(JobRequest(spec=JobSpec(command="make")))
    (granted,) = await WorkerCalls(site.broker).lease(
        ["default"], worker=WorkerId("w"), span=Millis(60_000)
    )
    return granted, Uploads(site.endpoint())


class TestUploadSink(SinkContract):
    @pytest.fixture(autouse=True)
    def _keys(self, site_keys: Keys) -> None:
        self.keys = site_keys

    def play(self, folder: Path, scene: Scene) -> None:
        async def main() -> None:
            async with serving(self.keys) as site, ArtifactsClient(site.endpoint()) as client:
                granted, uploads = await leased(site)
                id = granted.job.id

                async def kept() -> Kept:
                    return {each.path: await fetched(each) for each in await client.list(id)}

                async def fetched(it: Artifact) -> tuple[bytes, bool]:
                    async with aclosing(client.download(id, it)) as chunks:
                        return b"".join([chunk async for chunk in chunks]), it.executable

                await scene(uploads(granted.token), kept)
                await uploads.close()

        asyncio.run(main())


def test_what_a_server_refuses_is_not_kept_and_says_why(site_keys: Keys) -> None:
    async def main() -> None:
        async with serving(site_keys) as site:
            granted, uploads = await leased(site)
            sink = uploads(granted.token)
            await WorkerCalls(site.broker).complete(
                granted.token, Outcome(reason=Reason.EXITED, exit_code=0)
            )
            with pytest.raises(NotStored, match=r"'x' was not stored by the server: .*lease"):
                await sink.put(artifact("x", b"late"), io.BytesIO(b"late"))
            await uploads.close()

    asyncio.run(main())


def test_a_file_is_brought_to_a_server_that_was_away_for_a_while(site_keys: Keys) -> None:
    async def main() -> None:
        log, blobs = MemoryLog(), MemoryBlobs()
        async with serving(site_keys, log=log, blobs=blobs) as site:
            granted, uploads = await leased(site)
            address = site.address.replace("localhost", "127.0.0.1")
        sink = uploads(granted.token)
        async with asyncio.TaskGroup() as tasks:
            putting = tasks.create_task(sink.put(artifact("x", b"data"), io.BytesIO(b"data")))
            async with (
                serving(site_keys, log=log, blobs=blobs, listen=address) as site,
                ArtifactsClient(site.endpoint()) as client,
            ):
                await putting
                assert await client.list(granted.job.id) == [artifact("x", b"data")]
                await uploads.close()

    asyncio.run(main())
