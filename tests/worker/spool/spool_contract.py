"""The contract of Spools and Spool, for each implementation.

class TestMySpools(SpoolContract):
    def make(self) -> Spools: ...       starts a worker on the storage of the earlier workers
    def kill(self, spools) -> None: ... kills the worker with these spools
    def refused(self) -> Sequence[str]  the ids of the jobs whose spools were set aside
"""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from airunner.model.jobs import (
    AttemptEnd,
    Instant,
    Job,
    JobId,
    Millis,
    Outcome,
    Position,
    Reason,
    TaskToken,
)
from airunner.model.protocol.worker_protocol import Assignment
from airunner.model.reports import (
    Alive,
    Chunk,
    CloneProgressed,
    Output,
    OutputCut,
    Report,
    Stream,
    count_sequences,
)
from airunner.model.spec import JobSpec
from airunner.worker.spool.spool import FinalReport, Spool, size_of
from airunner.worker.spool.spools import Orphan, Spools, SpoolStatistics
from tests.support.loop import virtually

PLENTY = 1 << 30
NO_SPOOLS = SpoolStatistics(spools_open=0, orphans=0, bytes_on_disk=0, bytes_waiting=0)
ALIVE = Alive(Millis(1), True)
DONE = Outcome(reason=Reason.EXITED, exit_code=0, error="all's well")


def output(*sizes: int) -> Output:
    return Output(tuple(Chunk(Stream.STDOUT, b"x" * size, Instant(0)) for size in sizes))


def assignment(name: str = "one", **environment: str) -> Assignment:
    job = Job(
        id=JobId(name),
        spec=JobSpec(command="true", environment=environment),
        place=Position(1),
        created_at=Instant(0),
        updated_at=Instant(0),
        attempt=2,
    )
    return Assignment(
        job=job, token=TaskToken(f"t {name}"), span=Millis(60_000), output_bytes_max=9
    )


def fill(spool: Spool, *reports: Report) -> Spool:
    """Appends reports to a spool."""
    for report in reports:
        assert spool.append(spool.last + 1, report) is None
    return spool


def read_all(spool: Spool, after: int = 0) -> list[Report]:
    """Reads all reports behind a number, a few at a time, as a session does."""
    found: list[Report] = []
    while (got := spool.read(after, 1000, 10))[1]:
        first, reports = got
        assert first <= after + 1
        after = first + sum(map(count_sequences, reports)) - 1
        found += reports
    return found


