"""Places that slow callers share."""

import asyncio

import pytest

from airunner.model.errors import LimitReached, ShuttingDown
from airunner.server.fairness.fair_places import FairPlaces


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
