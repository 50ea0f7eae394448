"""The random faults of a simulation, in virtual time."""

import asyncio
from random import Random
from typing import TYPE_CHECKING

from tests.simulation.network import Route

if TYPE_CHECKING:
    from tests.simulation.world import World

HOUR = 3_600_000  # ms


class Trouble:
    """The faults of a seed: few faults of every kind, or many faults of one kind."""

    def __init__(self, world: "World", dice: Random) -> None:
        self._world, self._dice = world, dice
        self._loop = asyncio.get_running_loop()
        self._pause = dice.choice([1.0, 2.0, 4.0, 10.0])  # mean seconds between two faults
        kinds = [
            self._crash_server,
            self._stop_server,
            self._crash_worker,
            self._drain_worker,
            self._cut,
            self._half_open,
            self._cut_off,
            self._lose_calls,
            self._slow_network,
            self._slow_disk,
            self._full_disk,
            self._low_disk,
            self._break_disk,
        ]
        self._kinds = dice.sample(kinds, dice.randint(1, len(kinds)))

    async def run(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            while True:
                await asyncio.sleep(self._dice.expovariate(1 / self._pause))
                tasks.create_task(self._dice.choice(self._kinds)())

    def _while(self) -> float:
        """The seconds of a fault: often short, occasionally longer than any lease."""
        return self._dice.choice([0.1, 0.5, 2.0, 2.0, 5.0, 10.0, 16.0])

    async def _crash_server(self) -> None:
        jump = self._dice.choice([0, 0, HOUR, -HOUR, 1_000, -1_000, 24 * HOUR])
        away = self._while()
        self._world.tell(f"TROUBLE the server crashes, for {away} s, its clock set by {jump} ms")
        await self._world.crash_server(away=away, jump=jump)

    async def _stop_server(self) -> None:
        self._world.stop_server()

    async def _crash_worker(self) -> None:
        post, away = self._dice.choice(self._world.posts), self._while()
        self._world.tell(f"TROUBLE {post.name} crashes, for {away} s")
        await post.crash(away)

    async def _drain_worker(self) -> None:
        post, away = self._dice.choice(self._world.posts), self._while()
        self._world.tell(f"TROUBLE {post.name} drains")
        post.drain(away)

    async def _cut(self) -> None:
        if streams := self._world.streams():
            host, stream = self._dice.choice(streams)
            self._world.tell(f"TROUBLE a stream of {host} breaks")
            stream.cut()

    async def _half_open(self) -> None:
        if streams := self._world.streams():
            host, stream = self._dice.choice(streams)
            self._world.tell(f"TROUBLE a stream of {host} is half open")
            stream.half_open()

    def _routes(self) -> list[tuple[str, Route]]:
        routes = list(self._world.routes.items())
        return routes if self._dice.random() < 0.2 else [self._dice.choice(routes)]

    async def _cut_off(self) -> None:
        routes, away = self._routes(), self._while()
        self._world.tell(f"TROUBLE {[host for host, _ in routes]} are cut off for {away} s")
        for _, route in routes:
            route.cut_off = True
        await asyncio.sleep(away)
        for host, route in routes:
            route.reconnect()
            for other, stream in self._world.streams():
                if other == host and self._dice.random() < 0.5:
                    stream.cut()

    async def _lose_calls(self) -> None:
        self._world.tell("TROUBLE calls are lost and come twice")
        for _, route in self._routes():
            route.loss, route.twice = self._dice.choice([0.1, 0.5]), self._dice.choice([0.0, 0.5])

    async def _slow_network(self) -> None:
        self._world.tell("TROUBLE the network is slow")
        for _, route in self._routes():
            route.slow = self._dice.choice([1.0, 5.0, 20.0])

    async def _slow_disk(self) -> None:
        self._world.tell("TROUBLE the disk is slow")
        self._world.disk.slow = self._dice.choice([1.0, 5.0, 20.0])

    async def _full_disk(self) -> None:
        away = self._while()
        self._world.tell(f"TROUBLE the disk is full for {away} s")
        self._world.disk.full = True
        await asyncio.sleep(away)
        self._world.disk.full = False

    async def _low_disk(self) -> None:
        away = self._while()
        self._world.tell(f"TROUBLE the disk is nearly full for {away} s")
        self._world.disk.low = True
        await asyncio.sleep(away)
        self._world.disk.low = False

    async def _break_disk(self) -> None:
        self._world.tell("TROUBLE the disk breaks")
        self._world.disk.broken = True
