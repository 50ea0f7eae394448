"""The worker's side of the worker protocol over gRPC, as a Channel."""

import asyncio
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

import grpc

from airunner.model.errors import Refused, ShuttingDown, Unreachable
from airunner.model.protocol.channel import ChannelClosed, MessageRefused
from airunner.model.protocol.worker_protocol import FromServer, FromWorker
from airunner.wire.client.endpoint import Endpoint, dial
from airunner.wire.codec.errors import decode_call_error
from airunner.wire.codec.worker_protocol import decode_from_server, encode_from_worker
from airunner.wire.job.v1 import job_pb2 as pb
from airunner.wire.job.v1.job_pb2_grpc import JobServiceStub

_DEADLY: Final = (grpc.aio.BaseError, grpc.RpcError, asyncio.InvalidStateError)

# A message that is too large, or that no server can decode
_BY_MESSAGE: Final = (grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.INVALID_ARGUMENT)


class WorkChannel:
    """One stream to a server; it connects with the first message.

    A token file is read when the stream is opened. Cancelling a receive() closes the channel.
    """

    def __init__(self, endpoint: Endpoint) -> None:
        self._server = endpoint.destination
        self._received: deque[FromServer] = deque()  # messages that receive() has not returned yet
        self._welcomed = False  # the server has answered on this stream
        metadata = endpoint.metadata()
        self._channel = dial(endpoint)
        self._call: grpc.aio.StreamStreamCall[pb.WorkRequest, pb.WorkResponse] = JobServiceStub(
            self._channel
        ).Work(metadata=metadata)

    async def send(self, message: FromWorker) -> None:
        await self.send_all((message,))

    async def send_all(self, messages: Iterable[FromWorker]) -> None:
        remaining = iter(messages)
        while (request := _encode(remaining)).messages:
            try:
                await self._call.write(request)
            except _DEADLY as error:
                raise ChannelClosed(await self._why(error)) from error

    async def receive(self) -> FromServer:
        """Receive the next message; raises as receive_all()."""
        if not self._received:
            self._received.extend(await self._read())
        return self._received.popleft()

    async def receive_all(self) -> Sequence[FromServer]:
        """Receive the next messages, at least one.

        Raises the server's refusal if a retry cannot repair it; else ChannelClosed with the
        reason in a sentence.
        """
        if self._received:
            received, self._received = self._received, deque()
            return received
        return await self._read()

    async def _read(self) -> list[FromServer]:
        try:
            response = await self._call.read()
        except grpc.aio.AioRpcError as error:
            refusal = decode_call_error(error, self._server)
            if self._welcomed and error.code() in _BY_MESSAGE:
                raise MessageRefused(str(refusal)) from None
            if _is_transient(refusal, error.code()):
                raise ChannelClosed(str(refusal)) from None
            raise refusal from None
        except _DEADLY as error:
            raise ChannelClosed(f"the stream to {self._server} is broken") from error
        if not isinstance(response, pb.WorkResponse):
            raise ChannelClosed(f"the server at {self._server} has ended the stream")
        self._welcomed = True
        return decode_from_server(response)

    async def _why(self, error: BaseException) -> str:
        """The cause of a failed write. The error of the write itself does not contain it."""
        if not isinstance(error, grpc.aio.AioRpcError) and self._call.done():
            try:
                await self._call.read()
            except _DEADLY as cause:
                error = cause
        if isinstance(error, grpc.aio.AioRpcError):
            return str(decode_call_error(error, self._server))
        return f"the stream to {self._server} is broken"

    async def close(self) -> None:
        self._call.cancel()
        await self._channel.close()


def _encode(messages: Iterator[FromWorker]) -> pb.WorkRequest:
    try:
        return encode_from_worker(messages)
    except ValueError as error:  # a text that is not valid Unicode, a number that is too large
        raise MessageRefused(f"a message cannot be encoded: {error}") from None


def _is_transient(refusal: Refused, code: grpc.StatusCode) -> bool:
    """Tells whether a new stream may succeed a little later."""
    lost = (grpc.StatusCode.CANCELLED, grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN)
    return isinstance(refusal, Unreachable | ShuttingDown) or refusal.retry or code in lost
