"""A worker's machine, which starts a new worker process after the end of the previous process."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from airunner.model.jobs import Instant, Millis
from airunner.model.protocol.channel import ChannelClosed
from airunner.model.protocol.worker_protocol import Assignment, FromServer, FromWorker
from airunner.server.artifacts import ArtifactService
from airunner.worker.worker import WorkerOptions
from tests.simulation.artifacts import CallsShelf, Leaving, MakersRooms
from tests.simulation.clients import QUEUES
from tests.simulation.hosts import ServerLife, WorkerLife, until
from tests.simulation.network import Call, End
from tests.support.memory_spools import MemoryDisk

if TYPE_CHECKING:
    from tests.simulation.world import World


class Post:
    """A machine; it survives its worker processes."""

    def __init__(self, world: "World", name: str, tasks: asyncio.TaskGroup) -> None:
        self.name = name
        self.down_until = 0.0
        self._world = world
        self._tasks = tasks
        self._loop = asyncio.get_running_loop()
        self._dice = world.dice_of(name)
        self._life: WorkerLife | None = None
        self._disk = MemoryDisk()
        self._damage = self._dice.choice([0.0, 0.0, 0.0, 0.03])  # of a spool, at each read
        self._working: asyncio.Task[None] | None = None
        # The first machine serves every queue, so that no job waits for ever.
        some = QUEUES if name == "w0" else self._dice.sample(QUEUES, self._dice.randint(1, 3))
        self.options = WorkerOptions(
            name=name,
            queues=tuple(some),
            slots=self._dice.randint(1, 3),
            span=Millis(self._dice.randint(3, 12) * 1000),
            drain_timeout=self._dice.choice([0.0, 2.0, 10.0]),
        )

    @property
    def worker(self) -> str | None:
        """The id of the running worker; None if there is none."""
        return self._life.worker.id if self._life and not self._life.dead else None

    async def run(self) -> None:
        world = self._world
        while not world.over:
            life = self._life = WorkerLife(
                self.options,
                world.make_theatre(
                    self.name, self._tasks, world.testimony.performances, world.pids
                ),
                world.make_spools(self._disk, self._dice, self._damage, self._damaged),
                Leaving(
                    MakersRooms(world.testimony),
                    lambda token: CallsShelf(self._archive, token, self._dice),
                ),
                self._connect,
                Instant(self._dice.randint(1, 10**12)),
                self._dice,
                world.tell,
            )
            self._working = self._tasks.create_task(self._work(life))
            await asyncio.wait([self._working])
            await life.die()
            world.tell(f"{life.worker.id} is gone")
            await until(lambda: world.over or self._loop.time() >= self.down_until)

    async def _work(self, life: WorkerLife) -> None:
        try:
            await life.worker.run()
        except Exception:
            if not life.killed:
                raise

    async def _connect(self, life: WorkerLife) -> End[FromWorker, FromServer]:
        stream = await self._world.connect(self.name)
        life.streams = [each for each in life.streams if not each.is_over]
        life.streams.append(stream)
        server = self._world.server()
        if server is None or not server.accept(stream):
            raise ChannelClosed("nobody listens")
        return stream.near

    async def _archive(self, verb: Callable[[ArtifactService], Awaitable[None]]) -> None:
        """Calls the server's artifact service over the network."""

        async def ask(server: ServerLife) -> None:
            assert server.archive
            await verb(server.archive)

        world = self._world
        await Call(world.route(self.name), world.server, ask).answer(once=True)

    def _damaged(self, assignment: Assignment) -> None:
        self._world.testimony.damaged.add((assignment.job.id, assignment.job.attempt))

    async def crash(self, away: float = 0.0) -> None:
        """Kills the worker and its processes; a new worker starts after `away` seconds."""
        self.down_until = self._loop.time() + away
        if self._life and self._working:
            await self._life.die()
            self._working.cancel()

    def drain(self, away: float) -> None:
        """Drains the worker; a new worker starts after `away` seconds at the earliest."""
        self.down_until = self._loop.time() + away
        if self._life and not self._life.dead:
            self._life.worker.drain()
