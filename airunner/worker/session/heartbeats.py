"""The heartbeats of a session: when the next one is due, and which ones have no answer yet.

A heartbeat is due a third of the span after the last Hello or Heartbeat, whether the worker holds
leases or not: the server gives no job to a silent worker. If a heartbeat has no answer when the
next one is due, the server does not answer, and the connection ends.
"""

import asyncio
from collections import deque
from collections.abc import Callable

from airunner.model.protocol.channel import ChannelClosed


class Heartbeats:
    """The heartbeats of one connection after the other; all times are the event loop's."""

    def __init__(self, span: float, wake: Callable[[], None]) -> None:
        """`span` is the visibility timeout in seconds; `wake` is called when a heartbeat is due."""
        self._interval = span / 3
        self._wake = wake
        self._loop = asyncio.get_running_loop()
        self._due = False
        self._last_at = 0.0  # time of the last Hello, or at which a heartbeat became due
        self._unanswered: deque[tuple[float, bool]] = deque()  # time of sending, after a Farewell?
        self._moved = asyncio.Event()  # the next heartbeat is due at another time

    @property
    def unanswered(self) -> int:
        return len(self._unanswered)

    @property
    def due(self) -> bool:
        """Whether a heartbeat waits to be sent."""
        return self._due

    def start_connection(self) -> float:
        """Forgets the heartbeats of the last connection; returns the time of the new Hello, now."""
        self._due = False
        self._unanswered.clear()
        self._last_at = self._loop.time()
        return self._last_at

    def request(self) -> None:
        """Makes a heartbeat due at once."""
        self._due = True
        self._last_at = self._loop.time()
        self._wake()
        self._moved.set()

    def sent(self, *, after_farewell: bool) -> None:
        """Records that the heartbeat that was due is sent now."""
        self._due = False
        self._unanswered.append((self._loop.time(), after_farewell))

    def answered(self) -> tuple[float, bool]:
        """Records an answer to the oldest heartbeat.

        Returns the time of its sending, and whether a Farewell was sent before it. Raises
        ChannelClosed if every heartbeat has been answered already.
        """
        if not self._unanswered:
            raise ChannelClosed("the server has answered a heartbeat that was not sent")
        return self._unanswered.popleft()

    async def run(self) -> None:
        """Requests heartbeats for as long as the connection lives.

        Raises ChannelClosed if the server does not answer.
        """
        while True:
            self._moved.clear()
            try:
                async with asyncio.timeout_at(self._last_at + self._interval):
                    await self._moved.wait()
            except TimeoutError:
                if self._unanswered or self._due:
                    raise ChannelClosed("the server does not answer heartbeats") from None
                self.request()
