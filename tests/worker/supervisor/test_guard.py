"""The worker's watch over its supervisor, with a supervisor whose answers the test gives."""

import asyncio
import socket
import subprocess
from collections.abc import Awaitable, Callable

from airunner.worker.supervisor import protocol
from airunner.worker.supervisor.guard import SupervisorGuard
from tests.zoo import SECONDS_MAX


class Answerer:
    """The supervisor's end of the control socket, and a process that stands for the supervisor."""

    def __init__(self, answer_seconds: float) -> None:
        self._ours, self._control = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        for each in (self._ours, self._control):
            each.setblocking(False)
        self._process = subprocess.Popen(["sleep", "1000"], start_new_session=True)
        self.guard = SupervisorGuard(self._process, self._ours, None, answer_seconds)
        self.died = asyncio.Event()
        self.gone = asyncio.Event()
        self.guard.watch(self.died.set, self.gone.set)

    async def ping(self) -> int:
        """The number of the next ping."""
        message = await asyncio.get_running_loop().sock_recv(self._control, 100)
        verb, number = message.split()
        assert verb == protocol.PING
        return int(number)

    def answer(self, number: int) -> None:
        self._control.send(b"%b %d" % (protocol.PONG, number))

    async def lives_at_the_next_check(self) -> bool:
        """Whether the guard pings a second time, instead of killing the supervisor."""
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self.ping()), group.create_task(self.died.wait())]
            done, waiting = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for each in waiting:
                each.cancel()
        return tasks[0] in done

    def kill(self) -> None:
        self._process.kill()

    async def end(self) -> None:
        self.kill()
        await self.gone.wait()
        self._ours.close()
        self._control.close()


def play(scene: Callable[[Answerer], Awaitable[None]], answer_seconds: float = 0) -> None:
    async def within() -> None:
        async with asyncio.timeout(SECONDS_MAX):
            answerer = Answerer(answer_seconds)
            try:
                await scene(answerer)
            finally:
                await answerer.end()

    asyncio.run(within())


def test_a_supervisor_whose_answers_lag_behind_a_stream_of_starts_is_not_killed() -> None:
    async def scene(answerer: Answerer) -> None:
        answerer.guard.demand_answer(urgent=True)
        urgent = await answerer.ping()
        for _ in range(10):
            answerer.guard.demand_answer(urgent=False)
            await answerer.ping()
        answerer.answer(urgent + 3)
        assert await answerer.lives_at_the_next_check()
        assert await answerer.lives_at_the_next_check()

    play(scene)


def test_a_supervisor_that_answers_only_an_earlier_ping_is_killed() -> None:
    async def scene(answerer: Answerer) -> None:
        answerer.guard.demand_answer(urgent=True)
        first = await answerer.ping()
        answerer.guard.demand_answer(urgent=True)
        await answerer.ping()
        answerer.answer(first)
        assert not await answerer.lives_at_the_next_check()

    play(scene)


def test_a_slow_start_of_a_command_kills_no_supervisor() -> None:
    async def scene(answerer: Answerer) -> None:
        answerer.guard.demand_answer(urgent=False)
        await answerer.ping()
        assert await answerer.lives_at_the_next_check()

    play(scene)


def test_the_answer_of_a_living_supervisor_ends_the_wait_for_orphans() -> None:
    async def scene(answerer: Answerer) -> None:
        answerer.guard.demand_answer(urgent=False)
        earlier = await answerer.ping()
        ended = asyncio.Event()
        answerer.guard.when_orphans_gone(ended.set)
        number = await answerer.ping()
        answerer.answer(earlier)
        assert await answerer.lives_at_the_next_check()
        assert not ended.is_set()
        answerer.answer(number)
        await ended.wait()
        assert not answerer.died.is_set()

    play(scene, SECONDS_MAX)


def test_orphans_of_a_supervisor_that_dies_slowly_are_awaited() -> None:
    async def scene(answerer: Answerer) -> None:
        ended = asyncio.Event()
        answerer.guard.when_orphans_gone(ended.set)
        await answerer.ping()
        assert await answerer.lives_at_the_next_check()
        assert not ended.is_set()
        answerer.kill()
        await ended.wait()
        assert answerer.gone.is_set()
        again = asyncio.Event()
        answerer.guard.when_orphans_gone(again.set)
        await again.wait()

    play(scene, SECONDS_MAX)


def test_a_supervisor_that_neither_answers_nor_dies_holds_no_attempt_for_ever() -> None:
    async def scene(answerer: Answerer) -> None:
        ended = asyncio.Event()
        answerer.guard.when_orphans_gone(ended.set)
        await answerer.ping()
        await ended.wait()
        assert not answerer.died.is_set()

    play(scene)
