"""A bounded number of transfers, which callers share.

As long as nobody waits, a transfer may be as slow as its line. Once others wait for
TRANSFER_WAIT_SECONDS_MAX, transfers with less than TRANSFER_BYTES_PER_SECOND_MIN end. If
none is slow, a caller that has no transfer at all gets the place of the slowest transfer of the caller
that has the most. A free place goes to the waiting caller with the fewest transfers.
"""

import asyncio
from collections import Counter, deque
from collections.abc import AsyncIterator, Hashable
from contextlib import asynccontextmanager
from itertools import islice

from airunner.model.errors import Unreachable
from airunner.model.limits import TRANSFER_BYTES_PER_SECOND_MIN, TRANSFER_WAIT_SECONDS_MAX


class Transfer:
    """A transfer that holds a place. Its owner counts bytes, and says when it waits for the other end."""

    def __init__(self, holder: Hashable, place: asyncio.Timeout, now: float) -> None:
        self.holder = holder
        self.place = place
        self.since = now  # the begin of the period of `moved`
        self.moved = 0  # bytes
        self.waits = False  # for the other end


class FairTransfers:
    """At most `most` transfers at once; `wait` is the time in seconds after which a wait ends others."""

    def __init__(self, most: int, *, wait: float = TRANSFER_WAIT_SECONDS_MAX) -> None:
        self._most = most
        self._wait = wait
        self._taken = 0
        self._places: Counter[Hashable] = Counter()  # of each holder
        self._transfers: dict[Transfer, None] = {}
        self._waiting: dict[Hashable, deque[asyncio.Future[None]]] = {}
        self._timer: asyncio.TimerHandle | None = None

    @asynccontextmanager
    async def hold(self, holder: Hashable) -> AsyncIterator[Transfer]:
        """Holds a place for a block, once one is free.

        Raises Unreachable in a block that has lost its place.
        """
        await self._enter(holder)
        try:
            async with asyncio.timeout(None) as place:
                transfer = Transfer(holder, place, asyncio.get_running_loop().time())
                self._transfers[transfer] = None
                try:
                    yield transfer
                finally:
                    del self._transfers[transfer]
        except TimeoutError:
            if not place.expired():
                raise
            raise Unreachable(
                "the transfer was slower than TRANSFER_BYTES_PER_SECOND_MIN "
                f"({TRANSFER_BYTES_PER_SECOND_MIN} bytes), or this caller had the most transfers, and "
                f"others waited for {self._wait} s: try again"
            ) from None
        finally:
            self._leave(holder)

    async def _enter(self, holder: Hashable) -> None:
        if self._taken < self._most:
            self._taken += 1
            self._places[holder] += 1
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(holder, deque()).append(turn)
        if self._timer is None:
            self._restart()
        try:
            await turn
        except asyncio.CancelledError:
            if not turn.cancelled():  # it had its turn at that moment
                self._leave(holder)
            raise

    def _leave(self, holder: Hashable) -> None:
        """Passes a place on to the waiting holder with the fewest, or frees it."""
        self._places -= Counter([holder])
        self._forget_cancelled()
        if not self._waiting:
            self._taken -= 1
            return
        next_one = min(self._waiting, key=self._places.__getitem__)
        self._places[next_one] += 1
        self._waiting[next_one].popleft().set_result(None)

    def _forget_cancelled(self) -> None:
        for holder, turns in list(self._waiting.items()):
            left = deque(turn for turn in turns if not turn.done())
            if left:
                self._waiting[holder] = left
            else:
                del self._waiting[holder]

    def _restart(self) -> None:
        """Begins a period: the bytes of a period decide about places."""
        loop = asyncio.get_running_loop()
        for transfer in self._transfers:
            transfer.since, transfer.moved = loop.time(), 0
        self._timer = loop.call_later(self._wait, self._judge)

    def _judge(self) -> None:
        self._timer = None
        self._forget_cancelled()
        if not self._waiting:
            return
        now = asyncio.get_running_loop().time()
        slow = sorted((each for each in self._transfers if self._is_slow(each, now)), key=_moved)
        for transfer in islice(slow, sum(map(len, self._waiting.values()))):
            transfer.place.reschedule(now)
        if not slow and any(not self._places[holder] for holder in self._waiting):
            most = max(self._places, key=self._places.__getitem__)
            if self._places[most] > 1:
                theirs = (each for each in self._transfers if each.holder == most)
                min(theirs, key=_moved).place.reschedule(now)
        self._restart()

    def _is_slow(self, transfer: Transfer, now: float) -> bool:
        """True if a whole period has passed in which the other end moved too little."""
        period = now - transfer.since
        return (
            transfer.waits
            and period >= self._wait
            and transfer.moved < period * TRANSFER_BYTES_PER_SECOND_MIN
        )


def _moved(transfer: Transfer) -> int:
    return transfer.moved
