"""The contract of spools, in memory and on disk, and the further promises of spools on disk."""

import asyncio
import errno
import os
import resource
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
import structlog
from structlog.typing import EventDict

from airunner.model.limits import KIB, MIB, REFUSED_SPOOLS_MAX, UNACKNOWLEDGED_BYTES_MAX
from airunner.model.reports import Remark
from airunner.worker.spool.disk_spool import UNSENT_BYTES_MAX, DiskSpool
from airunner.worker.spool.disk_spools import STRANDED, DiskSpools
from airunner.worker.spool.segments import HEAD_BYTES
from airunner.worker.spool.spool import FinalReport, SpoolDamaged, size_of
from airunner.worker.spool.spools import MemorySpools, Orphan, Spools, SpoolStatistics
from tests.promises import holds
from tests.support.loop import virtually
from tests.support.memory_spools import MemoryDisk, MemoryDiskSpools
from tests.worker.spool.spool_contract import (
    DONE,
    NO_SPOOLS,
    PLENTY,
    SpoolContract,
    assignment,
    fill,
    output,
    read_all,
)

BYTES_MAX = 8 * MIB


class TestMemoryDiskSpools(SpoolContract):
    @pytest.fixture(autouse=True)
    def _disk(self) -> None:
        self.disk = MemoryDisk()

    def make(self) -> Spools:
        return MemoryDiskSpools(self.disk)

    def kill(self, spools: Spools) -> None:
        spools.close()

    def refused(self) -> Sequence[str]:
        return [given.job.id for given in self.disk.refused]


class TestDiskSpools(SpoolContract):
    @pytest.fixture(autouse=True)
    def _root(self, tmp_path: Path) -> Iterator[None]:
        self.root = tmp_path / "work"
        self.living: list[Spools] = []
        yield
        for spools in self.living:
            spools.close()

    def make(self) -> Spools:
        spools = DiskSpools(self.root, quiet(), bytes_max=BYTES_MAX)
        spools.lifeline()
        self.living.append(spools)
        return spools

    def kill(self, spools: Spools) -> None:
        self.living.remove(spools)
        spools.close()

    def refused(self) -> Sequence[str]:
        return [path.name.partition(".")[0] for path in (self.root / "refused").glob("*")]

    def exposed(self, orphan: Orphan) -> Sequence[str]:
        files = [path.read_bytes() for path in self.root.rglob("*") if path.is_file()]
        return ["secret" for each in files if b"secret" in each]


def quiet(journal: list[EventDict] | None = None) -> structlog.typing.FilteringBoundLogger:
    """A logger that appends its events to a list."""

    def note(logger: object, method: str, event: EventDict) -> str:
        if journal is not None:
            journal.append(event)
        raise structlog.DropEvent

    log: structlog.typing.FilteringBoundLogger = structlog.wrap_logger(None, processors=[note])
    return log


