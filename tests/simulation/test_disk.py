"""The simulated disk's log passes the log contract, and a crash leaves a prefix of an append."""

from random import Random

import pytest

from airunner.log.log import Log, LogFull
from tests.log.log_contract import CODEC, ONE, LogContract, Writer, read
from tests.simulation.disk import Disk, DiskLog
from tests.support.loop import virtually


class TestDiskLog(LogContract):
    def make(self) -> Log:
        return DiskLog(Disk(Random(1), CODEC))


@virtually
async def test_a_full_disk_takes_nothing_and_then_everything() -> None:
    disk = Disk(Random(1))
    writer = Writer(log := DiskLog(disk))
    disk.full = True
    with pytest.raises(LogFull):
        await writer.run(ONE)
    assert await read(log) == []
    disk.full = False
    await log.append(writer.events)
    assert await read(log) == writer.events
