"""The logs of finished jobs that the bench measures starts with."""

import asyncio
from pathlib import Path

from airunner.bench.load.history import EVERYTHING, queue_of, write
from airunner.log.memory import MemoryLog
from airunner.log.sqlite.log import SqliteLog
from airunner.model.facts import Event
from airunner.model.jobs import Instant, JobState
from airunner.model.limits import BATCH_BYTES_MAX
from airunner.model.namespaces import QueueKey
from airunner.store.engine import Engine, replayed

NOW = Instant(1_700_000_000_000)


def written(jobs: int, output_bytes: int) -> tuple[int, list[Event]]:
    """The number of events that write() returns, and the events in the memory log."""

    async def main() -> tuple[int, list[Event]]:
        log = MemoryLog()
        count = await write(log, jobs, output_bytes, NOW)
        return count, [event async for event in log.read()]

    return asyncio.run(main())


def engine_of(events: list[Event]) -> Engine:
    engine = replayed(events, EVERYTHING)
    engine.check()
    return engine


def test_every_job_of_a_history_has_ended_well_and_is_sealed() -> None:
    count, events = written(7, 0)
    engine = engine_of(events)
    jobs = [engine.table.job(id) for id in {event.job for event in events}]
    assert len(jobs) == 7
    assert all(job.state is JobState.COMPLETED and job.seal for job in jobs)
    assert count == len(events)


def test_the_jobs_of_a_history_are_of_so_many_queues_in_turn() -> None:
    async def main() -> list[Event]:
        log = MemoryLog()
        await write(log, 7, 0, NOW, queues=3)
        return [event async for event in log.read()]

    table = engine_of(asyncio.run(main())).table
    counts = [
        table.lines.count(QueueKey(queue_of(number)), JobState.COMPLETED) for number in range(3)
    ]
    assert counts == [3, 2, 2]


def test_a_history_has_exactly_as_much_output_as_asked_for() -> None:
    size = 5 * BATCH_BYTES_MAX + 123
    _, events = written(3, size)
    engine = engine_of(events)
    ids = {event.job for event in events}
    assert sum(engine.table.job(id).output_bytes for id in ids) == size


def test_a_durable_history_replays_to_the_same_jobs(tmp_path: Path) -> None:
    async def main() -> Engine:
        log = SqliteLog.open(tmp_path / "history.db")
        try:
            await write(log, 20, 100_000, NOW)
            return engine_of([event async for event in log.read()])
        finally:
            await log.close()

    _, events = written(20, 100_000)
    same = engine_of(events)
    again = asyncio.run(main())
    for id in {event.job for event in events}:
        assert again.table.job(id).seal == same.table.job(id).seal
        assert again.table.job(id).output_bytes == same.table.job(id).output_bytes
