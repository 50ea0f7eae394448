"""Parked tasks: each sleeps until another task wakes one of its keys.

Each key has a fair line: the first parked task is the first to wake. A task may park on several keys
and is woken by the first of them. A woken task that was cancelled meanwhile passes its wake-up on to
the next task in the same line, so no wake-up is lost (trio's ParkingLot explains why that must hold).
"""

import asyncio
from collections.abc import Hashable


class ParkingLot:
    """Lines of parked tasks by key. A key without tasks takes no memory."""

    def __init__(self) -> None:
        self._lines: dict[Hashable, dict[asyncio.Future[Hashable], None]] = {}

    def __len__(self) -> int:
        return sum(map(len, self._lines.values()))

    async def park(self, *keys: Hashable, seconds: float | None = None) -> bool:
        """Sleeps until one of the keys is woken; False after `seconds` without that."""
        spot: asyncio.Future[Hashable] = asyncio.get_running_loop().create_future()
        for key in keys:
            self._lines.setdefault(key, {})[spot] = None
        try:
            if seconds is None:
                await spot
            else:
                async with asyncio.timeout(seconds):
                    await spot
        except TimeoutError:
            return not spot.cancelled()  # Woken and timed out at once: woken.
        except asyncio.CancelledError:
            if spot.done() and not spot.cancelled():
                self.wake(spot.result(), 1)  # Woken and cancelled at once: wake the next in line.
            raise
        finally:
            for key in keys:
                self._leave(key, spot)
        return True

    def wake(self, key: Hashable, count: int | None = None) -> None:
        """Wakes the first `count` tasks of a line, or all of them."""
        line = self._lines.get(key)
        while line and count != 0:
            spot = next(iter(line))
            del line[spot]
            if not spot.done():
                spot.set_result(key)
                count = None if count is None else count - 1

    def wake_all(self) -> None:
        for key in list(self._lines):
            self.wake(key)

    def _leave(self, key: Hashable, spot: asyncio.Future[Hashable]) -> None:
        if (line := self._lines.get(key)) is not None:
            line.pop(spot, None)
            if not line:
                del self._lines[key]
