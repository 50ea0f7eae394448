"""The pause of a task that has much to do, in which the other tasks have their turn."""

import asyncio
from typing import Final

SLICE_SECONDS: Final = 0.01


class TimeSlice:
    """A turn of a task: `await rest()` between two pieces of work, none of which is long."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._began = self._loop.time()

    async def rest(self) -> None:
        """Lets the other tasks run if this turn has lasted for SLICE_SECONDS."""
        if self._loop.time() - self._began > SLICE_SECONDS:
            await asyncio.sleep(0)
            self._began = self._loop.time()
