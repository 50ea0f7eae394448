"""The memory log keeps the contract of every log, and its own promises about memory."""

import asyncio

import pytest

from airunner.log.log import Log, LogStatistics
from airunner.log.memory import MemoryLog
from airunner.model.facts import Reported, sequence_count
from airunner.model.jobs import JobId, TaskToken, digest
from airunner.model.reports import OutputCut
from tests.log.log_contract import NOW, ONE, TWO, LogContract, Writer, of_all, output, read
from tests.support.loop import virtually


class TestMemoryLog(LogContract):
    def make(self) -> Log:
        return MemoryLog()


@virtually
async def test_cuts_that_follow_each_other_become_one_so_that_a_cut_job_stays_small() -> None:
    writer = Writer(log := MemoryLog())
    await writer.run(ONE, *[OutputCut(2, 20)] * 100)
    assert len(await read(log, ONE)) == 4


@virtually
async def test_output_that_was_dropped_is_gone_from_memory() -> None:
    writer = Writer(log := MemoryLog())
    await writer.run(ONE, output("a" * 1_000), output("b" * 1_000))
    await writer.drop(ONE)
    kept = [event.fact.report for event in log._jobs[ONE] if isinstance(event.fact, Reported)]
    assert kept == [OutputCut(2, 2_000)]
    await writer.forget(ONE)
    assert not log._jobs


@virtually
async def test_a_cut_that_grows_is_told_anew_to_whoever_reads_of_all_jobs() -> None:
    writer = Writer(log := MemoryLog())
    await writer.run(ONE, OutputCut(2, 20), ends=False)
    before = await of_all(log)
    facts = writer.engine.queue.publish(
        digest(TaskToken(f"token of {ONE}")), [(3, OutputCut(1, 5))], now=NOW
    )
    await writer.append(writer.engine.record(facts, NOW))
    (grown,) = await of_all(log, before[-1].place)
    assert (grown.first, grown.last) == (before[-1].first, before[-1].last + 1)


@virtually
async def test_whoever_reads_of_all_jobs_looks_only_at_those_with_something_new() -> None:
    writer = Writer(log := MemoryLog())
    for number in range(50):
        await writer.run(JobId(f"job-{number}"), output("a"))
    place = writer.events[-1].place
    await writer.run(ONE, output("a"))
    assert log._changed(place) == [ONE]


@virtually
async def test_whoever_reads_of_many_jobs_lets_others_go_on_and_is_told_of_one_moment() -> None:
    writer = Writer(log := MemoryLog())
    for number in range(2_500):
        await writer.run(JobId(f"job-{number}"))
    before = [event for event in writer.events if sequence_count(event.fact)]
    async with asyncio.TaskGroup() as tasks:
        reading = tasks.create_task(of_all(log))
        await asyncio.sleep(0)
        assert not reading.done()  # it has begun, and others have their turn
        await writer.forget(JobId("job-7"))
        await writer.run(ONE)
    assert await reading == [event for event in before if event.job != JobId("job-7")]


@virtually
async def test_a_memory_log_counts_its_events() -> None:
    writer = Writer(log := MemoryLog())
    assert (await log.statistics()).events == 0
    await writer.run(ONE, output("a"))
    await writer.run(TWO, output("a"))
    await writer.forget(ONE)
    assert await log.statistics() == LogStatistics(newest=writer.events[-1].place, events=4)


@virtually
async def test_no_two_memory_logs_have_one_name() -> None:
    assert MemoryLog().name != MemoryLog().name


def test_a_contract_says_how_its_log_is_made() -> None:
    with pytest.raises(NotImplementedError):
        LogContract().make()
