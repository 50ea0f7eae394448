"""The real server and the real workers, each a life on a simulated machine, in virtual time.

A machine runs one life after another. A life that dies is marked dead before its tasks end: none of
their last actions reaches the network, the disk or a spool.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from contextlib import aclosing
from random import Random
from typing import Any, Final

import structlog
from structlog.typing import EventDict

from airunner.model.errors import LimitReached, Refused
from airunner.model.facts import Event
from airunner.model.job_events import JobEvent, job_event, without_before
from airunner.model.jobs import Instant, JobId, Sequence
from airunner.model.jobs import Position as LogPlace
from airunner.model.protocol.channel import ChannelClosed
from airunner.model.protocol.worker_protocol import FromServer, FromWorker
from airunner.server.artifacts import ArtifactService, blob_remover
from airunner.server.broker import Broker
from airunner.server.client_calls import ClientCalls
from airunner.server.ids import Ids
from airunner.server.replay import replay
from airunner.server.workers.worker_session import Session
from airunner.store.engine import Engine
from airunner.store.retention import Retention
from airunner.system.clock import LoopClock
from airunner.system.clock import LoopClock as WorkerClock
from airunner.wire.client.jobs_client import EventBatch
from airunner.worker.attempt.runtime import Runtime
from airunner.worker.worker import Worker, WorkerOptions
from tests.simulation.artifacts import BYTES_PER_JOB, DiskDepot, Leaving
from tests.simulation.commands import Theatre
from tests.simulation.disk import Disk, DiskLog
from tests.simulation.network import End, Stream
from tests.simulation.observations import Epoch
from tests.simulation.spools import MortalSpools

Tell = Callable[[str], None]
WorkEnd = End[FromServer, FromWorker]


async def until(happened: Callable[[], bool]) -> None:
    """Polls a condition in virtual time until it is true."""
    for _ in range(100_000):
        if happened():
            return
        await asyncio.sleep(0.1)
    raise AssertionError("it never happened")


LEASES_PER_JOB: Final = 3  # the server's limit: some jobs exceed it


class ServerLife:
    """The life of one server process."""

    make_broker: type[Broker] = Broker
    make_archive: type[ArtifactService] = ArtifactService

    def __init__(self, disk: Disk, ids: Ids, tell: Tell) -> None:
        self.log = self.open(disk)
        self._disk = disk
        self.dead = False
        self.killed = False
        self._ids = ids
        self._tell = tell
        self._tasks: asyncio.TaskGroup | None = None
        self.streams: list[Stream[Any, Any]] = []  # Any: of workers and of watchers
        self.broker: Broker | None = None
        self.blobs = DiskDepot(disk)
        self.archive: ArtifactService | None = None

    def open(self, disk: Disk) -> DiskLog:
        return DiskLog(disk)

    def clock(self, wall: Instant, floor: Instant) -> LoopClock:
        return LoopClock(epoch=wall, floor=floor)

    async def live(self, wall: Instant, begun: Callable[[Epoch], None]) -> None:
        """Runs the server from the disk's log until die() or until the log fails."""
        engine = Engine(
            Retention(artifact_bytes_per_job=BYTES_PER_JOB, leases_per_job=LEASES_PER_JOB)
        )
        await replay(self.log, engine)
        engine.check()
        await self.blobs.collect_garbage(
            {job.id: job.attempt for job in engine.table.jobs() if job.artifacts}
        )
        clock = self.clock(wall, engine.now)
        now, loop = clock.now(), asyncio.get_running_loop()
        begun(Epoch(now, now - round(loop.time() * 1000)))
        broker = self.make_broker(
            engine,
            self.log,
            clock=clock,
            ids=self._ids,
            listeners=(blob_remover(self.blobs), self._note),
            room=self._room,
        )
        try:
            async with asyncio.TaskGroup() as self._tasks:
                running = self._tasks.create_task(broker.run())
                self.archive = self.make_archive(broker, self.blobs)
                self.broker = broker
                await asyncio.wait([running])
        finally:
            self.dead = True

    def begin(self, doing: Callable[[], Awaitable[None]]) -> Callable[[], None] | None:
        if self.dead or not self.broker:
            return None
        assert self._tasks

        async def do() -> None:
            await doing()

        task = self._tasks.create_task(do())

        def call_off() -> None:
            task.cancel()

        return call_off

    def accept(self, stream: Stream[FromWorker, FromServer]) -> bool:
        """Starts a worker's session on a stream; False if the server does not listen."""
        self.streams = [each for each in self.streams if not each.is_over]
        self.streams.append(stream)
        return self.begin(lambda: self._serve(stream.far)) is not None

    async def _serve(self, end: WorkEnd) -> None:
        assert self.broker
        why: Refused | ChannelClosed = ChannelClosed("the server has ended the stream")
        try:
            await self.session(self.broker, end).run()
        except Refused as refusal:
            why = refusal
        end.hang_up(why)

    def session(self, broker: Broker, end: WorkEnd) -> Session:
        return Session(broker, end, version="1")

    async def watch(
        self, id: JobId, from_sequence: int, stop_at_tail: bool
    ) -> AsyncGenerator[JobEvent, None]:
        """Watches a job as the EventsServicer does."""
        assert self.broker
        events = ClientCalls(self.broker).watch(
            id, after=Sequence(from_sequence - 1), stop_at_tail=stop_at_tail
        )
        async with aclosing(events):
            async for event in events:
                if told := job_event(event):
                    yield (each := without_before(told, from_sequence))
                    from_sequence = each.last + 1

    async def watch_all(self, after: LogPlace | None) -> AsyncGenerator[EventBatch, None]:
        """Watches all jobs; the log is always the disk's log."""
        assert self.broker
        watchers = self.broker.watchers
        begin = watchers.end if after is None else after
        async with aclosing(watchers.follow(begin)) as stretches:
            yield EventBatch((), begin, watchers.log, after is None)
            async for each in stretches:
                seen = ((event.job, job_event(event)) for event in each.events)
                entries = [(id, told) for id, told in seen if told]
                yield EventBatch(entries, each.through, watchers.log, restarted=False)

    async def die(self) -> None:
        """Kills the server in the middle of its work."""
        if self.killed:
            return
        self.dead = self.killed = True
        self.blobs.die()
        await self.log.die()
        for stream in self.streams:
            stream.die(stream.far)

    def _room(self) -> None:
        if self._disk.low:
            raise LimitReached("there is little room on the disk")

    def _note(self, events: Iterable[Event]) -> None:
        for event in events:
            if not self.dead:
                self._tell(f"server: {event.fact}"[:160])


