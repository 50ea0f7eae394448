"""Parking: fair lines in which no wake-up is lost."""

import asyncio

from airunner.server.parking_lot import ParkingLot
from tests.promises import promise
from tests.support.loop import until_idle, virtually


@virtually
async def test_the_first_to_park_is_the_first_to_be_woken() -> None:
    lot, order = ParkingLot(), list[str]()

    async def park(name: str) -> None:
        assert await lot.park("key")
        order.append(name)

    async with asyncio.TaskGroup() as tasks:
        for name in "abc":
            tasks.create_task(park(name))
        await until_idle()
        assert len(lot) == 3
        lot.wake("key", 2)
        await until_idle()
        assert order == ["a", "b"]
        lot.wake("key")
    assert order == ["a", "b", "c"]
    assert len(lot) == 0


@virtually
async def test_to_wake_nobody_is_fine() -> None:
    ParkingLot().wake("nobody", 3)
    ParkingLot().wake_all()


@virtually
async def test_who_waits_too_long_is_told_so() -> None:
    lot = ParkingLot()
    assert not await lot.park("key", seconds=5)
    assert asyncio.get_running_loop().time() == 5
    assert not lot._lines


@virtually
async def test_who_is_called_and_timed_out_at_once_was_called() -> None:
    lot = ParkingLot()
    asyncio.get_running_loop().call_at(5, lot.wake, "key")
    assert await lot.park("key", seconds=5)


@virtually
async def test_one_who_parks_on_two_keys_is_woken_by_either_and_leaves_both() -> None:
    lot = ParkingLot()
    async with asyncio.TaskGroup() as tasks:
        parked = tasks.create_task(lot.park("a", "b", "b"))
        await until_idle()
        lot.wake("b", 1)
        assert await parked
    assert not lot._lines


@virtually
async def test_a_call_skips_one_who_is_called_already() -> None:
    lot = ParkingLot()
    async with asyncio.TaskGroup() as tasks:
        first, second = (tasks.create_task(lot.park("a", "b")) for _ in range(2))
        await until_idle()
        lot.wake("a", 1)
        lot.wake("b", 1)
        assert await first
        assert await second


@promise(
    "jobs/waiting-sides-meet",
    "A waiting job and a waiting worker find each other. No wake-up is lost.",
)
@virtually
async def test_one_who_was_called_and_cannot_go_calls_the_next() -> None:
    lot = ParkingLot()
    async with asyncio.TaskGroup() as tasks:
        first, second = (tasks.create_task(lot.park("key")) for _ in range(2))
        await until_idle()
        lot.wake("key", 1)
        first.cancel()
        assert await second


@virtually
async def test_one_who_leaves_without_having_been_called_calls_nobody() -> None:
    lot = ParkingLot()
    async with asyncio.TaskGroup() as tasks:
        first, second = (tasks.create_task(lot.park("key")) for _ in range(2))
        await until_idle()
        first.cancel()
        await until_idle()
        assert not second.done()
        lot.wake_all()
