"""The pause between two messages of the server on a worker's stream.

A message costs the same with one reply in it as with many. After a message the stream pauses, so that
more replies gather; a stream that was silent for longer sends at once. The pause is shorter than the
answer time of a worker or a client, so it delays no reply that a peer waits for.
"""

import asyncio
from typing import Final

PAUSE_SECONDS: Final = 0.0005  # the shortest time between two messages


class SendPacer:
    """Paces a stream: call ready() before each message, and spoke() after it."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._next_at = 0.0  # in the event loop's time

    async def ready(self) -> None:
        """Returns when the next message may be sent."""
        if (early := self._next_at - self._loop.time()) > 0:
            await asyncio.sleep(early)

    def spoke(self) -> None:
        self._next_at = self._loop.time() + PAUSE_SECONDS
