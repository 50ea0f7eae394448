"""The pauses before the restarts of a worker grow, and a stop ends a pause."""

import asyncio
import time
from random import Random

import pytest

from airunner.cli.processes.restarts import (
    PAUSE_SECONDS_MAX,
    RESTARTS,
    STEADY_SECONDS,
    Restarts,
    pause,
)


class Highest(Random):
    """Dice that give the highest number."""

    def uniform(self, a: float, b: float) -> float:
        return b


def test_the_pause_doubles_from_program_to_program_up_to_its_bound() -> None:
    environment = {"PATH": "/usr/bin"}
    pauses = [Restarts(environment, Highest()).add() for _ in range(9)]
    assert pauses[:4] == [0.25, 0.5, 1, 2]
    assert pauses[-1] == PAUSE_SECONDS_MAX
    assert environment == {"PATH": "/usr/bin", RESTARTS: "9"}


def test_a_worker_that_has_run_for_long_begins_with_the_first_pause_again() -> None:
    environment = {RESTARTS: "7"}
    began = time.monotonic() - STEADY_SECONDS
    assert Restarts(environment, Highest(), began).add() == 0.25
    assert environment == {RESTARTS: "1"}


@pytest.mark.parametrize("text", ["", "-1", "x", "\u0663", "9" * 5000])
def test_a_variable_that_is_no_number_counts_as_no_restart(text: str) -> None:
    assert Restarts({RESTARTS: text}, Highest()).add() == 0.25


def test_a_stop_ends_a_pause() -> None:
    async def scene() -> None:
        stopped = asyncio.Event()
        assert not await pause(0, stopped)
        asyncio.get_running_loop().call_soon(stopped.set)
        assert await pause(1000, stopped)

    asyncio.run(scene())