class SpoolContract:
    def make(self) -> Spools:
        raise NotImplementedError

    def kill(self, spools: Spools) -> None:
        raise NotImplementedError

    def refused(self) -> Sequence[str]:
        raise NotImplementedError

    # One spool

    @virtually
    async def test_an_empty_spool_has_nothing_to_read(self) -> None:
        spool = self.make().open(assignment())
        assert (spool.last, spool.full) == (0, False)
        assert spool.read(0, PLENTY, 10) == (0, [])
        spool.forget(7)

    @pytest.mark.parametrize(
        ("after", "first", "count"),
        [(0, 1, 3), (1, 2, 2), (2, 2, 2), (3, 2, 2), (4, 5, 1), (5, 0, 0)],
    )
    @virtually
    async def test_reading_begins_with_the_report_that_has_the_next_number(
        self, after: int, first: int, count: int
    ) -> None:
        spool = fill(self.make().open(assignment()), ALIVE, output(1, 2, 3), ALIVE)
        number, reports = spool.read(after, PLENTY, 10)
        assert (number, len(reports)) == (first, count)
        assert spool.last == 5

    @virtually
    async def test_what_was_read_can_be_read_again_from_any_number(self) -> None:
        reports = [output(n) for n in range(1, 200)]
        spool = fill(self.make().open(assignment()), *reports)
        for after in (0, 150, 198, 7, 199, 0):
            assert read_all(spool, after) == reports[after:]

    @virtually
    async def test_a_read_keeps_to_its_size_and_count_but_gives_at_least_one(self) -> None:
        spool = fill(self.make().open(assignment()), output(1000), output(1000), output(1000))
        for _ in range(2):
            assert len(spool.read(0, 1, 10)[1]) == 1
            assert len(spool.read(0, 2 * size_of(output(1000)), 10)[1]) == 2
            assert len(spool.read(0, PLENTY, 2)[1]) == 2
            assert len(spool.read(3, PLENTY, 2)[1]) == 0

    @virtually
    async def test_each_chunk_of_output_counts_in_a_read_and_a_cut_counts_once(self) -> None:
        cut = OutputCut(50, 50)
        spool = fill(self.make().open(assignment()), ALIVE, output(1, 2, 3), cut, output(*[1] * 9))
        for count, reports in ((3, 1), (4, 2), (5, 3), (13, 3), (14, 4)):
            assert len(spool.read(0, PLENTY, count)[1]) == reports
        assert len(spool.read(54, PLENTY, 8)[1]) == 1

    @virtually
    async def test_forgetting_lets_go_of_no_report_that_has_a_higher_number(self) -> None:
        spool = fill(self.make().open(assignment()), ALIVE, output(1, 2, 3), ALIVE)
        spool.forget(3)
        assert spool.read(3, PLENTY, 10) == (2, [output(1, 2, 3), ALIVE])
        spool.forget(4)
        assert spool.read(4, PLENTY, 10) == (5, [ALIVE])
        spool.forget(5)
        assert spool.read(5, PLENTY, 10)[1] == []
        assert read_all(fill(spool, output(4)), 5) == [output(4)]

    @virtually
    async def test_every_report_comes_back_as_it_was(self) -> None:
        odd = Output((Chunk(Stream.STDERR, b"\0\xff\n", Instant(7)), *output(0, 3).chunks))
        reports: list[Report] = [odd, CloneProgressed("half \N{SNOWMAN}"), ALIVE]
        spools = self.make()
        fill(spools.open(assignment()), *reports)
        self.kill(spools)
        (orphan,) = self.make().orphans()
        assert read_all(orphan.spool) == reports

    @virtually
    async def test_a_spool_is_full_in_the_end_and_has_room_again_when_it_is_forgotten(self) -> None:
        spool, block = self.make().open(assignment()), output(100_000)
        room = 10_000
        while room and not spool.full:
            fill(spool, block)
            room -= 1
        spool.forget(spool.last)
        assert room
        assert not spool.full
        assert spool.size < 5 * 1024 * 1024

    @virtually
    async def test_space_comes_back_while_an_attempt_goes_on(self) -> None:
        spool, block = self.make().open(assignment()), output(60_000)
        sizes: list[int] = []
        for number in range(1, 500):
            fill(spool, block)
            spool.forget(number - 1)
            sizes.append(spool.size)
        assert max(sizes) < 3 * 1024 * 1024

    # What a dead worker leaves

    @virtually
    async def test_a_worker_that_starts_finds_what_a_dead_one_has_said(self) -> None:
        spools = self.make()
        fill(spools.open(assignment()), ALIVE, output(1, 2))
        self.kill(spools)
        (orphan,) = self.make().orphans()
        assert orphan.assignment == assignment()
        assert (orphan.final_report, orphan.spool.last) == (None, 3)
        assert read_all(orphan.spool) == [ALIVE, output(1, 2)]

    @virtually
    async def test_no_environment_of_a_job_is_kept_on_disk(self) -> None:
        spools = self.make()
        spools.open(assignment(KEY="secret"))
        self.kill(spools)
        (orphan,) = self.make().orphans()
        assert not {"secret"} & set(self.exposed(orphan))

    def exposed(self, orphan: Orphan) -> Sequence[str]:
        """Every text about the attempt that another process can read; none for a spool in memory."""
        return ()

    @virtually
    async def test_what_was_forgotten_is_not_found_again(self) -> None:
        spools, reports = self.make(), [output(50_000) for _ in range(100)]
        spool = fill(spools.open(assignment()), *reports)
        spool.forget(90)
        self.kill(spools)
        (orphan,) = self.make().orphans()
        assert orphan.spool.last == 100
        assert read_all(orphan.spool, 90) == reports[90:]
        assert orphan.spool.size < 60 * 50_000

    @pytest.mark.parametrize("verdict", [DONE, AttemptEnd.RELEASED, AttemptEnd.LOST])
    @virtually
    async def test_the_last_word_is_found_as_it_was_said(
        self, verdict: Outcome | AttemptEnd
    ) -> None:
        spools = self.make()
        spool = fill(spools.open(assignment()), ALIVE)
        spool.conclude(FinalReport(1, AttemptEnd.RELEASED))
        spool.conclude(FinalReport(1, verdict))
        self.kill(spools)
        (orphan,) = self.make().orphans()
        assert orphan.final_report == FinalReport(1, verdict)

    @virtually
    async def test_a_living_worker_keeps_its_own(self) -> None:
        spools = self.make()
        fill(spools.open(assignment()), ALIVE)
        other = self.make()
        assert other.orphans() == []
        self.kill(spools)
        assert len(other.orphans()) == 1

    @virtually
    async def test_what_is_left_is_taken_by_one_worker_alone_until_that_dies_too(self) -> None:
        spools = self.make()
        fill(spools.open(assignment("one")), ALIVE)
        fill(spools.open(assignment("two")), ALIVE)
        self.kill(spools)
        heir, late = self.make(), self.make()
        assert {orphan.assignment.job.id for orphan in heir.orphans()} == {"one", "two"}
        assert (heir.orphans(), late.orphans()) == ([], [])
        self.kill(heir)
        (first, second) = late.orphans()
        assert read_all(first.spool) == read_all(second.spool) == [ALIVE]

    @virtually
    async def test_what_is_set_aside_by_a_worker_is_no_other_workers(self) -> None:
        spools = self.make()
        fill(spools.open(assignment("one")), ALIVE)
        other = self.make()
        fill(other.open(assignment("two")), ALIVE).refuse()
        self.kill(spools)
        assert [orphan.assignment.job.id for orphan in other.orphans()] == ["one"]
        assert self.refused() == ["two"]

    @virtually
    async def test_what_was_delivered_is_left_to_nobody(self) -> None:
        spools = self.make()
        fill(spools.open(assignment("one")), ALIVE).discard()
        fill(spools.open(assignment("two")), ALIVE)
        self.kill(spools)
        heir = self.make()
        (orphan,) = heir.orphans()
        assert orphan.assignment.job.id == "two"
        orphan.spool.discard()
        self.kill(heir)
        assert self.make().orphans() == []
        assert self.refused() == []

    @virtually
    async def test_what_is_refused_is_set_aside_and_left_to_nobody(self) -> None:
        spools = self.make()
        fill(spools.open(assignment("one")), ALIVE).refuse()
        fill(spools.open(assignment("two")), ALIVE)
        self.kill(spools)
        heir = self.make()
        (orphan,) = heir.orphans()
        orphan.spool.refuse()
        assert sorted(self.refused()) == ["one", "two"]
        self.kill(heir)
        assert self.make().orphans() == []

    @virtually
    async def test_the_attempt_of_a_dead_worker_is_gone_with_all_its_processes(self) -> None:
        spools = self.make()
        spools.open(assignment())
        self.kill(spools)
        (orphan,) = self.make().orphans()
        told: list[str] = []
        orphan.when_processes_gone(lambda: told.append("gone"))
        assert told == ["gone"]

    # Numbers for metrics

    @virtually
    async def test_the_numbers_of_spools_follow_their_reports_and_their_ends(self) -> None:
        spools = self.make()
        one, two = (spools.open(assignment(name)) for name in ("one", "two"))
        fill(one, output(1000))
        fill(two, output(500))
        numbers = spools.statistics()
        assert (numbers.spools_open, numbers.orphans) == (2, 0)
        assert 1500 < numbers.bytes_waiting == one.size + two.size
        assert numbers.bytes_on_disk == numbers.bytes_waiting
        one.conclude(FinalReport(1, DONE))
        one.forget(1)
        assert spools.statistics().bytes_waiting == two.size
        one.discard()
        assert spools.statistics().spools_open == 1
        two.refuse()
        assert spools.statistics() == NO_SPOOLS

    @virtually
    async def test_the_numbers_of_spools_tell_the_orphans_of_dead_workers(self) -> None:
        spools = self.make()
        fill(spools.open(assignment()), ALIVE)
        self.kill(spools)
        assert spools.statistics() == NO_SPOOLS
        heir = self.make()
        (orphan,) = heir.orphans()
        heir.open(assignment("two"))
        size = orphan.spool.size
        assert size > 0
        assert heir.statistics() == SpoolStatistics(
            spools_open=2, orphans=1, bytes_on_disk=size, bytes_waiting=size
        )
        orphan.spool.discard()
        assert heir.statistics() == replace(NO_SPOOLS, spools_open=1)
