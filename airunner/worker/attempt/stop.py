"""Why an attempt is to stop before its command has ended, and how soon.

Several may want that at once: the one who cancelled the job, its timeout, a worker that is
going away, a lease that is lost. The gravest reason stands, in the order of Why; a
kill cannot be taken back.
"""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import IntEnum


class StopReason(IntEnum):
    DRAIN = 1  # the worker goes away; the job returns to its place in line
    TIMEOUT = 2  # the command ran longer than it may
    SETUP_TIMEOUT = 3  # it did not even start in time
    CANCEL = 4
    LOST = 5  # the lease is not ours any more: say nothing


class StopRequest:
    """Whether one attempt is to stop."""

    def __init__(self) -> None:
        self.why: StopReason | None = None
        self._asked = asyncio.Event()
        self._urgent = asyncio.Event()
        self._heed: Callable[[], None] | None = None

    def ask(self, why: StopReason, *, at_once: bool = False) -> None:
        """Stop the attempt; `at_once`: without any grace."""
        if self.why is None or why > self.why:
            self.why = why
        self._asked.set()
        if at_once:
            self._urgent.set()
        self._tell()

    async def asked(self) -> None:
        """Return as soon as somebody has asked."""
        await self._asked.wait()

    async def kill_now(self) -> None:
        """Return as soon as there is no time for grace."""
        await self._urgent.wait()

    @property
    def is_urgent(self) -> bool:
        return self._urgent.is_set()

    @contextmanager
    def on_stop(self, call: Callable[[], None]) -> Iterator[None]:
        """Call whenever somebody asks, and now if somebody has, for as long as the block lasts."""
        self._heed = call
        try:
            if self.why is not None:
                self._tell()
            yield
        finally:
            self._heed = None

    def _tell(self) -> None:
        if self._heed:
            self._heed()
