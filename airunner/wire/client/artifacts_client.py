"""The artifacts that a server keeps: brought there, listed and fetched.

Bytes go in chunks, no faster than the other end takes them. An upload that a lost connection cut off
begins anew; a download goes on where it was. What arrives is held against its digest.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import aclosing, suppress
from hashlib import sha256
from random import uniform
from typing import Any, BinaryIO, Final, TypeVar

import grpc

from airunner.model.artifacts import Artifact
from airunner.model.errors import DataLoss, Refused
from airunner.model.jobs import JobId, TaskToken
from airunner.model.limits import ARTIFACT_CHUNK_BYTES, COLLECT_SECONDS_MAX
from airunner.wire.client.connection import Connection
from airunner.wire.client.endpoint import Endpoint
from airunner.wire.client.retries import AWAY_SECONDS_MAX, RETRYABLE, RetryPolicy
from airunner.wire.codec.artifacts import decode_artifact, encode_artifact
from airunner.wire.codec.errors import decode_call_error
from airunner.wire.job.v1 import job_pb2 as pb
from airunner.wire.job.v1 import job_pb2_grpc

LIST_SECONDS: Final = 60.0
END_SECONDS: Final = 5.0  # in which gRPC tells how a call has ended that cannot be written to

_TOO_LATE: Final = "Internal error from Core"

T = TypeVar("T")


class ArtifactsClient(Connection):
    """One connection to a server. Use it as `async with ArtifactsClient(endpoint) as shelves`.

    A verb whose server goes away tries again, as tries.py has it, until that was away for `patience`
    seconds. What the server refuses is raised at once.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        patience: float = AWAY_SECONDS_MAX,
        dice: Callable[[float, float], float] = uniform,
    ) -> None:
        super().__init__(endpoint, dice=dice)
        self._patience = patience
        self._stub = job_pb2_grpc.JobArtifactsServiceStub(self._channel)

    async def upload(self, token: TaskToken, artifact: Artifact, data: BinaryIO) -> None:
        """Have the server keep a file of the attempt that the token stands for.

        `data` can be sought in, and is read from its beginning. It is kept once this returns; if it
        raises, nothing of it may be counted on: StaleLease, LimitReached, InvalidRequest if the
        bytes are not those of the artifact, Unreachable.
        """
        tries, again = RetryPolicy(self, known=True, patience=self._patience), False
        while True:
            tries.start_try()
            try:
                await self._send(token, artifact, data, again=again)
            except RETRYABLE as refusal:
                await tries.wait_before_retry(refusal)
            else:
                return
            again = True

    async def list(self, id: JobId) -> list[Artifact]:
        """What the latest attempt of a job has left, by path."""
        tries = RetryPolicy(self, patience=self._patience)
        while True:
            tries.start_try()
            try:
                return [each async for each in self._listed(id)]
            except RETRYABLE as refusal:
                await tries.wait_before_retry(refusal)

    async def download(
        self,
        id: JobId,
        artifact: Artifact,
        offset: int = 0,
        *,
        lost: Callable[[Refused], None] = lambda refusal: None,
    ) -> AsyncGenerator[bytes, None]:
        """The bytes of a file that list() has told of, from an offset on.

        `lost` is told once each time that the server goes away. Raises DataLoss if there is
        another file of that name by now, or if what came from the beginning has another digest.
        """
        digest, at = sha256(), offset
        tries = RetryPolicy(self, lost=lost, known=True, patience=self._patience)
        while True:
            tries.start_try()
            try:
                async with aclosing(self._fetch(id, artifact, at)) as chunks:
                    async for chunk in chunks:
                        at += len(chunk)
                        digest.update(chunk)
                        tries.reset()
                        yield chunk
                break
            except RETRYABLE as refusal:
                await tries.wait_before_retry(refusal)
        if at != artifact.size or (not offset and digest.hexdigest() != artifact.sha256):
            raise DataLoss(f"{artifact.path} did not arrive as it was kept: fetch it again")

    async def _listed(self, id: JobId) -> AsyncGenerator[Artifact, None]:
        """One try."""
        request = pb.ListArtifactsRequest(job_id=id)
        metadata = self.endpoint.metadata()
        call = self._stub.ListArtifacts(request, timeout=LIST_SECONDS, metadata=metadata)
        try:
            async for some in call:
                for each in some.artifacts:
                    yield decode_artifact(each)
        except grpc.aio.AioRpcError as error:
            raise decode_call_error(error, self.endpoint.server) from None
        finally:
            call.cancel()

    async def _send(
        self, token: TaskToken, artifact: Artifact, data: BinaryIO, *, again: bool
    ) -> None:
        """One try, from the beginning."""
        await asyncio.to_thread(data.seek, 0)
        head = pb.ArtifactHead(task_token=token, artifact=encode_artifact(artifact), again=again)
        call = self._stub.UploadArtifact(
            timeout=COLLECT_SECONDS_MAX, metadata=self.endpoint.metadata()
        )
        end = _End(call)
        try:
            with suppress(asyncio.InvalidStateError, grpc.aio.AioRpcError):  # it has been answered
                await call.write(pb.UploadArtifactRequest(head=head))
                while chunk := await asyncio.to_thread(data.read, ARTIFACT_CHUNK_BYTES):
                    await call.write(pb.UploadArtifactRequest(data=chunk))
                await call.done_writing()
                await call
            await end.check()
        except grpc.aio.AioRpcError as error:
            raise decode_call_error(error, self.endpoint.server) from None
        finally:
            call.cancel()

    async def _fetch(self, id: JobId, artifact: Artifact, at: int) -> AsyncGenerator[bytes, None]:
        """One try, from an offset on."""
        request = pb.DownloadArtifactRequest(job_id=id, path=artifact.path, offset=at)
        call = self._stub.DownloadArtifact(request, metadata=self.endpoint.metadata())
        try:
            async for response in call:
                if response.HasField("artifact"):
                    _check_same(artifact, decode_artifact(response.artifact))
                if response.data:
                    yield response.data
        except grpc.aio.AioRpcError as error:
            refusal = decode_call_error(error, self.endpoint.server)
            if isinstance(refusal, DataLoss):
                raise DataLoss(f"{artifact.path}: {refusal}") from None
            raise refusal from None
        finally:
            call.cancel()


