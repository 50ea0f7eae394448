"""The clock of a server or a worker, driven by the event loop."""

import asyncio
import time
from typing import Protocol

from airunner.model.jobs import Instant


class Clock(Protocol):
    def now(self) -> Instant: ...


class LoopClock:
    """Wall time at the start plus the event loop's time since.

    The clock never goes back, even if NTP sets the wall clock back, so no change of the wall clock ends
    a lease. A test that replaces the loop's time replaces every time. `epoch` is the wall time at the
    start, by default the system's. `floor` is the time of the last event in the log: if the wall clock
    was set back while the server was down, the clock starts there.
    """

    def __init__(self, *, epoch: Instant | None = None, floor: Instant | None = None) -> None:
        self._loop = asyncio.get_running_loop()
        wall = time.time_ns() // 1_000_000 if epoch is None else epoch
        self._offset = max(wall, floor or 0) - round(self._loop.time() * 1000)

    def now(self) -> Instant:
        return Instant(self._offset + round(self._loop.time() * 1000))
