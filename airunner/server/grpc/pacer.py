"""How soon the server speaks again on a worker's stream.

A message costs the same whatever is in it, so a stream that has just spoken waits a moment, in
which more gathers. One that has been silent for that moment speaks at once. The moment is shorter
than the answer of a worker or a client takes: what is said to one who waits for it is not late.
"""

import asyncio
from typing import Final

PAUSE_SECONDS: Final = 0.0005  # from one message to the next, at least


class SendPacer:
    """Call ready() before each message, and spoke() after it."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._next_at = 0.0  # by the loop's time

    async def ready(self) -> None:
        """Return when the next message may go."""
        if (early := self._next_at - self._loop.time()) > 0:
            await asyncio.sleep(early)

    def spoke(self) -> None:
        self._next_at = self._loop.time() + PAUSE_SECONDS
