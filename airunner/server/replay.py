"""From a log to the engine that wrote it: what every start of a server begins with."""

import gc
from collections.abc import Iterator
from contextlib import aclosing, contextmanager

from airunner.log.log import Log
from airunner.store.engine import Engine


async def replay(log: Log, engine: Engine) -> int:
    """Bring a new engine to where the log ends; how many events that took.

    Raises LogDamaged. The engine then asks for a clock that begins no sooner than `engine.now`.
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
    """No search for garbage meanwhile: a replay makes none, and what it makes is searched through
    again and again, which takes nearly half of its time.
    """
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collects:
            gc.enable()
