"""A no-op worker that asks for one job at a time and completes it on request."""

from time import perf_counter
from typing import TypeVar

from airunner.bench.load.noop_worker import OUTCOME, SPAN
from airunner.model.jobs import TaskToken, WorkerId
from airunner.model.protocol.channel import Channel
from airunner.model.protocol.worker_protocol import (
    Assignment,
    Completion,
    Credit,
    FromServer,
    FromWorker,
    Hello,
    Settled,
    Welcome,
)

M = TypeVar("M")


class SingleJobWorker:
    """The stream of a worker that serves one queue."""

    def __init__(self, channel: Channel[FromWorker, FromServer], queue: str) -> None:
        self._channel = channel
        self._queue = queue

    async def hello(self) -> None:
        """Announces the worker without credit, and waits for the Welcome."""
        await self._channel.send(
            Hello(
                worker=WorkerId(f"bench-{perf_counter()}"),
                name="bench",
                queues=(self._queue,),
                span=SPAN,
                slots=1,
                credit=0,
            )
        )
        await self._next(Welcome)

    async def take(self) -> TaskToken:
        """Asks for a job; returns its token when the job arrives."""
        await self._channel.send(Credit(1))
        return (await self._next(Assignment)).token

    async def end(self, token: TaskToken) -> None:
        """Completes a job; returns when the end is in the log."""
        await self._channel.send(Completion(token, 0, OUTCOME))
        await self._next(Settled)

    async def close(self) -> None:
        await self._channel.close()

    async def _next(self, kind: type[M]) -> M:
        while not isinstance(message := await self._channel.receive(), kind):
            pass
        return message
