"""The time that a worker puts on what it reports."""

import asyncio
from typing import Protocol

from airunner.model.jobs import Instant


class Clock(Protocol):
    def now(self) -> Instant: ...


class LoopClock:
    """Wall time at the start plus the event loop's time since: it never goes back.

    Leases are counted in the loop's time alone, so no wall clock can end one.
    """

    def __init__(self, epoch: Instant) -> None:
        """`epoch` is what the wall clock shows now."""
        self._loop = asyncio.get_running_loop()
        self._offset = epoch - round(self._loop.time() * 1000)

    def now(self) -> Instant:
        return Instant(self._offset + round(self._loop.time() * 1000))
