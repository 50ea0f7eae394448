"""A bounded number of places for work that a slow caller can draw out.

When all places are taken, a newcomer takes the place of the oldest of the holder that has the most. So
one caller never keeps the others out, and the memory behind the places is bounded.
"""

import asyncio
from collections.abc import AsyncIterator, Hashable
from contextlib import asynccontextmanager

from airunner.model.errors import LimitReached, ShuttingDown


class FairPlaces:
    """At most `most` places; `name` is that of the limit."""

    def __init__(self, most: int, name: str) -> None:
        self._most = most
        self._name = name
        self._taken = 0
        self._closed = False
        self._holders: dict[Hashable, dict[asyncio.Timeout, None]] = {}  # the oldest place first

    def __len__(self) -> int:
        return self._taken

    @asynccontextmanager
    async def hold(self, holder: Hashable) -> AsyncIterator[None]:
        """Holds a place for a block. Raises LimitReached in a block that has lost its place."""
        try:
            async with asyncio.timeout(None) as place:
                if self._taken == self._most:
                    self._take_away()
                self._holders.setdefault(holder, {})[place] = None
                self._taken += 1
                try:
                    yield
                finally:
                    self._leave(holder, place)
        except TimeoutError:
            if not place.expired():
                raise
            if self._closed:
                raise ShuttingDown from None
            raise LimitReached(
                f"this caller had the most of all {self._name} ({self._most}), and another came: "
                "try again later"
            ) from None

    def close(self) -> None:
        """Ends every place with ShuttingDown."""
        self._closed = True
        while self._taken:
            self._take_away()

    def _take_away(self) -> None:
        holder = max(self._holders, key=lambda each: len(self._holders[each]))
        place = next(iter(self._holders[holder]))
        self._leave(holder, place)
        place.reschedule(asyncio.get_running_loop().time())

    def _leave(self, holder: Hashable, place: asyncio.Timeout) -> None:
        places = self._holders.get(holder, {})
        if place in places:
            del places[place]
            self._taken -= 1
            if not places:
                del self._holders[holder]
