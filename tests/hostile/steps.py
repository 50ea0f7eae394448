"""The longest step of an event loop, in the time that its thread computes.

No other task runs during a step. A busy machine makes no step longer.
"""

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass
class LongestStep:
    """The seconds of the longest step, and its callback."""

    seconds: float = 0.0
    callback: str = ""

    def note(self, seconds: float, callback: str) -> None:
        """Keeps a step if it is longer than all before."""
        if seconds > self.seconds:
            self.seconds, self.callback = seconds, callback


@contextmanager
def measured_steps(note: Callable[[float, str], None], shortest: float = 0.0) -> Iterator[None]:
    """Notes each step of all loops within the block that takes at least `shortest` seconds."""
    run = asyncio.Handle._run

    def measured(handle: asyncio.Handle) -> None:
        began = time.thread_time()
        try:
            run(handle)
        finally:
            if (took := time.thread_time() - began) >= shortest:
                note(took, repr(handle))

    asyncio.Handle._run = measured  # type: ignore[method-assign, assignment]
    try:
        yield
    finally:
        asyncio.Handle._run = run  # type: ignore[method-assign]


@contextmanager
def longest_step() -> Iterator[LongestStep]:
    """The longest step of all loops within the block."""
    found = LongestStep()
    with measured_steps(found.note):
        yield found