@contextmanager
def file_limit(size: int) -> Iterator[None]:
    """Limits the size of files that this process writes: a longer write fails, as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def left_behind(root: Path) -> Orphan:
    """The one orphan that the next worker finds."""
    (orphan,) = DiskSpools(root, quiet(), bytes_max=BYTES_MAX).orphans()
    return orphan


def flip(path: Path, offset: int) -> None:
    """Flips a bit of one byte; a second call restores the file."""
    data = bytearray(path.read_bytes())
    data[offset] ^= 4
    path.write_bytes(data)


def segments(root: Path) -> list[Path]:
    return sorted(path for path in root.rglob("*") if path.name.isdigit())


@pytest.fixture
def spools(tmp_path: Path) -> Iterator[DiskSpools]:
    made = DiskSpools(tmp_path, quiet(), bytes_max=BYTES_MAX)
    yield made
    made.close()


def test_a_spool_in_memory_is_full_at_its_window() -> None:
    spool = MemorySpools().open(assignment())
    fill(spool, output(UNACKNOWLEDGED_BYTES_MAX - 1000))
    assert not spool.full
    assert fill(spool, output(1000)).full


def test_tiny_chunks_count_for_more_than_their_bytes() -> None:
    assert size_of(output(*[1] * 1000)) > 10 * size_of(output(1000)) / 2


def test_everything_on_disk_is_its_owners_alone(tmp_path: Path, spools: DiskSpools) -> None:
    spools.lifeline()
    spool = fill(spools.open(assignment()), output(100))
    spool.conclude(FinalReport(1, DONE))
    found = list(tmp_path.rglob("*"))
    assert len(found) == 6
    for path in found:
        wanted = 0o700 if path.is_dir() else 0o600
        assert stat.S_IMODE(path.stat().st_mode) == wanted, path


def test_disk_space_is_bounded_by_the_spools_limit(tmp_path: Path, spools: DiskSpools) -> None:
    spool = spools.open(assignment())
    while not spool.full:
        fill(spool, output(64 * KIB))
    used = sum(path.stat().st_size for path in segments(tmp_path))
    assert BYTES_MAX <= used < BYTES_MAX + 65 * KIB


def test_a_worker_that_ends_with_nothing_undelivered_leaves_nothing(
    tmp_path: Path, spools: DiskSpools
) -> None:
    spools.lifeline()
    fill(spools.open(assignment()), output(100)).discard()
    spools.close()
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_was_discarded_is_the_next_spools_and_empty(
    tmp_path: Path, spools: DiskSpools
) -> None:
    first = fill(spools.open(assignment()), output(100))
    first.conclude(FinalReport(1, DONE))
    assert isinstance(first, DiskSpool)
    assert first.folder
    inode = first.folder.stat().st_ino
    first.discard()
    assert os.listdir(first.folder) == []
    second = spools.open(assignment())
    assert isinstance(second, DiskSpool)
    assert second.folder
    assert second.folder != first.folder
    assert second.folder.stat().st_ino == inode
    assert os.listdir(second.folder) == ["lease"]
    assert second.read(0, BYTES_MAX, 100) == (0, [])


def test_an_empty_folder_of_a_dead_worker_is_nobodys(tmp_path: Path, spools: DiskSpools) -> None:
    first = spools.open(assignment())
    assert isinstance(first, DiskSpool)
    assert first.folder
    first.discard()
    spools._locked.close()  # as the kernel does for a process that is gone
    after = DiskSpools(tmp_path, quiet(), bytes_max=BYTES_MAX)
    assert after.orphans() == []
    assert not first.folder.exists()
    after.close()


def test_a_record_that_was_cut_off_with_its_writer_is_left_out(
    tmp_path: Path, spools: DiskSpools
) -> None:
    fill(spools.open(assignment()), output(1), output(2), output(3))
    spools.close()
    (path,) = segments(tmp_path)
    whole = path.stat().st_size
    before = whole - HEAD_BYTES - 18  # where the last begins
    for size in (whole - 1, before + HEAD_BYTES, before + 1, before):
        os.truncate(path, size)
        heir = DiskSpools(tmp_path, quiet())
        (orphan,) = heir.orphans()
        assert orphan.spool.last == 2
        assert read_all(orphan.spool) == [output(1), output(2)]
        heir.close()


@holds("logs/log-trouble-fails-no-command")
def test_any_flipped_bit_is_damage_and_what_is_before_it_is_read(
    tmp_path: Path, spools: DiskSpools
) -> None:
    spool = fill(spools.open(assignment()), *[output(10) for _ in range(100)])
    spool.read(100, PLENTY, 1000)  # nothing is left in memory
    (path,) = segments(tmp_path)
    size = path.stat().st_size // 100
    for offset in range(size * 50, size * 51):
        flip(path, offset)
        assert len(spool.read(0, PLENTY, 1000)[1]) == 50
        with pytest.raises(SpoolDamaged):
            spool.read(50, PLENTY, 1000)
        flip(path, offset)
    assert len(spool.read(0, PLENTY, 1000)[1]) == 100


def test_a_file_that_is_gone_is_damage(tmp_path: Path, spools: DiskSpools) -> None:
    spool = fill(spools.open(assignment()), *[output(300 * KIB) for _ in range(20)])
    files = segments(tmp_path)
    assert len(files) > 3
    files[1].unlink()
    first, reports = spool.read(0, PLENTY, 1000)
    missing = int(files[1].name)
    assert (first, len(reports)) == (1, missing - 1)
    with pytest.raises(SpoolDamaged):
        spool.read(missing - 1, PLENTY, 1000)
    spools.close()
    files[2].unlink()
    with pytest.raises(SpoolDamaged):
        left_behind(tmp_path).spool.read(missing - 1, PLENTY, 1000)


def test_a_lease_that_cannot_be_read_is_set_aside(tmp_path: Path, spools: DiskSpools) -> None:
    fill(spools.open(assignment()), output(1))
    spools.close()
    (lease,) = tmp_path.rglob("lease")
    flip(lease, -1)
    journal: list[EventDict] = []
    assert DiskSpools(tmp_path, quiet(journal)).orphans() == []
    assert [event["event"] for event in journal] == ["spool_unreadable", "spool_refused"]
    assert list((tmp_path / "refused").rglob("lease"))


def test_a_last_word_that_cannot_be_read_is_none(tmp_path: Path, spools: DiskSpools) -> None:
    fill(spools.open(assignment()), output(1)).conclude(FinalReport(1, DONE))
    spools.close()
    (word,) = tmp_path.rglob("word")
    flip(word, -1)
    assert left_behind(tmp_path).final_report is None


def test_the_numbers_of_spools_tell_the_disk_from_the_memory_after_a_failure(
    spools: DiskSpools, tmp_path: Path
) -> None:
    spool = spools.open(assignment())
    fill(spool, output(10 * KIB))
    with file_limit(0):
        assert spool.append(2, output(20 * KIB))
    (file,) = segments(tmp_path)
    numbers = spools.statistics()
    assert numbers.bytes_on_disk == file.stat().st_size
    assert numbers.bytes_waiting == numbers.bytes_on_disk + size_of(output(20 * KIB))


def test_the_numbers_of_spools_in_memory_count_the_reports_that_wait() -> None:
    spools = MemorySpools()
    one, two = spools.open(assignment("one")), spools.open(assignment("two"))
    fill(one, output(1000))
    fill(two, output(500), output(500))
    two.forget(1)
    assert spools.statistics() == SpoolStatistics(
        spools_open=2,
        orphans=0,
        bytes_on_disk=0,
        bytes_waiting=size_of(output(1000)) + size_of(output(500)),
    )
    one.discard()
    two.refuse()
    assert spools.statistics() == NO_SPOOLS


@holds("logs/full-disk-costs-no-job")
def test_on_a_full_disk_a_spool_goes_on_in_memory_from_where_the_file_ends(
    tmp_path: Path,
) -> None:
    journal: list[EventDict] = []
    spools = DiskSpools(tmp_path, quiet(journal), bytes_max=BYTES_MAX)
    spool = spools.open(assignment())
    reports = [output(10 * KIB + n) for n in range(20)]
    with file_limit(100 * KIB):
        remarks = [spool.append(number, report) for number, report in enumerate(reports, 1)]
    said = [remark for remark in remarks if remark]
    assert remarks.index(said[0]) == 9
    assert [type(each) for each in said] == [Remark]
    assert os.strerror(errno.EFBIG) in said[0].message
    assert [(event["event"], event["job"]) for event in journal] == [("spool_failed", "one")]
    for after in (0, 5, 8, 9, 10, 19, 0):
        assert read_all(spool, after) == reports[after:]
    spool.forget(15)
    assert read_all(spool, 15) == reports[15:]
    fill(spool, output(1))
    assert read_all(spool, 20) == [output(1)]
    spools.close()


def test_a_spool_that_goes_on_in_memory_has_the_window_of_one_in_memory(tmp_path: Path) -> None:
    spools = DiskSpools(tmp_path, quiet(), bytes_max=64 * MIB)
    spool = spools.open(assignment())
    with file_limit(100 * KIB):
        assert spool.append(1, output(200 * KIB))
    found = [spool.full, fill(spool, output(UNACKNOWLEDGED_BYTES_MAX)).full]
    spool.forget(2)
    assert [*found, spool.full] == [False, True, False]
    spools.close()


def test_a_folder_that_cannot_be_written_costs_a_spool_and_no_job(tmp_path: Path) -> None:
    (tmp_path / "work").write_text("a file, where a folder should be")
    spools = DiskSpools(tmp_path / "work", quiet())
    assert spools.lifeline() is None
    spool = spools.open(assignment())
    assert isinstance(spool.append(1, output(7)), Remark)
    spool.conclude(FinalReport(1, DONE))
    assert read_all(spool) == [output(7)]
    spool.refuse()
    assert spools.orphans() == []
    spools.close()


def test_only_what_waits_to_be_sent_is_in_memory_and_not_too_much_of_it(
    tmp_path: Path, spools: DiskSpools
) -> None:
    blocks = [os.urandom(64 * KIB) for _ in range(64)]
    spool = spools.open(assignment())
    for block in blocks:
        fill(spool, output(len(block)))
    for path in segments(tmp_path):
        path.unlink()
    with pytest.raises(SpoolDamaged):
        spool.read(0, PLENTY, 1)
    unsent = UNSENT_BYTES_MAX // size_of(output(64 * KIB))
    assert len(spool.read(64 - unsent, PLENTY, 100)[1]) == unsent
    with pytest.raises(SpoolDamaged):
        spool.read(63 - unsent, PLENTY, 1)


@holds("jobs/undelivered-is-set-aside")
def test_what_is_refused_is_bounded_and_the_oldest_goes(tmp_path: Path, spools: DiskSpools) -> None:
    old = tmp_path / "refused"
    for number in range(REFUSED_SPOOLS_MAX):
        (old / f"old-{number:04}").mkdir(parents=True)
        os.utime(old / f"old-{number:04}", (number, number))
    fill(spools.open(assignment("new")), output(1)).refuse()
    names = {path.name.partition(".")[0] for path in old.iterdir()}
    assert len(names) == REFUSED_SPOOLS_MAX
    assert "new" in names
    assert "old-0000" not in names


def test_what_is_left_of_one_servers_jobs_is_kept_from_another(tmp_path: Path) -> None:
    dead = DiskSpools(tmp_path, quiet(), server="one:8443")
    fill(dead.open(assignment()), output(1))
    dead.close()
    other, heir = (DiskSpools(tmp_path, quiet(), server=f"{name}:8443") for name in ("two", "one"))
    assert other.orphans() == []
    assert len(heir.orphans()) == 1
    other.close()
    heir.close()


def test_what_nobody_has_come_for_is_set_aside(tmp_path: Path) -> None:
    dead = DiskSpools(tmp_path, quiet(), server="one:8443")
    dead.lifeline()
    fill(dead.open(assignment()), output(1))
    dead.close()
    (folder,) = tmp_path.iterdir()
    os.utime(folder, (1, 1))  # a job that was silent for long before its worker died
    for _ in range(2):
        other = DiskSpools(tmp_path, quiet(), server="two:8443")
        assert other.orphans() == []
        other.close()
        assert list(tmp_path.iterdir()) == [folder]
    os.utime(folder / STRANDED, (1, 1))
    assert DiskSpools(tmp_path, quiet(), server="two:8443").orphans() == []
    assert [path.name for path in tmp_path.iterdir()] == ["refused"]
    assert len(list((tmp_path / "refused").iterdir())) == 1


def test_an_attempt_is_gone_only_with_the_last_who_holds_its_trees(tmp_path: Path) -> None:
    async def main() -> None:
        dead, heir = (DiskSpools(tmp_path, quiet()) for _ in range(2))
        lifeline = dead.lifeline()
        assert lifeline is not None
        supervisor = os.dup(lifeline)
        dead.open(assignment("one"))
        dead.open(assignment("two"))
        dead.close()
        gone = [asyncio.Event(), asyncio.Event()]
        for orphan, event in zip(heir.orphans(), gone, strict=True):
            orphan.when_processes_gone(event.set)
        assert not any(event.is_set() for event in gone)
        os.close(supervisor)
        for event in gone:
            await event.wait()
        heir.close()

    asyncio.run(main())


@virtually
async def test_a_worker_without_a_lifeline_is_not_waited_for(tmp_path: Path) -> None:
    dead, heir = (DiskSpools(tmp_path, quiet()) for _ in range(2))
    dead.open(assignment())
    dead.close()
    (orphan,) = heir.orphans()
    told: list[str] = []
    orphan.when_processes_gone(lambda: told.append("gone"))
    assert told == ["gone"]
    heir.close()
