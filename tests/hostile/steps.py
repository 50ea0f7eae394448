"""The longest step of an event loop, in the time that its thread computes."""

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass
class LongestStep:
    """The seconds of the longest step, and its callback."""

    seconds: float = 0.0
    callback: str = ""


@contextmanager
def longest_step() -> Iterator[LongestStep]:
    """The longest step of all loops within the block: no other task runs during a step.

    Time of the thread, so a busy machine makes no step longer.
    """
    found = LongestStep()
    run = asyncio.Handle._run

    def measured(handle: asyncio.Handle) -> None:
        began = time.thread_time()
        try:
            run(handle)
        finally:
            if (took := time.thread_time() - began) > found.seconds:
                found.seconds, found.callback = took, repr(handle)

    asyncio.Handle._run = measured  # type: ignore[method-assign, assignment]
    try:
        yield found
    finally:
        asyncio.Handle._run = run  # type: ignore[method-assign]
