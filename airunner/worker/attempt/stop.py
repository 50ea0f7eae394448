"""The request to stop an attempt before its command has ended: the reason, and how urgent it is.

Several sources can request a stop at the same time: a cancel of the job, its timeout, a worker that
drains, a lost lease. The gravest reason counts, in the order of StopReason. A request to kill
cannot be withdrawn.
"""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import IntEnum


class StopReason(IntEnum):
    """The reasons, the gravest last."""

    DRAIN = 1  # the worker leaves; the job returns to its place in line
    TIMEOUT = 2  # the job ran longer than its timeout
    SETUP_TIMEOUT = 3  # no command started in time
    CANCEL = 4
    LOST = 5  # the lease is lost: no report is sent


class StopRequest:
    """The request to stop one attempt; empty at first."""

    def __init__(self) -> None:
        self.why: StopReason | None = None
        self._asked = asyncio.Event()
        self._urgent = asyncio.Event()
        self._call: Callable[[], None] | None = None

    def ask(self, why: StopReason, *, at_once: bool = False) -> None:
        """Requests a stop; `at_once`: without a grace period."""
        if self.why is None or why > self.why:
            self.why = why
        self._asked.set()
        if at_once:
            self._urgent.set()
        self._make_call()

    async def asked(self) -> None:
        """Returns once a stop was requested."""
        await self._asked.wait()

    async def urgent(self) -> None:
        """Returns once a stop without a grace period was requested."""
        await self._urgent.wait()

    @property
    def is_urgent(self) -> bool:
        return self._urgent.is_set()

    @contextmanager
    def on_stop(self, call: Callable[[], None]) -> Iterator[None]:
        """Calls at each request within the block, and at its start if there was a request before."""
        self._call = call
        try:
            if self.why is not None:
                self._make_call()
            yield
        finally:
            self._call = None

    def _make_call(self) -> None:
        if self._call:
            self._call()


@contextmanager
def time_limit(stop: StopRequest, seconds: int) -> Iterator[None]:
    """Requests a stop once the job's timeout has passed within the block; 0: there is none."""
    if not seconds:
        yield
        return
    timer = asyncio.get_running_loop().call_later(seconds, stop.ask, StopReason.TIMEOUT)
    try:
        yield
    finally:
        timer.cancel()