class WorkerLife:
    """The life of one worker process."""

    def __init__(
        self,
        options: WorkerOptions,
        theatre: Theatre,
        spools: MortalSpools,
        leaving: Leaving,
        connect: "Callable[[WorkerLife], Awaitable[End[FromWorker, FromServer]]]",
        wall: Instant,
        dice: Random,
        tell: Tell,
    ) -> None:
        self.dead = False
        self.killed = False
        self.theatre = theatre
        self._spools = spools
        self.streams: list[Stream[FromWorker, FromServer]] = []
        self._tell = tell
        place = Runtime(
            launcher=theatre,
            workspaces=leaving.rooms,
            uploads=leaving.uploads,
            spools=spools,
            clock=WorkerClock(epoch=wall),
            log=structlog.wrap_logger(None, processors=[self._note]),
        )
        self.worker = Worker(options, lambda: connect(self), place, dice)

    async def die(self) -> None:
        """Kills the worker and all of its processes."""
        if self.killed:
            return
        self.dead = self.killed = True
        self._spools.die()
        for stream in self.streams:
            stream.die(stream.near)
        await self.theatre.die()

    def _note(self, logger: object, method: str, event: EventDict) -> str:
        if not self.dead:
            name = event.pop("event")
            self._tell(f"{self.worker.id}: {name} {event}"[:160])
        raise structlog.DropEvent