class _End:
    """How a call has ended, from the moment that gRPC knows.

    To a call that has ended while somebody wrote gRPC gives a second end, INTERNAL, before or after the
    true one, and keeps the later of the two.
    """

    def __init__(self, call: grpc.aio.Call) -> None:
        self._true: asyncio.Future[grpc.aio.AioRpcError] = (
            asyncio.get_running_loop().create_future()
        )
        call.add_done_callback(self._told)

    async def check(self) -> None:
        """Return if the call has ended well; AioRpcError if not."""
        try:
            async with asyncio.timeout(END_SECONDS):
                error = await asyncio.shield(self._true)
        except TimeoutError:
            nothing = grpc.aio.Metadata()
            code = grpc.StatusCode.CANCELLED  # which says that the server has dropped the call
            raise grpc.aio.AioRpcError(code, nothing, nothing) from None
        if error.code() is not grpc.StatusCode.OK:
            raise error

    def _told(self, call: grpc.aio.Call) -> None:
        code, details = _known(call.code()), _known(call.details())
        if self._true.done() or (code is grpc.StatusCode.INTERNAL and details == _TOO_LATE):
            return
        trailing = _known(call.trailing_metadata())
        self._true.set_result(grpc.aio.AioRpcError(code, grpc.aio.Metadata(), trailing, details))


def _known(asked: Coroutine[Any, Any, T]) -> T:  # Any: nothing is yielded or sent
    """What a coroutine returns that has nothing to wait for."""
    try:
        asked.send(None)
    except StopIteration as done:
        value: T = done.value
        return value
    raise AssertionError("gRPC tells of the end of a call once it knows it")


def _check_same(wanted: Artifact, found: Artifact) -> None:
    """Raise DataLoss if a later attempt has left another file under this name."""
    if found != wanted:
        raise DataLoss(f"{wanted.path} is another file by now: list the artifacts again")
