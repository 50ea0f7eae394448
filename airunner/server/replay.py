"""The replay of a log into an engine: the first act of every start of a server."""

import gc
from collections.abc import Iterator
from contextlib import aclosing, contextmanager

from airunner.log.log import Log
from airunner.store.engine import Engine


async def replay(log: Log, engine: Engine) -> int:
    """Brings a new engine to the end of the log; returns the number of events.

    Raises LogDamaged. The server's clock must then begin no sooner than `engine.now`.
    """
    count = 0
    with without_collection():
        async with aclosing(log.read()) as events:
            async for event in events:
                engine.restore(event)
                count += 1
        engine.index()
    return count


@contextmanager
def without_collection() -> Iterator[None]:
    """Turns the garbage collector off for a block.

    A replay creates no cycles, and collecting would take almost half of its time.
    """
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collects:
            gc.enable()
