"""The client of the artifacts service: upload, list and download.

Bytes travel in chunks, under gRPC's flow control. After a lost connection an upload starts again
from the beginning, and a download resumes at its offset. A download is checked against its digest.
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
END_SECONDS: Final = 5.0  # gRPC's time to report the status of a call after a failed write

_TOO_LATE: Final = "Internal error from Core"

T = TypeVar("T")


class ArtifactsClient(Connection):
    """A connection to a server's artifacts: `async with ArtifactsClient(endpoint) as artifacts`.

    Every method retries while the server is unavailable, for up to `patience` seconds
    (retries.py), and raises the server's refusals at once.
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
        """Upload a file of the attempt that holds the lease of `token`.

        `data` must be seekable; it is read from its beginning. The file is stored once this
        returns. If this raises, the file may or may not be stored: StaleLease, LimitReached,
        Unreachable, InvalidRequest if size or digest of the bytes are not the artifact's.
        """
        policy, again = RetryPolicy(self, known=True, patience=self._patience), False
        while True:
            policy.start_try()
            try:
                await self._send(token, artifact, data, again=again)
            except RETRYABLE as refusal:
                await policy.wait_before_retry(refusal)
            else:
                return
            again = True

    async def list(self, id: JobId) -> list[Artifact]:
        """The artifacts of a job's latest attempt, by path."""
        policy = RetryPolicy(self, patience=self._patience)
        while True:
            policy.start_try()
            try:
                return [each async for each in self._list(id)]
            except RETRYABLE as refusal:
                await policy.wait_before_retry(refusal)

    async def download(
        self,
        id: JobId,
        artifact: Artifact,
        offset: int = 0,
        *,
        lost: Callable[[Refused], None] = lambda refusal: None,
    ) -> AsyncGenerator[bytes, None]:
        """Download an artifact of list(), from an offset on, in chunks.

        Calls `lost` each time that the connection is lost. Raises DataLoss if a later attempt has
        stored another file under the name, or if a download from offset 0 has another digest.
        """
        digest, at = sha256(), offset
        policy = RetryPolicy(self, lost=lost, known=True, patience=self._patience)
        while True:
            policy.start_try()
            try:
                async with aclosing(self._fetch(id, artifact, at)) as chunks:
                    async for chunk in chunks:
                        at += len(chunk)
                        digest.update(chunk)
                        policy.reset()
                        yield chunk
                break
            except RETRYABLE as refusal:
                await policy.wait_before_retry(refusal)
        if at != artifact.size or (not offset and digest.hexdigest() != artifact.sha256):
            raise DataLoss(f"{artifact.path} was damaged on its way: download it again")

    async def _list(self, id: JobId) -> AsyncGenerator[Artifact, None]:
        """One try of list()."""
        request = pb.ListArtifactsRequest(job_id=id)
        metadata = self.endpoint.metadata()
        call = self._stub.ListArtifacts(request, timeout=LIST_SECONDS, metadata=metadata)
        try:
            async for response in call:
                for each in response.artifacts:
                    yield decode_artifact(each)
        except grpc.aio.AioRpcError as error:
            raise decode_call_error(error, self.endpoint.destination) from None
        finally:
            call.cancel()

    async def _send(
        self, token: TaskToken, artifact: Artifact, data: BinaryIO, *, again: bool
    ) -> None:
        """One try of upload(), from the beginning of the file."""
        await asyncio.to_thread(data.seek, 0)
        head = pb.ArtifactHead(task_token=token, artifact=encode_artifact(artifact), again=again)
        call = self._stub.UploadArtifact(
            timeout=COLLECT_SECONDS_MAX, metadata=self.endpoint.metadata()
        )
        status = _CallStatus(call)
        try:
            with suppress(asyncio.InvalidStateError, grpc.aio.AioRpcError):  # the call has ended
                await call.write(pb.UploadArtifactRequest(head=head))
                while chunk := await asyncio.to_thread(data.read, ARTIFACT_CHUNK_BYTES):
                    await call.write(pb.UploadArtifactRequest(data=chunk))
                await call.done_writing()
                await call
            await status.check()
        except grpc.aio.AioRpcError as error:
            raise decode_call_error(error, self.endpoint.destination) from None
        finally:
            call.cancel()

    async def _fetch(self, id: JobId, artifact: Artifact, at: int) -> AsyncGenerator[bytes, None]:
        """One try of download(), from an offset on."""
        request = pb.DownloadArtifactRequest(job_id=id, path=artifact.path, offset=at)
        call = self._stub.DownloadArtifact(request, metadata=self.endpoint.metadata())
        try:
            async for response in call:
                if response.HasField("artifact"):
                    _check_same(artifact, decode_artifact(response.artifact))
                if response.data:
                    yield response.data
        except grpc.aio.AioRpcError as error:
            refusal = decode_call_error(error, self.endpoint.destination)
            if isinstance(refusal, DataLoss):
                raise DataLoss(f"{artifact.path}: {refusal}") from None
            raise refusal from None
        finally:
            call.cancel()


class _CallStatus:
    """The true final status of a call.

    If a call ends during a write, gRPC sets a second status, INTERNAL, before or after the true
    status, and keeps the later of the two.
    """

    def __init__(self, call: grpc.aio.Call) -> None:
        self._status: asyncio.Future[grpc.aio.AioRpcError] = (
            asyncio.get_running_loop().create_future()
        )
        call.add_done_callback(self._on_done)

    async def check(self) -> None:
        """Wait for the status. Raises AioRpcError unless it is OK."""
        try:
            async with asyncio.timeout(END_SECONDS):
                error = await asyncio.shield(self._status)
        except TimeoutError:
            nothing = grpc.aio.Metadata()
            code = grpc.StatusCode.CANCELLED  # is reported as: the server has dropped the call
            raise grpc.aio.AioRpcError(code, nothing, nothing) from None
        if error.code() is not grpc.StatusCode.OK:
            raise error

    def _on_done(self, call: grpc.aio.Call) -> None:
        code, details = _result_of(call.code()), _result_of(call.details())
        if self._status.done() or (code is grpc.StatusCode.INTERNAL and details == _TOO_LATE):
            return
        trailing = _result_of(call.trailing_metadata())
        self._status.set_result(grpc.aio.AioRpcError(code, grpc.aio.Metadata(), trailing, details))


def _result_of(coroutine: Coroutine[Any, Any, T]) -> T:  # Any: nothing is yielded or sent
    """The result of a coroutine that returns without waiting."""
    try:
        coroutine.send(None)
    except StopIteration as done:
        value: T = done.value
        return value
    raise AssertionError("gRPC reports the status of a call once the call is done")


def _check_same(wanted: Artifact, found: Artifact) -> None:
    """Raise DataLoss if a later attempt has stored another file under this name."""
    if found != wanted:
        raise DataLoss(f"{wanted.path} is another file by now: list the artifacts again")
