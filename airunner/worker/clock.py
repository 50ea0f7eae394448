"""The clock for the timestamps of a worker's reports."""

import asyncio
from typing import Protocol

from airunner.model.jobs import Instant


class Clock(Protocol):
    """A source of wall time that never goes back."""

    def now(self) -> Instant: ...


class LoopClock:
    """The wall time at the start plus the event loop's time since; implements Clock.

    Leases are counted in the loop's time alone, so a step of the wall clock ends no lease.
    """

    def __init__(self, epoch: Instant) -> None:
        """`epoch` is the current wall time."""
        self._loop = asyncio.get_running_loop()
        self._offset = epoch - round(self._loop.time() * 1000)

    def now(self) -> Instant:
        return Instant(self._offset + round(self._loop.time() * 1000))
