"""The memory log keeps the contract of every log, and its own promises about memory."""

import pytest

from airunner.facts import Reported
from airunner.log.log import Log
from airunner.log.memory import MemoryLog
from airunner.reports import OutputCut
from tests.core.log_contract import ONE, LogContract, Writer, output, read
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


def test_a_contract_says_how_its_log_is_made() -> None:
    with pytest.raises(NotImplementedError):
        LogContract().make()
