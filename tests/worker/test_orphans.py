"""A worker and the spools of dead workers, message by message; and damaged spools."""

import asyncio
from collections.abc import Callable, Sequence

import pytest
from msgspec.structs import replace

from airunner.model.jobs import AttemptEnd, Outcome
from airunner.model.limits import UNACKNOWLEDGED_BYTES_MAX
from airunner.model.protocol.worker_protocol import (
    Batch,
    Completion,
    FromServer,
    FromWorker,
    GiveBack,
    Held,
    Rejected,
    Settled,
    Stored,
)
from airunner.model.reports import Remark, Report, count_sequences
from airunner.worker.spool.spool import FinalReport, MemorySpool, SpoolDamaged
from airunner.worker.spool.spools import MemorySpools, Orphan
from tests.promises import holds, promise
from tests.support.loop import until_idle, virtually
from tests.support.memory_spools import MemoryDisk, MemoryDiskSpools
from tests.worker.session.test_session import (
    ALIVE,
    DONE,
    SPAN,
    TOKEN,
    Desk,
    Server,
    assignment,
    desk,
    heard,
    output,
    silence,
)

INCOMPLETE = replace(DONE, log_complete=False)


def left(
    *reports: Report,
    word: Outcome | AttemptEnd | None = None,
    after: int = 0,
    last: int | None = None,
) -> MemoryDisk:
    """The orphan of a dead worker: its reports after the number `after`, and its final report."""
    disk = MemoryDisk()
    spools = MemoryDiskSpools(disk)
    spool = spools.open(assignment())
    number = after
    for report in reports:
        spool.append(number + 1, report)
        number += count_sequences(report)
    if word:
        spool.conclude(FinalReport(number if last is None else last, word))
    spools.close()
    return disk


def empty(disk: MemoryDisk) -> bool:
    return not disk.entries and not disk.refused


@virtually
async def test_the_tail_and_then_the_loss_of_a_dead_attempt_are_said_to_the_server() -> None:
    disk = left(ALIVE, ALIVE, ALIVE)
    async with desk(MemoryDiskSpools(disk)) as it:
        server, hello = await it.welcome(Held(TOKEN, 1, False))
        assert (hello.holding, hello.credit) == ((TOKEN,), 3)
        assert await heard(server, Batch) == Batch(TOKEN, 2, (ALIVE, ALIVE))
        assert await heard(server, GiveBack) == GiveBack(TOKEN, lost=True, last=3)
        await server.send(Stored(TOKEN, 3))
        await server.send(Settled(TOKEN))
        await until_idle()
        assert it.client.holding == 0
        assert it.taken == []
        assert empty(disk)


@virtually
async def test_the_true_end_of_an_attempt_is_said_though_its_worker_is_dead() -> None:
    disk = left(ALIVE, ALIVE, word=DONE)
    async with desk(MemoryDiskSpools(disk)) as it:
        server, _ = await it.welcome(Held(TOKEN, 0, False))
        assert await heard(server, Batch) == Batch(TOKEN, 1, (ALIVE, ALIVE))
        assert await heard(server, Completion) == Completion(TOKEN, 2, DONE)
        await server.send(Settled(TOKEN))
        await until_idle()
        assert empty(disk)


@virtually
async def test_a_job_that_a_dead_worker_released_is_no_failure() -> None:
    async with desk(MemoryDiskSpools(left(word=AttemptEnd.RELEASED))) as it:
        server, _ = await it.welcome(Held(TOKEN, 0, False))
        assert await heard(server, GiveBack) == GiveBack(TOKEN, lost=False)


@virtually
async def test_what_belongs_to_no_lease_any_more_is_set_aside_and_nothing_is_said() -> None:
    disk = left(ALIVE)
    async with desk(MemoryDiskSpools(disk)) as it:
        server, _ = await it.welcome(lost=(TOKEN,))
        await silence(server)
        assert [given.token for given in disk.refused] == [TOKEN]
        server.cut()
        _, hello = await it.welcome()
        assert hello.holding == ()


@pytest.mark.parametrize("heard_before", [True, False])
@virtually
async def test_an_end_that_the_server_may_have_heard_is_said_once_more(heard_before: bool) -> None:
    disk = left(ALIVE, word=DONE)
    async with desk(MemoryDiskSpools(disk)) as it:
        server, _ = await it.welcome(lost=(TOKEN,))
        assert await heard(server, Completion) == Completion(TOKEN, 1, DONE)
        answer: FromServer = Settled(TOKEN)
        if not heard_before:
            answer = Rejected(TOKEN, "FAILED_PRECONDITION", "ended", lease_lost=True)
        await server.send(answer)
        await silence(server)
        assert it.client.holding == 0
        assert len(disk.refused) == (not heard_before)
        assert not disk.entries


