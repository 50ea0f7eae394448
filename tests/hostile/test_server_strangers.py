"""Callers without a token: neither their bytes nor their connections cost the server anything."""

import asyncio
import gzip
import io
import socket
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack, suppress
from hashlib import sha256
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2

from airunner.model.artifacts import Artifact
from airunner.model.jobs import JobId, RequestId, TaskToken
from airunner.model.limits import HEALTH_WATCHES_MAX, MIB, OPEN_REQUESTS_MAX
from airunner.model.spec import JobSpec
from airunner.server.policy import Role
from airunner.wire.client.artifacts_client import ArtifactsClient
from airunner.wire.client.endpoint import dial
from airunner.wire.client.jobs_client import JobsClient
from airunner.wire.job.v1 import job_pb2 as pb
from airunner.wire.job.v1.job_pb2_grpc import JobServiceStub
from tests.hostile.dose import DOSE, patience
from tests.hostile.raw_http2 import RawConnection, message
from tests.hostile.server_site import Target, bystander, target
from tests.server.grpc.server_fixture import Keys

ENQUEUE = "/job.v1.JobService/EnqueueJob"
HANDSHAKE_SECONDS_GRPC = 120  # how long gRPC lets a connection be silent, unless it is told
CHECK = "/grpc.health.v1.Health/Check"
WAIT_SECONDS_MAX = patience(3.0)  # of a bystander for three calls
STEP_SECONDS_MAX = 0.25  # of the server's longest step: it took 0.04 s


async def besieged(
    attacked: Target,
    stack: AsyncExitStack,
    attack: Callable[[RawConnection], Coroutine[None, None, None]],
) -> list[RawConnection]:
    """Four connections, which the stack closes, after many attacks at once over each."""
    raws = [await stack.enter_async_context(attacked.raw()) for _ in range(4)]
    async with asyncio.TaskGroup() as tasks:
        for raw in raws * 15 * DOSE:
            tasks.create_task(attack(raw))
    return raws


@pytest.mark.parametrize("path", [ENQUEUE, "/job.v1.JobService/Work"])
def test_calls_without_a_token_are_answered_before_their_message(
    attacked: Target, path: str
) -> None:
    async def attack(raw: RawConnection) -> None:
        stream = await raw.call(path)
        await raw.send(stream, message(bytes(14 * MIB), size=15 * MIB))
        await raw.until_ended(stream)

    async def main() -> None:
        async with bystander(attacked) as seen, AsyncExitStack() as stack:
            before = attacked.memory()
            raws = await besieged(attacked, stack, attack)
            assert sum(raw.sent for raw in raws)
            assert attacked.memory() - before < 100 * MIB
        assert seen.step.seconds < STEP_SECONDS_MAX, seen.step
        assert seen.slowest < WAIT_SECONDS_MAX

    asyncio.run(main())


def test_open_calls_whose_last_byte_never_comes_take_bounded_memory(attacked: Target) -> None:
    """The health service takes no token, and its requests are tiny."""

    async def attack(raw: RawConnection) -> None:
        stream = await raw.call(CHECK)
        await raw.send(stream, message(bytes(14 * MIB), size=15 * MIB))

    async def main() -> None:
        async with bystander(attacked) as seen, AsyncExitStack() as stack:
            before = attacked.memory()
            raws = await besieged(attacked, stack, attack)
            assert sum(len(raw.ended) for raw in raws) >= 60 * DOSE - OPEN_REQUESTS_MAX
            assert attacked.memory() - before < (OPEN_REQUESTS_MAX * 16 + 64) * MIB
        assert seen.step.seconds < STEP_SECONDS_MAX, seen.step
        assert seen.slowest < WAIT_SECONDS_MAX

    asyncio.run(main())


def test_a_compressed_message_is_refused_before_it_grows(attacked: Target) -> None:
    bomb = gzip.compress(bytes(512 * MIB), 9)

    async def main() -> None:
        async with bystander(attacked) as seen:
            before = attacked.peak()
            async with attacked.raw() as raw:
                for path in (ENQUEUE, CHECK, "/job.v1.JobEventsService/PublishJobEvents"):
                    stream = await raw.call(path, [("grpc-encoding", "gzip")])
                    await raw.send(stream, message(bomb, compressed=True), end=True)
                    await raw.until_ended(stream)
            assert attacked.peak() - before < 100 * MIB
        assert seen.step.seconds < STEP_SECONDS_MAX, seen.step
        assert seen.slowest < WAIT_SECONDS_MAX

    asyncio.run(main())


