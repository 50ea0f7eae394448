"""The base of all clients of a server: a gRPC channel, and unary calls with retries.

Each call has a deadline. An idempotent call is repeated a few times while the server is
unavailable, with exponential backoff and full jitter, so that the clients of a restarted
server do not all call at once. A refusal of the server is raised as the same class here.
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
PAUSES: Final = (0.1, 0.2, 0.4, 0.8)  # upper bounds of the pauses before each retry, in seconds

Q = TypeVar("Q")
A = TypeVar("A")


class Connection:
    """A connection to a server, as an async context manager; it connects with the first call.

    `dice` draws a random number between two numbers.
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
        """Check the server's health. Raises Unreachable with the cause, or ShuttingDown."""
        response = await self._call(self._check, health_pb2.HealthCheckRequest())
        if response.status != health_pb2.HealthCheckResponse.SERVING:
            raise ShuttingDown

    async def _call(
        self,
        method: grpc.aio.UnaryUnaryMultiCallable[Q, A],
        request: Q,
        *,
        idempotent: bool = True,
    ) -> A:
        """Call a unary method; an idempotent call is repeated while the server is unavailable."""
        for pause in (*(self._pauses if idempotent else ()), None):
            try:
                return await method(
                    request, timeout=CALL_SECONDS, metadata=self.endpoint.metadata()
                )
            except grpc.aio.AioRpcError as error:
                refusal = decode_call_error(error, self.endpoint.destination)
            unavailable = isinstance(refusal, Unreachable | ShuttingDown)
            if pause is None or not unavailable:
                raise refusal from None
            await asyncio.sleep(self.dice(0, pause))
        raise AssertionError("the last try returns or raises")
