"""Places that slow callers share."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from airunner.model.errors import LimitReached, ShuttingDown
from airunner.server.fairness.fair_places import FairPlaces
from tests.support.loop import until_idle, virtually


def test_a_newcomer_takes_the_oldest_place_of_the_holder_with_the_most() -> None:
    async def main() -> None:
        places, lost, told = FairPlaces(3, "PLACES_MAX"), list[str](), asyncio.Event()

        async def hold(holder: str, name: str) -> None:
            try:
                async with places.hold(holder):
                    await asyncio.get_running_loop().create_future()
            except LimitReached as refusal:
                lost.append(f"{name}: {refusal}")
                told.set()

        async with asyncio.TaskGroup() as tasks:
            holding = []
            for holder, name in (("ann", "1"), ("bob", "2"), ("ann", "3"), ("cho", "4")):
                holding.append(tasks.create_task(hold(holder, name)))
                await asyncio.sleep(0)
            await told.wait()
            (why,) = lost
            assert why.startswith("1: ")
            assert "PLACES_MAX (3)" in why
            assert len(places) == 3
            for each in holding:
                each.cancel()
        assert len(places) == 0

    asyncio.run(main())


def test_a_timeout_within_a_place_is_the_blocks_own() -> None:
    async def main() -> None:
        places = FairPlaces(1, "PLACES_MAX")
        with pytest.raises(TimeoutError, match="own"):
            async with places.hold("ann"):
                raise TimeoutError("own")
        assert len(places) == 0

    asyncio.run(main())


def test_closed_places_end_with_the_server() -> None:
    async def main() -> None:
        places = FairPlaces(2, "PLACES_MAX")

        async def hold() -> None:
            with pytest.raises(ShuttingDown):
                async with places.hold("ann"):
                    await asyncio.get_running_loop().create_future()

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(hold())
            tasks.create_task(hold())
            await asyncio.sleep(0)
            places.close()

    asyncio.run(main())


class Holders:
    """Callers that hold places until they are told to leave."""

    def __init__(self, places: FairPlaces, tasks: asyncio.TaskGroup) -> None:
        self._places, self._tasks = places, tasks
        self.inside: dict[
            str, Callable[[], None]
        ] = {}  # the function that keeps the place, by name
        self.lost: list[str] = []
        self.running: dict[str, asyncio.Task[None]] = {}

    async def come(self, *names: str) -> None:
        """Callers ask for a place one after the other; the first letter is that of the holder."""
        for name in names:
            self.running[name] = self._tasks.create_task(self._hold(name))
            await until_idle()

    async def leave(self, name: str) -> None:
        self.running.pop(name).cancel()
        await until_idle()

    async def _hold(self, name: str) -> None:
        try:
            async with self._places.hold(name[0]) as keep:
                self.inside[name] = keep
                try:
                    await asyncio.get_running_loop().create_future()
                finally:
                    del self.inside[name]
        except LimitReached:
            self.lost.append(name)


@asynccontextmanager
async def holders(most: int) -> AsyncIterator[Holders]:
    async with asyncio.TaskGroup() as tasks:
        places = FairPlaces(most, "PLACES_MAX", patience=10)
        yield (holders := Holders(places, tasks))
        for each in holders.running.values():
            each.cancel()
    assert len(places) == 0


@virtually
async def test_a_caller_that_comes_much_at_once_waits_for_its_own_and_loses_nothing() -> None:
    async with holders(2) as the:
        await the.come("a1", "a2", "a3", "a4")
        await asyncio.sleep(9)
        assert (list(the.inside), the.lost) == (["a1", "a2"], [])
        await the.leave("a1")
        assert list(the.inside) == ["a2", "a3"]
        await the.leave("a2")
        assert list(the.inside) == ["a3", "a4"]
        assert not the.lost


@virtually
async def test_a_caller_that_has_waited_long_takes_the_oldest_place_of_its_own() -> None:
    async with holders(2) as the:
        await the.come("a1", "a2", "a3")
        await asyncio.sleep(11)
        assert (list(the.inside), the.lost) == (["a2", "a3"], ["a1"])


@virtually
async def test_another_caller_takes_a_place_at_once_from_a_caller_with_more_than_its_own() -> None:
    async with holders(3) as the:
        await the.come("a1", "a2", "a3", "b1", "b2")
        assert (list(the.inside), the.lost) == (["a2", "a3", "b1"], ["a1"])
        await the.leave("b1")
        assert list(the.inside) == ["a2", "a3", "b2"]


@virtually
async def test_a_kept_place_is_never_taken_and_a_newcomer_waits_for_its_end() -> None:
    async with holders(2) as the:
        await the.come("a1", "a2")
        for keep in the.inside.values():
            keep()
        await the.come("b1", "a3")
        await asyncio.sleep(100)
        assert (list(the.inside), the.lost) == (["a1", "a2"], [])
        await the.leave("a1")
        assert list(the.inside) == ["a2", "b1"]


@virtually
async def test_a_waiting_caller_that_leaves_with_a_free_place_leaves_it_to_the_next() -> None:
    async with holders(1) as the:
        await the.come("a1", "a2", "a3", "a4")
        await the.leave("a2")
        the.running.pop("a1").cancel()
        await asyncio.sleep(0)
        assert not the.inside
        await the.leave("a3")
        assert list(the.inside) == ["a4"]


@virtually
async def test_a_place_that_was_taken_cannot_be_kept() -> None:
    async with holders(1) as the:
        await the.come("a1")
        keep = the.inside["a1"]
        await asyncio.sleep(1)
        await the.come("a2")
        await asyncio.sleep(11)
        keep()
        assert (list(the.inside), the.lost) == (["a2"], ["a1"])


@virtually
async def test_closed_places_take_no_newcomer_and_end_the_wait_of_all() -> None:
    places, told = FairPlaces(1, "PLACES_MAX", patience=10), list[str]()

    async def refused(name: str) -> None:
        with pytest.raises(ShuttingDown):
            async with places.hold("ann"):
                await asyncio.get_running_loop().create_future()
        told.append(name)

    async with asyncio.timeout(5), asyncio.TaskGroup() as tasks:
        for name in ("inside", "waits", "waits too"):
            tasks.create_task(refused(name))
        await until_idle()
        places.close()
        tasks.create_task(refused("late"))
    assert sorted(told) == ["inside", "late", "waits", "waits too"]
    assert len(places) == 0
