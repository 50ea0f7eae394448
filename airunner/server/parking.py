"""Tasks asleep until something they asked about has happened.

A fair waiting line for each key: first parked, first woken. A task may park on
several keys at once and is woken by the first. A woken task that was cancelled
meanwhile passes its turn on to the next in the same line: a wake-up is never
lost (trio's ParkingLot has the long story of why that must hold).
"""

import asyncio
from collections.abc import Hashable


class Parking:
    """Lines by key. A key without sleepers takes no memory."""

    def __init__(self) -> None:
        self._lines: dict[Hashable, dict[asyncio.Future[Hashable], None]] = {}

    def __len__(self) -> int:
        return sum(map(len, self._lines.values()))

    async def park(self, *keys: Hashable, seconds: float | None = None) -> bool:
        """Sleep until one of the keys is woken; False if that took too long."""
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
            return not spot.cancelled()  # Called and timed out at once: called.
        except asyncio.CancelledError:
            if spot.done() and not spot.cancelled():
                self.wake(spot.result(), 1)  # Called, but cannot go: call the next in line.
            raise
        finally:
            for key in keys:
                self._leave(key, spot)
        return True

    def wake(self, key: Hashable, count: int | None = None) -> None:
        """Wake the first `count` of a line, or all of it."""
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
