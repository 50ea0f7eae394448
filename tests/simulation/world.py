"""The simulated world of a seed: a server, workers and clients, and their faults.

The server, the workers and the client's follow code are the real code. Everything below their
interfaces is simulated: virtual time (a loop whose clock jumps), the network (network.py), the disk
(disk.py) and the processes (commands.py). Each part has a random stream of its own, so that a
change in one part leaves the random numbers of the others unchanged.

    faults for CHAOS_SECONDS  ->  every fault is repaired  ->  every job ends  ->  checker.py

A seed gives the same events on every machine, to the last event.
"""

import asyncio
from collections.abc import Callable, Coroutine
from itertools import count
from random import Random
from typing import Any, Final

from airunner.model.jobs import Instant
from airunner.model.protocol.channel import ChannelClosed
from tests.simulation.clients import Client
from tests.simulation.commands import Theatre
from tests.simulation.disk import Disk
from tests.simulation.hosts import ServerLife, until
from tests.simulation.listener import Listener
from tests.simulation.machines import Post
from tests.simulation.network import (
    DELAY_SECONDS_MAX,
    KEEPALIVE_SECONDS,
    LATE_SECONDS,
    Route,
    Stream,
)
from tests.simulation.observations import Epoch, Testimony, Viewing
from tests.simulation.queue_order import Line
from tests.simulation.spools import MortalSpools
from tests.simulation.trouble import Trouble
from tests.support.ids import CountingIds

CHAOS_SECONDS: Final = 45.0
CALM_SECONDS: Final = 900.0  # within which every job must end
WALL: Final = 1_700_000_000_000  # ms since the epoch, at the beginning
SPAN_SECONDS_MAX: Final = 12


class Numbered(asyncio.Task[Any]):  # Any: a task's result
    """A task hashed by its number, so that a set of tasks has the same order in every run."""

    _numbers = count()

    def __hash__(self) -> int:
        return self._number

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # Any: the arguments of a Task
        self._number = next(self._numbers)
        super().__init__(*args, **kwargs)


def numbered_tasks() -> "Callable[..., asyncio.Task[Any]]":
    def make(
        loop: asyncio.AbstractEventLoop, coroutine: Coroutine[Any, Any, Any], **how: Any
    ) -> asyncio.Task[Any]:
        return Numbered(coroutine, loop=loop, **how)

    return make


