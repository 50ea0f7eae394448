"""A client's connection to the server: the calls of the real client over the simulated network."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from contextlib import aclosing
from typing import TYPE_CHECKING, TypeVar

from airunner.model.artifacts import Artifact
from airunner.model.errors import Refused, ShuttingDown, Unreachable
from airunner.model.job_events import JobEvent
from airunner.model.job_query import JobQuery, Page
from airunner.model.jobs import Job, JobId, JobRequest, Position, RequestId, Subject
from airunner.model.protocol.channel import ChannelClosed
from airunner.server.broker import Broker
from airunner.server.client_calls import ClientCalls
from airunner.wire.client.jobs_client import EventBatch
from tests.simulation.hosts import ServerLife
from tests.simulation.network import KEEPALIVE_SECONDS, Call, End, Stream

if TYPE_CHECKING:
    from tests.simulation.world import World

Answer = TypeVar("Answer")
Said = TypeVar("Said")


class Line:
    """The connection of a host to the server."""

    def __init__(self, world: "World", host: str) -> None:
        self._world, self._host = world, host
        self._loop = asyncio.get_running_loop()
        self.dice = world.dice_of(f"line {host}").uniform

    async def enqueue(self, wish: JobRequest) -> Job:
        return await self._ask(lambda broker: ClientCalls(broker).enqueue(wish))

    async def retry(self, id: JobId, request: RequestId, by: Subject) -> Job:
        return await self._ask(lambda broker: ClientCalls(broker).retry(id, request, by))

    async def cancel(self, id: JobId, by: Subject) -> Job:
        return await self._ask(lambda broker: ClientCalls(broker).cancel(id, by))

    async def get(self, id: JobId) -> Job:
        return await self._ask(lambda broker: ClientCalls(broker).get(id))

    async def page(self, listing: JobQuery) -> Page:
        return await self._ask(lambda broker: ClientCalls(broker).page(listing))

    async def artifacts(self, id: JobId) -> list[tuple[Artifact, bytes]]:
        """The artifacts of a job with their bytes."""

        async def fetch(life: ServerLife) -> list[tuple[Artifact, bytes]]:
            assert life.archive
            found = list[tuple[Artifact, bytes]]()
            for artifact in await life.archive.list(id):
                async with life.archive.opened(id, artifact.path) as kept:
                    chunks = [chunk async for chunk in kept.read()]
                    found.append((kept.artifact, b"".join(chunks)))
            return found

        return await Call(self._world.route(self._host), self._world.server, fetch).answer()

    async def check(self) -> None:
        async def nothing(broker: Broker) -> None:
            if broker.stopping:
                raise ShuttingDown

        await self._ask(nothing)

    async def watch(
        self,
        id: JobId,
        *,
        from_sequence: int = 1,
        stop_at_tail: bool = False,
        kinds: Iterable[str] = (),
    ) -> AsyncGenerator[JobEvent, None]:
        """The stream of a job's events, until it ends or breaks."""
        stream = self._stream(lambda life: life.watch(id, from_sequence, stop_at_tail))
        async with aclosing(stream) as entries:
            async for entry in entries:
                yield entry

    async def watch_all(
        self,
        *,
        after: Position | None = None,
        log: str = "",
        queue: str = "",
        kinds: Iterable[str] = (),
    ) -> AsyncGenerator[EventBatch, None]:
        """The stream of all jobs' events, until it breaks."""
        async with aclosing(self._stream(lambda life: life.watch_all(after))) as told:
            async for heard in told:
                yield heard

    async def _stream(
        self, told: Callable[[ServerLife], AsyncGenerator[Said, None]]
    ) -> AsyncGenerator[Said, None]:
        """The messages of a server on one connection."""
        try:
            stream: Stream[None, Said | None] = await self._world.connect(self._host)
            life = self._world.server()
            call_off = life and life.begin(lambda: _tell(stream.far, told(life)))
            if not call_off:
                raise ChannelClosed("nobody listens")
        except ChannelClosed as why:
            raise Unreachable(str(why)) from None
        assert life
        life.streams.append(stream)
        try:
            while (each := await stream.near.receive()) is not None:
                yield each
        except ChannelClosed as why:
            raise Unreachable(str(why)) from None
        finally:
            await stream.near.close()
            heard = 0.01 if not self._world.route(self._host).cut_off else KEEPALIVE_SECONDS
            self._loop.call_later(heard, call_off)

    async def _ask(self, verb: Callable[[Broker], Awaitable[Answer]]) -> Answer:
        async def ask(life: ServerLife) -> Answer:
            assert life.broker
            return await verb(life.broker)

        return await Call(self._world.route(self._host), self._world.server, ask).answer()


async def _tell(end: End[Said | None, None], entries: AsyncGenerator[Said, None]) -> None:
    """Sends the messages of a watch, until it ends or the client has left."""
    why: Refused | ChannelClosed = ChannelClosed("the server has ended the stream")
    try:
        async with aclosing(entries):
            async for entry in entries:
                await end.send(entry)
        await end.send(None)
    except ChannelClosed:
        return
    except Refused as refusal:
        why = refusal
    end.hang_up(why)
