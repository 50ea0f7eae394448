"""The restarts of a worker process whose supervisor was killed, and the pauses before them.

A supervisor that dies soon after each start would make the worker start again in a tight loop, and
each start registers with the server. The pause before a restart grows with the number of restarts in
a row, as a Backoff. The number is kept in the environment, which the next program of the process
inherits; jobs get no variable with this prefix. Rejected: a file in the work folder, which the disk
of a worker in trouble may refuse.
"""

import asyncio
import time
from collections.abc import MutableMapping
from random import Random
from typing import Final

from airunner.worker.session.backoff import Backoff

PAUSE_SECONDS_MAX: Final = 30.0  # bound of the longest pause
STEADY_SECONDS: Final = 60.0  # a worker that has run for longer begins with the first pause again
RESTARTS: Final = "AIRUNNER_RESTARTS"  # variable with the number of restarts in a row
_DIGITS_MAX: Final = 9


class Restarts:
    """The restarts in a row of one worker process, counted from its environment."""

    def __init__(
        self, environment: MutableMapping[str, str], dice: Random, began: float | None = None
    ) -> None:
        """`began` is the start of this program, as in time.monotonic(); the default is now."""
        self._environment = environment
        self._dice = dice
        self._began = time.monotonic() if began is None else began
        self.count = _number(environment.get(RESTARTS, ""))

    def add(self) -> float:
        """Counts one more restart, also for the next program; returns the seconds to pause."""
        if time.monotonic() - self._began >= STEADY_SECONDS:
            self.count = 0
        pause = Backoff(self._dice, PAUSE_SECONDS_MAX, failures=self.count).next()
        self.count += 1
        self._environment[RESTARTS] = str(self.count)
        return pause


async def pause(seconds: float, stopped: asyncio.Event) -> bool:
    """Waits, and returns at once when the process is to stop; returns whether it is."""
    try:
        async with asyncio.timeout(seconds):
            await stopped.wait()
    except TimeoutError:
        return False
    return True


def _number(text: str) -> int:
    digits = text.isascii() and text.isdecimal() and len(text) <= _DIGITS_MAX
    return int(text) if digits else 0