@holds("jobs/next-worker-delivers-spool")
@virtually
async def test_nothing_is_given_up_while_a_process_of_a_dead_attempt_may_live() -> None:
    class Slow(MemoryDiskSpools):
        """A dead worker whose supervisor takes its time."""

        told: Callable[[], None] | None = None

        def orphans(self) -> Sequence[Orphan]:
            return [
                Orphan(
                    assignment=e.assignment,
                    spool=e.spool,
                    final_report=e.final_report,
                    when_processes_gone=self._later,
                )
                for e in super().orphans()
            ]

        def _later(self, told: Callable[[], None]) -> None:
            self.told = told

    spools = Slow(left(ALIVE))
    async with desk(spools) as it:
        server, _ = await it.welcome(Held(TOKEN, 0, False))
        await heard(server, Batch)
        await silence(server)
        assert spools.told
        spools.told()
        assert await heard(server, GiveBack) == GiveBack(TOKEN, lost=True, last=1)


@virtually
async def test_what_is_left_waits_for_a_server_that_is_away() -> None:
    disk = left(ALIVE)
    async with desk(MemoryDiskSpools(disk)) as it:
        for _ in range(30):
            server, hello = await it.meet()
            assert hello.holding == (TOKEN,)
            server.cut()
        server, _ = await it.welcome(Held(TOKEN, 1, False))
        assert await heard(server, GiveBack) == GiveBack(TOKEN, lost=True, last=1)


@virtually
async def test_a_lease_of_a_dead_worker_lapses_as_any_other() -> None:
    disk = left(ALIVE)
    async with desk(MemoryDiskSpools(disk)) as it:
        server, _ = await it.welcome(Held(TOKEN, 0, False))
        server.cut()
        await asyncio.sleep(SPAN + 1)
        assert it.client.holding == 0
        assert len(disk.refused) == 1


@holds("logs/log-trouble-fails-no-command")
@virtually
async def test_an_end_whose_log_is_not_all_there_says_so_and_stays_that_end() -> None:
    disk = left(ALIVE, word=DONE, last=5)
    async with desk(MemoryDiskSpools(disk)) as it:
        server, _ = await it.welcome(Held(TOKEN, 0, False))
        assert await heard(server, Batch) == Batch(TOKEN, 1, (ALIVE,))
        assert await heard(server, Completion) == Completion(TOKEN, 1, INCOMPLETE)


@virtually
async def test_a_log_that_the_server_has_is_complete_though_the_spool_is_not() -> None:
    disk = left(ALIVE, word=DONE, last=5)
    async with desk(MemoryDiskSpools(disk)) as it:
        server, _ = await it.welcome(Held(TOKEN, 5, False))
        assert await heard(server, Completion) == Completion(TOKEN, 5, DONE)


@virtually
async def test_reports_whose_predecessors_are_missing_are_not_said() -> None:
    disk = left(ALIVE, after=3, word=DONE)
    async with desk(MemoryDiskSpools(disk)) as it:
        server, _ = await it.welcome(Held(TOKEN, 1, False))
        assert await heard(server, Completion) == Completion(TOKEN, 1, INCOMPLETE)


# The spools of a living worker


class Broken(MemorySpool):
    """A spool that cannot be read after a number."""

    good = 1_000_000

    def read(self, after: int, size: int, count: int) -> tuple[int, Sequence[Report]]:
        if after >= self.good:
            raise SpoolDamaged("a bit has flipped")
        return super().read(after, size, min(count, self.good - after))


class Shaky(MemorySpools):
    """Opens one spool."""

    def __init__(self, spool: MemorySpool) -> None:
        self.spool = spool

    def open(self, assignment: object) -> MemorySpool:
        return self.spool


async def behind(it: Desk, count: int) -> tuple[Server, Broken]:
    """An attempt that ends with `count` unsent reports, of which one can be read."""
    server, _ = await it.welcome()
    held_lease = await it.lease(server)
    for _ in range(count):
        await held_lease.report(ALIVE)
    await until_idle()
    server.cut()
    spool = held_lease._spool
    assert isinstance(spool, Broken)
    spool.good = 1
    return server, spool