class World:
    """The server, machines, clients, network and disk of a simulation, and their records."""

    server_life: type[ServerLife] = ServerLife
    make_theatre: type[Theatre] = Theatre
    make_disk: type[Disk] = Disk
    make_spools: type[MortalSpools] = MortalSpools

    def __init__(self, seed: int, tell: Callable[[float, str], None] | None = None) -> None:
        self._seed = seed
        self._loop = asyncio.get_running_loop()
        self._tell_all = tell
        self.testimony = Testimony()
        self._dice = self.dice_of("world")
        self._ids = CountingIds()
        self.pids = count(100)
        self.disk = self.make_disk(self.dice_of("disk"))
        self._server: ServerLife | None = None
        self._serving: asyncio.Task[None] | None = None
        self._down_until = 0.0
        self._jump = 0  # of the server's wall clock, in ms
        self.routes: dict[str, Route] = {}
        self._streams: list[tuple[str, Stream[Any, Any]]] = []  # Any: of workers and of watchers
        self.posts: list[Post] = []
        self.over = False

    # The phases

    def tell(self, text: str) -> None:
        if self._tell_all:
            self._tell_all(self._loop.time(), text)

    async def run(self) -> Testimony:
        """Runs the world to its end; returns the records."""
        async with asyncio.TaskGroup() as machines:
            machines.create_task(self._keep_server(), name="server")
            for number in range(self._dice.randint(1, 4)):
                post = Post(self, f"w{number}", machines)
                self.posts.append(post)
                machines.create_task(post.run(), name=post.name)
            try:
                await self._live()
            finally:
                self.over = True
                await self.end_server()
                for post in self.posts:
                    await post.crash()
        return self.testimony

    async def _live(self) -> None:
        try:
            async with asyncio.timeout(CHAOS_SECONDS + CALM_SECONDS):
                async with asyncio.TaskGroup() as tasks:
                    line = Line(self, "zoe")
                    listener = Listener(line, self.dice_of("zoe"), self.testimony)
                    listening = tasks.create_task(listener.live(), name="zoe")
                    await listener.begun.wait()
                    clients = await self._chaos()
                    await self._audit(clients[0])
                    await listener.hears_the_end_of(
                        {job.id for job in self.testimony.lists[-1].jobs}
                    )
                    listening.cancel()
        except TimeoutError:
            names = sorted(
                task.get_coro().__qualname__  # type: ignore[union-attr]  # every coroutine has one
                for task in asyncio.all_tasks()
            )
            self.testimony.stuck += [f"not over in time; there were {names}"]

    async def _chaos(self) -> list[Client]:
        async with asyncio.TaskGroup() as crowd:
            clients = [
                Client(name, Line(self, name), self.dice_of(name), self.testimony, crowd)
                for name in ("ann", "bob", "eve")
            ]
            for client in clients:
                crowd.create_task(client.live(CHAOS_SECONDS))
            trouble = crowd.create_task(Trouble(self, self.dice_of("trouble")).run())
            await asyncio.sleep(CHAOS_SECONDS)
            trouble.cancel()
            self.heal()
        return clients

    async def _audit(self, client: Client) -> None:
        """Reads every job's events to the end, the list of jobs, and every job's artifacts."""
        # Until no call and no duplicate of a call is in flight
        await asyncio.sleep(2 * LATE_SECONDS + DELAY_SECONDS_MAX)
        await client.list_all()
        async with asyncio.TaskGroup() as auditors:
            for job in self.testimony.lists[-1].jobs:
                self.testimony.viewings.append(viewing := Viewing(job.id, 1))
                auditors.create_task(client.see(viewing))
        await client.list_all()
        for job in self.testimony.lists[-1].jobs:
            await client.fetch(job.id)
        for post in self.posts:
            if post.worker:
                self.testimony.slots[post.worker] = post.options.slots
                self.testimony.serves[post.worker] = post.options.queues

    def heal(self) -> None:
        """Ends all faults and repairs the network, the disk and the machines."""
        self.tell("healed")
        self._down_until = 0.0
        self.disk.full = self.disk.low = self.disk.broken = False
        self.disk.slow = 1.0
        for route in self.routes.values():
            route.heal()
        for post in self.posts:
            post.down_until = 0.0
        self.testimony.calm_from = self._loop.time() + KEEPALIVE_SECONDS + 2 * SPAN_SECONDS_MAX

    # The network

    def route(self, host: str) -> Route:
        if host not in self.routes:
            self.routes[host] = Route(self.dice_of(f"route {host}"))
        return self.routes[host]

    def server(self) -> ServerLife | None:
        """The running server life; None if there is none."""
        return self._server if self._server and not self._server.dead else None

    def streams(self) -> list[tuple[str, Stream[Any, Any]]]:  # Any: as above
        self._streams = [each for each in self._streams if not each[1].is_over]
        return self._streams

    async def connect(self, host: str) -> Stream[Any, Any]:  # Any: as above
        """Opens a stream to the server; the server has not accepted it yet."""
        route = self.route(host)
        await asyncio.sleep(route.delay())
        if route.cut_off:
            await asyncio.sleep(route.dice.choice([0, 1.0, 30.0]))
            raise ChannelClosed("the network is unreachable")
        if not self.server():
            raise ChannelClosed("nobody listens")
        stream: Stream[Any, Any] = Stream(route)  # Any: as above
        self._streams.append((host, stream))
        return stream

    # The server

    async def _keep_server(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            while not self.over:
                self._server = life = self.server_life(self.disk, self._ids, self.tell)
                self._serving = tasks.create_task(self._serve(life))
                await asyncio.wait([self._serving])
                await life.die()
                self.tell("the server is gone")
                await until(lambda: self.over or self._loop.time() >= self._down_until)

    async def _serve(self, life: ServerLife) -> None:
        wall = Instant(WALL + self._jump + round(self._loop.time() * 1000))
        try:
            await life.live(wall, self._begun)
        except* OSError as errors:
            self.tell(f"the server stops: {errors.exceptions}")
        except* Exception:
            if not life.killed:
                raise

    def _begun(self, epoch: Epoch) -> None:
        self.tell(f"the server begins, at {epoch.began}")
        self.testimony.epochs.append(epoch)

    async def crash_server(self, *, away: float, jump: int = 0) -> None:
        """Kills the server; it restarts after `away` seconds, its wall clock moved by `jump` ms."""
        self._down_until, self._jump = self._loop.time() + away, self._jump + jump
        await self.end_server()

    async def end_server(self) -> None:
        if self._server and self._serving:
            await self._server.die()
            self._serving.cancel()

    def stop_server(self) -> None:
        """Stops the server in order."""
        if (life := self.server()) and life.broker:
            self.tell("the server is told to stop")
            life.broker.stop()

    def dice_of(self, what: str) -> Random:
        return Random(f"{self._seed} {what}")
