"""What every client of a server has: a channel, and how a call goes out over it.

Every call has a deadline. A call that may be repeated without harm is repeated
while the server is unavailable, a few times, with pauses that double and are
random within that (full jitter), so that clients of a server that comes back
do not all come at once. What the server refuses is raised as the same class.
"""

import asyncio
from collections.abc import Callable, Sequence
from random import uniform
from types import TracebackType
from typing import Final, Self, TypeVar

import grpc
from grpc_health.v1 import health_pb2

from airunner.model.errors import ShuttingDown, Unreachable
from airunner.wire.client.endpoint import Endpoint, dial
from airunner.wire.codec.errors import decode_call_error

CALL_SECONDS: Final = 30.0
PAUSES: Final = (0.1, 0.2, 0.4, 0.8)  # seconds at most, before each further try

Q = TypeVar("Q")
A = TypeVar("A")


class Connection:
    """A connection to a server, made with the first call; for the length of a block or until close().

    `dice` draws from between two numbers.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        pauses: Sequence[float] = PAUSES,
        dice: Callable[[float, float], float] = uniform,
    ) -> None:
        self.endpoint = endpoint
        self.dice = dice
        self._pauses = pauses
        self._channel = dial(endpoint)
        self._check: grpc.aio.UnaryUnaryMultiCallable[
            health_pb2.HealthCheckRequest, health_pb2.HealthCheckResponse
        ] = self._channel.unary_unary(
            "/grpc.health.v1.Health/Check",
            request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
            response_deserializer=health_pb2.HealthCheckResponse.FromString,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        await self._channel.close()

    async def check(self) -> None:
        """Return if the server is there and serves; else Unreachable says what is wrong."""
        answer = await self._ask(self._check, health_pb2.HealthCheckRequest())
        if answer.status != health_pb2.HealthCheckResponse.SERVING:
            raise ShuttingDown

    async def _ask(
        self,
        verb: grpc.aio.UnaryUnaryMultiCallable[Q, A],
        request: Q,
        *,
        repeat: bool = True,
    ) -> A:
        """The answer; `repeat`: the request may be sent again if nobody answered."""
        for pause in (*(self._pauses if repeat else ()), None):
            try:
                return await verb(request, timeout=CALL_SECONDS, metadata=self.endpoint.metadata())
            except grpc.aio.AioRpcError as error:
                refused = decode_call_error(error, self.endpoint.server)
            away = isinstance(refused, Unreachable | ShuttingDown)
            if pause is None or not away:
                raise refused from None
            await asyncio.sleep(self.dice(0, pause))
        raise AssertionError("the last try returns or raises")
