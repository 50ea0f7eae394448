"""Transfers that callers share."""

import asyncio

import pytest

from airunner.model.errors import Unreachable
from airunner.model.limits import TRANSFER_BYTES_PER_SECOND_MIN, TRANSFER_WAIT_SECONDS_MAX
from airunner.server.fairness.transfers import FairTransfers, Transfer
from tests.support.loop import until_idle, virtually

WAIT = TRANSFER_WAIT_SECONDS_MAX


class Crowd:
    """Transfers that last until they are told to end, and the names of those that lost their place."""

    def __init__(self, most: int, tasks: asyncio.TaskGroup) -> None:
        self.places, self._tasks = FairTransfers(most), tasks
        self.running: dict[str, Transfer] = {}
        self.lost: list[str] = []
        self.going: dict[str, asyncio.Task[None]] = {}

    async def come(self, name: str, *, waits: bool = True, rate: int = 0) -> None:
        async def transfer() -> None:
            try:
                async with self.places.hold(name[0]) as mine:
                    self.running[name] = mine
                    mine.waits = waits
                    try:
                        while True:
                            await asyncio.sleep(1)
                            mine.moved += rate
                    finally:
                        del self.running[name]
            except Unreachable:
                self.lost.append(name)

        self.going[name] = self._tasks.create_task(transfer())
        await until_idle()

    async def go(self, name: str) -> None:
        self.going[name].cancel()
        await until_idle()

    def end(self) -> None:
        for each in self.going.values():
            each.cancel()


@virtually
async def test_slow_transfers_end_once_another_caller_waits() -> None:
    async with asyncio.TaskGroup() as tasks:
        crowd = Crowd(3, tasks)
        await crowd.come("a1")
        await crowd.come("a2", rate=TRANSFER_BYTES_PER_SECOND_MIN * 2)
        await crowd.come("a3", waits=False)
        await asyncio.sleep(100)
        assert not crowd.lost
        await crowd.come("b1")
        await asyncio.sleep(WAIT + 1)
        assert crowd.lost == ["a1"]
        assert sorted(crowd.running) == ["a2", "a3", "b1"]
        crowd.end()


@virtually
async def test_a_caller_without_a_transfer_gets_one_of_the_caller_with_the_most() -> None:
    fast = TRANSFER_BYTES_PER_SECOND_MIN * 2
    async with asyncio.TaskGroup() as tasks:
        crowd = Crowd(3, tasks)
        await crowd.come("b1", rate=fast)
        await crowd.come("a1", rate=3 * fast)
        await crowd.come("a2", rate=2 * fast)
        await crowd.come("a3", rate=fast)
        await asyncio.sleep(3 * WAIT)
        assert not crowd.lost
        await crowd.come("c1", rate=fast)
        await asyncio.sleep(2 * WAIT)
        assert crowd.lost == ["a2"]
        assert sorted(crowd.running) == ["a1", "b1", "c1"]
        await crowd.come("d1", rate=fast)
        await asyncio.sleep(3 * WAIT)
        assert crowd.lost == ["a2"]
        crowd.end()


@virtually
async def test_a_free_place_goes_to_the_caller_with_the_fewest() -> None:
    async with asyncio.TaskGroup() as tasks:
        crowd = Crowd(2, tasks)
        for name in ("a1", "a2", "a3", "b1", "c1"):
            await crowd.come(name)
        await crowd.go("c1")
        await crowd.go("a1")
        assert sorted(crowd.running) == ["a2", "b1"]
        await crowd.go("b1")
        assert sorted(crowd.running) == ["a2", "a3"]
        await crowd.go("a2")
        await crowd.go("a3")
        await crowd.come("d1")
        await crowd.come("d2")
        assert sorted(crowd.running) == ["d1", "d2"]
        await asyncio.sleep(3 * WAIT)
        assert not crowd.lost
        crowd.end()


@virtually
async def test_a_timeout_of_the_block_is_its_own() -> None:
    places = FairTransfers(1)
    with pytest.raises(TimeoutError):
        async with places.hold("ann"), asyncio.timeout(1):
            await asyncio.sleep(2)


@virtually
async def test_a_turn_that_comes_with_the_end_of_its_waiter_passes_on() -> None:
    async with asyncio.TaskGroup() as tasks:
        crowd = Crowd(1, tasks)
        for name in ("a1", "b1", "c1"):
            await crowd.come(name)
        crowd.going["a1"].cancel()
        await asyncio.sleep(0)
        crowd.going["b1"].cancel()
        await until_idle()
        assert sorted(crowd.running) == ["c1"]
        crowd.end()


@virtually
async def test_a_failure_of_a_transfers_own_is_told_as_it_is_and_frees_its_place() -> None:
    places = FairTransfers(1)
    for _ in range(2):
        with pytest.raises(TimeoutError, match="of the disk"):
            async with places.hold("ann"):
                raise TimeoutError("of the disk")
