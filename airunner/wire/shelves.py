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

from airunner.artifacts import Artifact
from airunner.errors import DataLoss, Refused, ShuttingDown, Stalled, Unauthenticated, Unreachable
from airunner.jobs import JobId, TaskToken
from airunner.limits import ARTIFACT_CHUNK_BYTES, COLLECT_SECONDS_MAX
from airunner.wire.artifacts import decode_artifact, encode_artifact
from airunner.wire.caller import Caller
from airunner.wire.dial import Destination
from airunner.wire.job.v1 import job_pb2 as pb
from airunner.wire.job.v1 import job_pb2_grpc
from airunner.wire.refusals import refusal_of
from airunner.wire.tries import AWAY_SECONDS_MAX, PAUSE_SECONDS

LIST_SECONDS: Final = 60.0
END_SECONDS: Final = 5.0  # in which gRPC tells how a call has ended that cannot be written to
FIRST_SECONDS: Final = 2.0  # for which a server may be away that has never answered

_TOO_LATE: Final = "Internal error from Core"

T = TypeVar("T")


class ArtifactsClient(Caller):
    """One connection to a server. Use it as `async with ArtifactsClient(destination) as shelves`.

    A verb whose server goes away tries again, with pauses that double and are random within that. It
    raises Unreachable once the server was away for `patience` seconds; sooner if nobody has ever
    answered here, unless the server is `known` to be there. What the server refuses is raised at once;
    a token that ran out is read again from its file, once for each time that it has worked.
    """

    def __init__(
        self,
        destination: Destination,
        *,
        patience: float = AWAY_SECONDS_MAX,
        known: bool = False,
        dice: Callable[[float, float], float] = uniform,
    ) -> None:
        super().__init__(destination)
        self.patience = patience
        self.known = known
        self.dice = dice
        self._stub = job_pb2_grpc.JobArtifactsServiceStub(self._channel)

    async def upload(self, token: TaskToken, artifact: Artifact, data: BinaryIO) -> None:
        """Have the server keep a file of the attempt that the token stands for.

        `data` can be sought in, and is read from its beginning. It is kept once this returns; if it
        raises, nothing of it may be counted on: StaleLease, LimitReached, InvalidRequest if the
        bytes are not those of the artifact, Unreachable.
        """
        trials, again = _Trials(self), False
        while True:
            try:
                await self._send(token, artifact, data, again=again)
            except grpc.aio.AioRpcError as error:
                await trials.failed(error)
            else:
                return
            again = True

    async def list(self, id: JobId) -> list[Artifact]:
        """What the latest attempt of a job has left, by path."""
        trials = _Trials(self)
        while True:
            request = pb.ListArtifactsRequest(job_id=id)
            call = self._stub.ListArtifacts(
                request, timeout=LIST_SECONDS, metadata=self.destination.metadata()
            )
            try:
                found = [decode_artifact(each) async for some in call for each in some.artifacts]
            except grpc.aio.AioRpcError as error:
                await trials.failed(error)
            else:
                self.known = True
                return found
            finally:
                call.cancel()

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
        digest, at, trials = sha256(), offset, _Trials(self, lost)
        while True:
            try:
                async with aclosing(self._fetch(id, artifact, at)) as chunks:
                    async for chunk in chunks:
                        at += len(chunk)
                        digest.update(chunk)
                        trials.went_well()
                        yield chunk
                break
            except grpc.aio.AioRpcError as error:
                try:
                    await trials.failed(error)
                except DataLoss as refusal:
                    raise DataLoss(f"{artifact.path}: {refusal}") from None
        if at != artifact.size or (not offset and digest.hexdigest() != artifact.sha256):
            raise DataLoss(f"{artifact.path} did not arrive as it was kept: fetch it again")

    async def _send(
        self, token: TaskToken, artifact: Artifact, data: BinaryIO, *, again: bool
    ) -> None:
        """One try, from the beginning."""
        await asyncio.to_thread(data.seek, 0)
        head = pb.ArtifactHead(task_token=token, artifact=encode_artifact(artifact), again=again)
        call = self._stub.UploadArtifact(
            timeout=COLLECT_SECONDS_MAX, metadata=self.destination.metadata()
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
            self.known = True
        finally:
            call.cancel()

    async def _fetch(self, id: JobId, artifact: Artifact, at: int) -> AsyncGenerator[bytes, None]:
        """One try, from an offset on."""
        request = pb.DownloadArtifactRequest(job_id=id, path=artifact.path, offset=at)
        call = self._stub.DownloadArtifact(request, metadata=self.destination.metadata())
        try:
            async for response in call:
                self.known = True
                if response.HasField("artifact"):
                    _check_same(artifact, decode_artifact(response.artifact))
                if response.data:
                    yield response.data
        finally:
            call.cancel()


class _Trials:
    """Whether a verb is tried again."""

    def __init__(
        self, client: ArtifactsClient, lost: Callable[[Refused], None] = lambda refusal: None
    ) -> None:
        self._client = client
        self._lost = lost
        self._loop = asyncio.get_running_loop()
        self.went_well()

    def went_well(self) -> None:
        self._pause = PAUSE_SECONDS[0]
        self._away_since: float | None = None
        self._token_read = False

    async def failed(self, error: grpc.aio.AioRpcError) -> None:
        """Return when the next try is due; raises what it means if there is none."""
        client = self._client
        refusal = refusal_of(error, client.destination.server)
        match refusal:
            case Unreachable() | ShuttingDown() | Stalled():
                now = self._loop.time()
                if self._away_since is None:
                    self._away_since = now
                    self._lost(refusal)
                patience = client.patience if client.known else FIRST_SECONDS
                if now - self._away_since >= patience:
                    raise refusal from None
            case Unauthenticated() if client.destination.token_file and not self._token_read:
                self._token_read = True
            case _:
                raise refusal from None
        await asyncio.sleep(client.dice(0, self._pause))
        self._pause = min(2 * self._pause, PAUSE_SECONDS[1])


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
