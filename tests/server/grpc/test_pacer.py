"""The pause between two messages of a stream."""

import asyncio

from airunner.server.grpc.pacer import PAUSE_SECONDS, SendPacer
from tests.support.loop import virtually


@virtually
async def test_who_has_just_spoken_waits_and_who_was_silent_speaks_at_once() -> None:
    loop, pace = asyncio.get_running_loop(), SendPacer()
    await pace.ready()
    assert loop.time() == 0
    pace.spoke()
    await pace.ready()
    assert loop.time() == PAUSE_SECONDS
    pace.spoke()
    await asyncio.sleep(PAUSE_SECONDS)
    before = loop.time()
    await pace.ready()
    assert loop.time() == before
