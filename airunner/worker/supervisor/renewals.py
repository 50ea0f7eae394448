"""The deadlines of commands, sent to the supervisor and sent again when they move.

All deadlines that move in one turn of the event loop travel together, so that the heartbeat of a
worker with a thousand leases is a few messages.
"""

import asyncio
from collections.abc import Callable
from math import ceil, inf
from typing import Final

from airunner.worker.process import Deadline
from airunner.worker.supervisor import protocol

PAIRS_MAX: Final = protocol.MESSAGE_BYTES_MAX // 40 - 1  # deadlines in one message
RETRY_SECONDS: Final = 0.05  # while the control socket is full

Send = Callable[[bytes], bool]


class Renewals:
    """The deadlines of the shims that run commands."""

    def __init__(self, send: Send) -> None:
        """`send` sends a message to the supervisor; it returns False if there is no room now."""
        self._send = send
        self._deadlines: dict[int, Deadline] = {}  # by the number of the shim
        self._unsent: dict[int, None] = {}  # numbers of shims, in the order of their changes
        self._flush_at: asyncio.Handle | None = None

    def add(self, number: int, deadline: Deadline) -> None:
        """Sends the deadline of a shim's next command, and sends it again when it moves."""
        self._deadlines[number] = deadline
        deadline.listeners[self, number] = lambda: self._moved(number)
        if deadline.at != inf:
            self._unsent[number] = None
            self._flush()

    def remove(self, number: int) -> None:
        """Removes the deadline of a shim without a command."""
        if deadline := self._deadlines.pop(number, None):
            del deadline.listeners[self, number]
            if deadline.at != inf:
                self._moved(number)

    def _moved(self, number: int) -> None:
        self._unsent[number] = None
        if self._flush_at is None:
            self._flush_at = asyncio.get_running_loop().call_soon(self._flush)

    def _flush(self) -> None:
        if self._flush_at:
            self._flush_at.cancel()
            self._flush_at = None
        while self._unsent:
            numbers = list(self._unsent)[:PAIRS_MAX]
            pairs = b" ".join(b"%d %d" % (number, self._milliseconds(number)) for number in numbers)
            if not self._send(b"%b %b" % (protocol.UNTIL, pairs)):
                loop = asyncio.get_running_loop()
                self._flush_at = loop.call_later(RETRY_SECONDS, self._flush)
                return
            for number in numbers:
                del self._unsent[number]

    def _milliseconds(self, number: int) -> int:
        """The deadline of a shim as the supervisor reads it."""
        deadline = self._deadlines.get(number)
        return ceil(deadline.at * 1000) if deadline and deadline.at != inf else 0
