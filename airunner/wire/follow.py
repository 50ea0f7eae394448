"""Watching a job across lost connections.

A watcher knows the last sequence that it has seen. When its connection breaks, or the
server goes away for a while, it asks again from the next one: nothing is missed and
nothing comes twice, however often that happens.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import aclosing
from random import uniform
from typing import Final

from airunner.entries import Ended, Entry
from airunner.errors import Refused, ShuttingDown, Unauthenticated, Unreachable
from airunner.jobs import JobId
from airunner.wire.client import JobsClient

PAUSE_SECONDS: Final = (0.1, 5.0)  # before a further try: at first, at most; doubled in between


async def follow(
    jobs: JobsClient,
    id: JobId,
    *,
    from_sequence: int = 1,
    kinds: Iterable[str] = (),
    lost: Callable[[Refused], None] = lambda refusal: None,
    dice: Callable[[float, float], float] = uniform,
) -> AsyncGenerator[Entry, None]:
    """A job's stream until the job has ended, however often the server goes away.

    `lost` is told of each broken connection. Raises what no further try can mend, and
    Unreachable if the very first connection fails. A token that ran out is read
    again from its file, once for each time that it has worked.
    """
    kinds, pause, seen = tuple(kinds), PAUSE_SECONDS[0], False
    while True:
        stream = jobs.watch(id, from_sequence=from_sequence, kinds=kinds)
        try:
            async with aclosing(stream) as entries:
                async for entry in entries:
                    from_sequence, pause, seen = entry.last + 1, PAUSE_SECONDS[0], True
                    yield entry
                    if isinstance(entry.what, Ended):
                        return
            return
        except (Unreachable, ShuttingDown) as refusal:
            if not seen:
                raise
            lost(refusal)
        except Unauthenticated as refusal:
            if not seen or jobs.destination.token_file is None:
                raise
            seen = False
            lost(refusal)
        await asyncio.sleep(dice(0, pause))
        pause = min(2 * pause, PAUSE_SECONDS[1])
