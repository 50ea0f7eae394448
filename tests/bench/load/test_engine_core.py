"""The bench's engine core: the engine with a memory log, without a server."""

import asyncio
import gc

from airunner.bench.load.engine_core import Core, pauses
from airunner.model.jobs import JobState
from airunner.model.namespaces import QueueKey
from airunner.model.spec import JobSpec

SPEC = JobSpec(command="true", queue="bench")


def test_a_core_is_as_full_after_many_lives_as_before_them() -> None:
    async def main() -> Core:
        core = Core(SPEC)
        await core.fill(20)
        for _ in range(300):
            await core.enqueue()
            await core.finish(await core.lease())
        return core

    table = asyncio.run(main())._engine.table
    assert table.lines.count(QueueKey("bench"), JobState.SCHEDULED) == 20
    assert table.lines.count(QueueKey("bench"), JobState.COMPLETED) == 100


def test_searches_for_garbage_are_timed_within_a_block_alone() -> None:
    with pauses() as seconds:
        gc.collect()
    known = len(seconds)
    gc.collect()
    assert len(seconds) == known >= 1