@promise(
    "logs/log-trouble-fails-no-command",
    "An undeliverable log fails no command. If the server refused the log for good, or the spool "
    "cannot be read back, the end of the job says `log_complete: false`.",
)
@virtually
async def test_a_log_that_cannot_be_read_back_ends_there_and_its_job_as_it_did() -> None:
    async with desk(Shaky(Broken())) as it:
        await behind(it, 3)
        server, _ = await it.welcome(Held(TOKEN, 0, False))
        held_lease = it.taken[0]
        assert await heard(server, Batch) == Batch(TOKEN, 1, (ALIVE,))
        await held_lease.report(ALIVE)
        held_lease.end(DONE)
        assert await heard(server, Completion) == Completion(TOKEN, 1, INCOMPLETE)
        await server.send(Settled(TOKEN))
        assert await held_lease.over()


@virtually
async def test_an_incomplete_log_is_part_of_the_last_word_that_is_kept() -> None:
    async with desk(Shaky(Broken())) as it:
        _, spool = await behind(it, 3)
        it.taken[0].end(DONE)
        await it.welcome(Held(TOKEN, 0, False))
        assert spool.final_report == FinalReport(1, INCOMPLETE)


@virtually
async def test_a_command_whose_log_is_given_up_does_not_wait_for_it() -> None:
    async with desk(Shaky(Broken())) as it, asyncio.TaskGroup() as tasks:
        await behind(it, 3)
        held_lease = it.taken[0]
        await held_lease.report(output(UNACKNOWLEDGED_BYTES_MAX))
        waiting = tasks.create_task(held_lease.report(ALIVE))
        await until_idle()
        assert not waiting.done()
        await it.welcome(Held(TOKEN, 1, False))
        await waiting


@virtually
async def test_a_remark_of_the_spool_is_a_report_of_its_own_behind_what_it_is_about() -> None:
    class Failing(MemorySpool):
        def append(self, first: int, report: Report) -> Remark | None:
            super().append(first, report)
            return Remark("no spool any more") if first == 2 else None

    async with desk(Shaky(Failing())) as it:
        server, _ = await it.welcome()
        held_lease = await it.lease(server)
        for _ in range(3):
            await held_lease.report(ALIVE)
        said = await heard(server, Batch)
        assert said.reports == (ALIVE, ALIVE, Remark("no spool any more"), ALIVE)


@virtually
async def test_no_more_than_the_window_is_on_its_way_however_much_a_spool_holds() -> None:
    class Deep(MemorySpool):
        full = False

    async with desk(Shaky(Deep())) as it:
        server, _ = await it.welcome()
        held_lease = await it.lease(server)
        block = output(UNACKNOWLEDGED_BYTES_MAX // 8)
        for _ in range(100):
            await held_lease.report(block)
        sent = await all_said(server)
        assert 8 * block.size <= sum(size_in(each) for each in sent) <= 10 * block.size
        await server.send(Stored(TOKEN, 3))
        await until_idle()
        assert 0 < sum(size_in(each) for each in await all_said(server)) <= 4 * block.size


@virtually
async def test_what_a_lost_lease_leaves_undelivered_is_set_aside() -> None:
    disk = MemoryDisk()
    async with desk(MemoryDiskSpools(disk)) as it:
        server, _ = await it.welcome()
        held_lease = await it.lease(server)
        await held_lease.report(ALIVE)
        await heard(server, Batch)
        await server.send(Rejected(TOKEN, "FAILED_PRECONDITION", "gone", lease_lost=True))
        assert not await held_lease.over()
        assert [given.token for given in disk.refused] == [TOKEN]
        assert not disk.entries


@virtually
async def test_nothing_is_set_aside_of_a_lost_lease_whose_reports_were_stored() -> None:
    disk = MemoryDisk()
    async with desk(MemoryDiskSpools(disk)) as it:
        server, _ = await it.welcome()
        held_lease = await it.lease(server)
        await held_lease.report(ALIVE)
        await server.send(Stored(TOKEN, 1))
        await server.send(Rejected(TOKEN, "FAILED_PRECONDITION", "gone", lease_lost=True))
        assert not await held_lease.over()
        assert empty(disk)


async def all_said(server: Server) -> list[FromWorker]:
    """The messages that the worker has sent so far."""
    await until_idle()
    return [await server.receive() for _ in range(len(server.incoming.messages))]


def size_in(message: FromWorker) -> int:
    assert isinstance(message, Batch)
    return sum(report.size for report in message.reports if hasattr(report, "size"))
