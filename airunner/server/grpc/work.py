"""A native worker's gRPC stream as a Channel."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Iterable, Sequence

import grpc

from airunner.model.protocol.channel import ChannelClosed
from airunner.model.protocol.worker_protocol import FromServer, FromWorker
from airunner.server.grpc.pacer import SendPacer
from airunner.wire.codec.worker_protocol import decode_from_worker, encode_from_server
from airunner.wire.job.v1 import job_pb2 as pb


class WorkStream:
    """The server's end. The call that it belongs to ends when its handler returns."""

    def __init__(
        self,
        requests: AsyncIterator[pb.WorkRequest],
        context: grpc.aio.ServicerContext[pb.WorkRequest, pb.WorkResponse],
    ) -> None:
        self._requests = requests
        self._context = context
        self._closed = False
        self._pace = SendPacer()
        self._heard: deque[FromWorker] = deque()  # messages that are decoded and not received yet

    async def send(self, message: FromServer) -> None:
        await self.send_all((message,))

    async def send_all(self, messages: Iterable[FromServer]) -> None:
        if self._closed:
            raise ChannelClosed("this end is closed")
        await self._pace.ready()
        rest = iter(messages)
        while (response := encode_from_server(rest)).messages:
            try:
                await self._context.write(response)
            except (grpc.aio.BaseError, grpc.RpcError, asyncio.InvalidStateError) as error:
                raise ChannelClosed("the worker is gone") from error
            self._pace.spoke()

    async def receive(self) -> FromWorker:
        """The next message; raises as receive_all()."""
        if not self._heard:
            self._heard.extend(await self._read())
        return self._heard.popleft()

    async def receive_all(self) -> Sequence[FromWorker]:
        """The next messages; InvalidRequest if one breaks a rule of the wire contract."""
        if self._heard:
            heard, self._heard = self._heard, deque()
            return heard
        return await self._read()

    async def _read(self) -> list[FromWorker]:
        if self._closed:
            raise ChannelClosed("this end is closed")
        try:
            return decode_from_worker(await anext(self._requests))
        except (StopAsyncIteration, grpc.aio.BaseError, grpc.RpcError) as error:
            raise ChannelClosed("the worker has closed its end") from error

    async def close(self) -> None:
        self._closed = True
