"""The servicer of artifacts: uploads, lists and downloads, one chunk at a time.

Neither side gets ahead of the other by more than a chunk and gRPC's own buffers.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Iterator
from contextlib import aclosing
from typing import Final

import grpc

from airunner.model.artifacts import Artifact
from airunner.model.errors import InvalidRequest
from airunner.model.jobs import JobId, TaskToken
from airunner.model.limits import ARTIFACT_CHUNK_BYTES, MIB, UNFINISHED_REQUESTS_MAX
from airunner.server.artifacts import ArtifactService, in_time
from airunner.server.fairness.transfers import FairTransfers
from airunner.server.grpc.guard import caller
from airunner.wire.codec.artifacts import decode_artifact, encode_artifact
from airunner.wire.job.v1 import job_pb2 as pb
from airunner.wire.job.v1.job_pb2_grpc import JobArtifactsServiceServicer

_PAGE_BYTES: Final = 1 * MIB  # a response with so many takes no more artifacts
_EACH_BYTES: Final = 128  # of an artifact besides its path, about


class ArtifactsServicer(JobArtifactsServiceServicer):
    def __init__(self, archive: ArtifactService) -> None:
        self._archive = archive
        self._heads = FairTransfers(UNFINISHED_REQUESTS_MAX)  # first requests, while they arrive

    async def UploadArtifact(
        self,
        request_iterator: AsyncIterator[pb.UploadArtifactRequest],
        context: grpc.aio.ServicerContext[pb.UploadArtifactRequest, pb.UploadArtifactResponse],
    ) -> pb.UploadArtifactResponse:
        async with self._heads.hold(caller().subject) as transfer:
            first = await in_time(_first(request_iterator), transfer)
        if first is None or not first.HasField("head"):
            raise InvalidRequest("head", "is missing: the first request says which file it is")
        async with aclosing(_chunks(request_iterator)) as data:
            await self._archive.store(
                TaskToken(first.head.task_token),
                decode_artifact(first.head.artifact),
                data,
                holder=caller().subject,
                again=first.head.again,
            )
        return pb.UploadArtifactResponse()

    async def ListArtifacts(
        self,
        request: pb.ListArtifactsRequest,
        context: grpc.aio.ServicerContext[pb.ListArtifactsRequest, pb.ListArtifactsResponse],
    ) -> AsyncIterator[pb.ListArtifactsResponse]:
        for some in _pages(await self._archive.list(JobId(request.job_id))):
            yield pb.ListArtifactsResponse(artifacts=map(encode_artifact, some))

    async def DownloadArtifact(  # type: ignore[override] # a coroutine that writes, for its pace
        self,
        request: pb.DownloadArtifactRequest,
        context: grpc.aio.ServicerContext[pb.DownloadArtifactRequest, pb.DownloadArtifactResponse],
    ) -> None:
        async with self._archive.opened(
            JobId(request.job_id), request.path, holder=caller().subject
        ) as kept:
            head = pb.DownloadArtifactResponse(artifact=encode_artifact(kept.artifact))
            async with aclosing(kept.read(request.offset)) as chunks:
                await in_time(context.write(head), kept.transfer)
                async for chunk in chunks:
                    part = pb.DownloadArtifactResponse(data=chunk)
                    await in_time(context.write(part), kept.transfer)


async def _first(
    requests: AsyncIterator[pb.UploadArtifactRequest],
) -> pb.UploadArtifactRequest | None:
    return await anext(requests, None)


async def _chunks(
    requests: AsyncIterator[pb.UploadArtifactRequest],
) -> AsyncGenerator[bytes, None]:
    async for request in requests:
        if request.HasField("head"):
            raise InvalidRequest("head", "comes once: what follows it is data")
        if len(request.data) > ARTIFACT_CHUNK_BYTES:
            raise InvalidRequest(
                "data",
                f"has {len(request.data)} bytes, more than ARTIFACT_CHUNK_BYTES "
                f"({ARTIFACT_CHUNK_BYTES} bytes)",
            )
        if request.data:
            yield request.data


def _pages(artifacts: Iterable[Artifact]) -> Iterator[list[Artifact]]:
    """The artifacts in parts, each of which fits into a message."""
    part: list[Artifact] = []
    size = 0
    for each in artifacts:
        part.append(each)
        size += len(each.path.encode()) + _EACH_BYTES
        if size > _PAGE_BYTES:
            yield part
            part, size = [], 0
    if part:
        yield part