def test_silent_connections_keep_nobody_out(tmp_path: Path, keys: Keys) -> None:
    async def main(it: Target) -> None:
        host, _, port = it.address.rpartition(":")
        async with AsyncExitStack() as stack:
            ada = await stack.enter_async_context(JobsClient(it.endpoint(Role.USER)))
            await ada.enqueue(JobSpec(command="true", queue="upload"))
            worker = it.endpoint(Role.WORKER)
            channel = await stack.enter_async_context(dial(worker))
            poll = JobServiceStub(channel).DequeueJob(
                pb.DequeueJobRequest(queue="upload"), metadata=worker.metadata()
            )
            (token,) = [each.task_token async for each in poll]
            uploads = await stack.enter_async_context(ArtifactsClient(worker))
            assert not await uploads.list(JobId((await ada.list()).jobs[0].id))
            for _ in range(1_012):
                stack.enter_context(socket.create_connection((host, int(port))))
            for number in range(50):
                data = b"%d" % number
                digest = sha256(data).hexdigest()
                file = Artifact(path=digest, size=len(data), sha256=digest)
                await uploads.upload(TaskToken(token), file, io.BytesIO(data))
            async with (
                asyncio.timeout(HANDSHAKE_SECONDS_GRPC / 2),  # 6 s on an idle machine
                JobsClient(it.endpoint(Role.USER), pauses=(0.5,) * 80) as jobs,
            ):
                request = RequestId("once")  # so that the client tries again
                id = (await jobs.enqueue(JobSpec(command="true"), request=request)).id
                assert (await jobs.get(id))[0].id == id

    store = f"sqlite:{tmp_path / 'jobs.db'}"
    with target(tmp_path / "site", keys, files=512, store=store) as it:
        asyncio.run(main(it))


def test_watches_of_the_servers_health_are_bounded(attacked: Target) -> None:
    async def main() -> None:
        channel = dial(attacked.endpoint())
        watch: grpc.aio.UnaryStreamMultiCallable[
            health_pb2.HealthCheckRequest, health_pb2.HealthCheckResponse
        ] = channel.unary_stream(
            "/grpc.health.v1.Health/Watch",
            request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
            response_deserializer=health_pb2.HealthCheckResponse.FromString,
        )
        ended = asyncio.Semaphore(0)

        async def watch_to_the_end() -> None:
            with suppress(grpc.aio.AioRpcError):
                _ = [each async for each in watch(health_pb2.HealthCheckRequest())]
            ended.release()

        async with bystander(attacked) as seen, asyncio.TaskGroup() as tasks:
            watching = [
                tasks.create_task(watch_to_the_end()) for _ in range(HEALTH_WATCHES_MAX + 50)
            ]
            for _ in range(50):
                await ended.acquire()
            async for answer in watch(health_pb2.HealthCheckRequest()):
                assert answer.status == health_pb2.HealthCheckResponse.SERVING
                break
            for each in watching:
                each.cancel()
        assert seen.step.seconds < STEP_SECONDS_MAX, seen.step
        assert seen.slowest < WAIT_SECONDS_MAX
        await channel.close()

    asyncio.run(main())


def test_bytes_that_are_no_message_are_invalid_and_no_error_of_the_server(attacked: Target) -> None:
    methods = [
        f"/job.v1.{service}/{name}"
        for service, names in {
            "JobService": "EnqueueJob EnqueueJobs GetJob ListJobs QueueStats CancelJob RetryJob "
            "UpdateJob CompleteJob ReleaseJob",
            "JobEventsService": "StreamJobEvents StreamEvents",
        }.items()
        for name in names.split()
    ]
    streams = [
        "/job.v1.JobService/Work",
        "/job.v1.JobEventsService/PublishJobEvents",
        "/job.v1.JobArtifactsService/UploadArtifact",
    ]

    async def main() -> None:
        who = attacked.endpoint(Role.ADMIN)
        async with dial(who) as channel:
            for path in (*methods, *streams):
                method: grpc.aio.StreamStreamMultiCallable[bytes, bytes]
                method = channel.stream_stream(path)
                call = method(iter([b"\xff" * 6]), metadata=who.metadata())
                assert await call.code() is grpc.StatusCode.INVALID_ARGUMENT, path
        async with JobsClient(who) as jobs:
            with pytest.raises(Exception, match="no job"):
                await jobs.get(JobId("x"))

    asyncio.run(main())
    assert not [line for line in attacked.process.journal if '"error"' in line]
