"""A bounded number of places for work that a slow caller can draw out.

When all places are taken, a newcomer takes the oldest place of the holder that has the most. So one caller
never keeps the others out, and the memory behind the places is bounded. A newcomer that would have more
than the others waits for some time first: a caller that sends much at once loses nothing.

A place that is kept cannot be taken: its work needs the caller no more, and so ends soon.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Hashable
from contextlib import asynccontextmanager
from functools import partial

from airunner.model.errors import LimitReached, ShuttingDown


class FairPlaces:
    """At most `most` places; `name` is that of the limit.

    A newcomer waits up to `patience` seconds before it takes a place of a holder with no more places.
    """

    def __init__(self, most: int, name: str, *, patience: float = 0) -> None:
        self._most = most
        self._name = name
        self._patience = patience
        self._taken = 0
        self._closed = False
        self._holders: dict[Hashable, dict[asyncio.Timeout, None]] = {}  # the oldest place first
        self._kept: set[asyncio.Timeout] = set()
        self._waiting: deque[asyncio.Future[None]] = deque()

    def __len__(self) -> int:
        return self._taken

    @asynccontextmanager
    async def hold(self, holder: Hashable) -> AsyncIterator[Callable[[], None]]:
        """Holds a place for a block, which may call the yielded function to keep it.

        Raises LimitReached in a block that has lost its place, and ShuttingDown after close().
        """
        await self._make_room(holder)
        try:
            async with asyncio.timeout(None) as place:
                self._holders.setdefault(holder, {})[place] = None
                self._taken += 1
                try:
                    yield partial(self._keep, holder, place)
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
        """Ends every place that is not kept, and every newcomer, with ShuttingDown."""
        self._closed = True
        while self._take_away(None):
            pass
        while self._waiting:
            self._wake_next()

    async def _make_room(self, holder: Hashable) -> None:
        patient = self._patience > 0
        while not self._closed and self._taken == self._most:
            if self._take_away(holder if patient else None):
                break
            patient = await self._turn()
        if self._closed:
            raise ShuttingDown

    async def _turn(self) -> bool:
        """Waits until a place may be free; returns whether one is before the patience ends."""
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            async with asyncio.timeout(self._patience or None):
                await turn
        except TimeoutError:
            return False
        except asyncio.CancelledError:
            if not turn.cancelled():
                self._wake_next()
            raise
        return True

    def _wake_next(self) -> None:
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return

    def _take_away(self, newcomer: Hashable | None) -> bool:
        """Takes the oldest place of the holder with the most; returns whether there is such a place.

        With a newcomer, only a holder that keeps as many as the newcomer's gets loses a place.
        """
        if not self._holders:
            return False
        holder = max(self._holders, key=lambda each: len(self._holders[each]))
        places = self._holders[holder]
        if newcomer is not None and len(places) < len(self._holders.get(newcomer, ())) + 2:
            return False
        place = next(iter(places))
        self._drop(holder, place)
        self._taken -= 1
        place.reschedule(asyncio.get_running_loop().time())
        return True

    def _keep(self, holder: Hashable, place: asyncio.Timeout) -> None:
        if self._drop(holder, place):
            self._kept.add(place)

    def _leave(self, holder: Hashable, place: asyncio.Timeout) -> None:
        if place in self._kept or self._drop(holder, place):
            self._kept.discard(place)
            self._taken -= 1
            self._wake_next()

    def _drop(self, holder: Hashable, place: asyncio.Timeout) -> bool:
        """Forgets a place that can be taken; returns False if it is taken or kept."""
        places = self._holders.get(holder, {})
        if place not in places:
            return False
        del places[place]
        if not places:
            del self._holders[holder]
        return True
