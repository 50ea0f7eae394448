"""Watching a job across lost connections.

A watcher knows the last sequence that it has seen. When its connection breaks, or the
server goes away for a while, it asks again from the next one: nothing is missed and
nothing comes twice, however often that happens.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import aclosing
from typing import Final

from airunner.entries import Ended, Entry
from airunner.errors import Refused, ShuttingDown, Stalled, Unauthenticated, Unreachable
from airunner.jobs import JobId
from airunner.wire.client import JobsClient

PAUSE_SECONDS: Final = (0.1, 5.0)  # before a further try: at first, at most; doubled in between
AWAY_SECONDS_MAX: Final = 900.0  # for which a server may be gone before a watcher gives up
CONNECTED_SECONDS: Final = 60.0  # after which a stream must have had a server, though it was silent


async def follow(
    jobs: JobsClient,
    id: JobId,
    *,
    from_sequence: int = 1,
    kinds: Iterable[str] = (),
    lost: Callable[[Refused], None] = lambda refusal: None,
    stop_at_tail: bool = False,
    known: bool = False,
    patience: float = AWAY_SECONDS_MAX,
) -> AsyncGenerator[Entry, None]:
    """A job's stream until the job has ended, however often the server goes away.

    With `stop_at_tail`, only what is there already. `lost` is told once each time that the
    server goes away. Raises what no further try can mend, and Unreachable if the server stays
    away for longer than `patience` seconds or the very first connection fails; that one may
    fail as well if the job is `known` to be there. A token that ran out is read again from its
    file, once for each time that it has worked.
    """
    kinds, pause, seen = tuple(kinds), PAUSE_SECONDS[0], known
    loop = asyncio.get_running_loop()
    away_since: float | None = None
    while True:
        began = loop.time()
        stream = jobs.watch(id, from_sequence=from_sequence, stop_at_tail=stop_at_tail, kinds=kinds)
        try:
            async with aclosing(stream) as entries:
                async for entry in entries:
                    from_sequence, pause, seen = entry.last + 1, PAUSE_SECONDS[0], True
                    away_since = None
                    yield entry
                    if isinstance(entry.what, Ended):
                        return
            return
        except (Unreachable, ShuttingDown, Stalled) as refusal:
            now = loop.time()
            if now - began > CONNECTED_SECONDS:
                away_since = None
            if away_since is not None and now - away_since > patience:
                raise
            if not seen:  # a stream that broke before its first entry, or nobody there?
                await jobs.check()
                seen = True
            if away_since is None:
                away_since = now
                lost(refusal)
        except Unauthenticated as refusal:
            if not seen or jobs.destination.token_file is None:
                raise
            seen = False
            lost(refusal)
        await asyncio.sleep(jobs.dice(0, pause))
        pause = min(2 * pause, PAUSE_SECONDS[1])
