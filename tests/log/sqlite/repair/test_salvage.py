"""What is saved of logs that were damaged on purpose: never less than a prefix, never a lie."""

import asyncio
import os
import random
import stat
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import apsw
import pytest

from airunner.log.log import LogRefused
from airunner.log.records import FACTS
from airunner.log.sqlite.lock import FileLock
from airunner.log.sqlite.log import SqliteLog
from airunner.log.sqlite.repair.check import check
from airunner.log.sqlite.repair.salvage import Salvaged, salvage
from airunner.log.sqlite.schema import PAGE_BYTES, connect
from airunner.log.sqlite.wal import FRAME_HEADER_BYTES, HEADER_BYTES, wal_of
from airunner.model.facts import (
    Enqueued,
    Event,
    Finished,
    Forgotten,
    Renewed,
    Reported,
    SubjectFact,
    sequence_count,
)
from airunner.model.jobs import JobId
from airunner.server.replay import replay
from airunner.store.engine import Engine
from tests.log.log_contract import CODEC, Writer, output, read, walked
from tests.log.sqlite.sample_logs import JOBS, Rows, run, run_with_subjects, write, write_walk
from tests.promises import holds, promise


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "log"


def saved(path: Path, out: Path) -> tuple[Salvaged, list[str]]:
    """What came of it; the new log is sound, a server can start on it, and the old one is as it was."""
    before = [each.read_bytes() for each in (path, wal_of(path)) if each.exists()]
    told: list[str] = []
    done = salvage(path, out, told.append)
    assert before == [each.read_bytes() for each in (path, wal_of(path)) if each.exists()]
    assert check(out, print).findings == 0
    return done, told


def contents(path: Path, ids: Sequence[JobId] = JOBS) -> dict[JobId, list[Event]]:
    """What a server that starts on the log has of each job; it can settle and go on.

    What it then adds itself, the end of a job that waited too long, say, is in the log, and not here.
    """

    async def reads() -> dict[JobId, list[Event]]:
        log = SqliteLog.open(path)
        try:
            engine = Engine()
            await replay(log, engine)
            engine.check()
            found = {id: await read(log, id) for id in ids}
            await log.append(engine.record(engine.queue.resume(engine.now), engine.now))
            return found
        finally:
            await log.close()

    return asyncio.run(reads())


def damaged(path: Path, *offsets: int) -> None:
    """Other bytes at these offsets."""
    with path.open("r+b") as file:
        for at in offsets:
            file.seek(at)
            found = file.read(1)
            file.seek(at)
            file.write(bytes([found[0] ^ 0x55]))


def crashed(path: Path, out: Path, *, checkpoint: bool = False) -> Writer:
    """A log of five jobs as a crash leaves it, with most or all of it in the write-ahead log."""
    with closing((log := Rows(path)).connection):
        run(writer := Writer(log), JOBS[:2])
        if checkpoint:
            log.connection.pragma("wal_checkpoint", "TRUNCATE")
        run(writer, JOBS[2:])
        out.write_bytes(path.read_bytes())
        wal_of(out).write_bytes(wal_of(path).read_bytes())
    return writer


def a_prefix(events: Sequence[object], whole: Sequence[object]) -> bool:
    return list(events) == list(whole[: len(events)])


def test_a_sound_log_is_saved_whole(path: Path, tmp_path: Path) -> None:
    writer = write(path)
    done, told = saved(path, out := tmp_path / "out")
    assert not told
    assert not done.lost
    assert (done.jobs, done.open, done.events) == (5, 0, 5 * 6)
    assert contents(out) == {id: writer.visible(id) for id in JOBS}
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    assert {each.name for each in tmp_path.iterdir()} <= {
        "log", "log.lock", "out", "out.lock", "out-wal", "out-shm",
    }  # fmt: skip


@pytest.mark.parametrize("checkpoint", [False, True])
def test_what_is_only_in_the_write_ahead_log_is_saved(
    path: Path, tmp_path: Path, checkpoint: bool
) -> None:
    writer = crashed(tmp_path / "made", path, checkpoint=checkpoint)
    done, told = saved(path, out := tmp_path / "out")
    assert not told
    assert contents(out) == {id: writer.visible(id) for id in JOBS}
    assert done.jobs == 5


@holds("log-file/salvage-keeps-intact-beginnings")
@pytest.mark.parametrize("seed", range(20))
def test_damage_in_the_middle_of_the_write_ahead_log_costs_no_more_than_it_hit(
    path: Path, tmp_path: Path, seed: int
) -> None:
    """SQLite would keep nothing from there on."""
    writer = crashed(tmp_path / "made", path, checkpoint=seed % 2 == 0)
    size = wal_of(path).stat().st_size
    damaged(wal_of(path), random.Random(seed).randrange(HEADER_BYTES, size * 3 // 4))
    saved(path, out := tmp_path / "out")
    kept = contents(out)
    assert all(a_prefix(kept[id], writer.visible(id)) for id in JOBS)
    assert sum(kept[id] == writer.visible(id) for id in JOBS) >= 4


def test_a_damaged_header_of_the_write_ahead_log_costs_nothing(path: Path, tmp_path: Path) -> None:
    writer = crashed(tmp_path / "made", path)
    damaged(wal_of(path), 2, 9)
    saved(path, out := tmp_path / "out")
    assert contents(out) == {id: writer.visible(id) for id in JOBS}


def test_a_torn_tail_is_left_out_as_a_server_would(path: Path, tmp_path: Path) -> None:
    crashed(tmp_path / "made", path)
    wal = wal_of(path).read_bytes()
    wal_of(path).write_bytes(wal[: -FRAME_HEADER_BYTES - 100])
    saved(path, out := tmp_path / "out")
    kept = contents(out)
    assert not kept[JOBS[-1]] or not isinstance(kept[JOBS[-1]][-1].fact, Finished)
    assert kept == contents(path)


@promise(
    "log-file/salvage-keeps-intact-beginnings",
    "A salvage keeps the longest intact beginning of each job. It names each loss and leaves the "
    "damaged log unchanged.",
)
def test_any_one_damaged_page_costs_no_more_than_what_is_on_it(path: Path, tmp_path: Path) -> None:
    writer = write(path)
    whole = path.read_bytes()
    for number in range(len(whole) // PAGE_BYTES):
        path.write_bytes(whole)
        damaged(path, number * PAGE_BYTES + 3_333)
        out = tmp_path / f"out{number}"
        done, told = saved(path, out)
        kept = contents(out)
        assert all(a_prefix(kept[id], writer.visible(id)) for id in JOBS)
        assert sum(kept[id] == writer.visible(id) for id in JOBS) >= 4, number
        assert bool(told) is done.lost is (number != 1)  # the pointer map: no row was on it


def test_a_log_whose_first_page_is_gone_is_saved(path: Path, tmp_path: Path) -> None:
    writer = write(path)
    with path.open("r+b") as file:
        file.write(os.urandom(PAGE_BYTES))
    done, told = saved(path, out := tmp_path / "out")
    assert told == ["page 1 is damaged"]
    assert contents(out) == {id: writer.visible(id) for id in JOBS}
    assert done.jobs == 5


@holds("log-file/salvage-keeps-intact-beginnings")
def test_what_is_lost_is_named(path: Path, tmp_path: Path) -> None:
    writer = write(path)
    report = next(each for each in writer.visible(JOBS[1]) if isinstance(each.fact, Reported))
    first = writer.visible(JOBS[2])[0]
    assert isinstance(first.fact, Enqueued)
    with closing(connect(path, write=True)) as connection:
        connection.execute("UPDATE reports SET sent = 9 WHERE place = ?", (report.place,))
        connection.execute("UPDATE facts SET at = 9 WHERE place = ?", (first.place,))
    done, told = saved(path, out := tmp_path / "out")
    assert (done.jobs, done.open, done.shortened, done.left_out, done.damaged_rows) == (
        4,
        1,
        1,
        1,
        2,
    )
    assert any(f"position {report.place} (job two" in line for line in told)
    assert "job two ends at sequence 2 of 6: the events of sequences 3 to 4 are missing" in told
    assert any(
        line.startswith("job three is left out, though it had events up to sequence 6: ")
        for line in told
    )
    kept = contents(out)
    assert kept[JOBS[1]] == writer.visible(JOBS[1])[:2]
    assert not kept[JOBS[2]]


def test_a_lost_renewal_costs_nothing(path: Path, tmp_path: Path) -> None:
    writer = write(path)
    renewed = next(each for each in writer.events if isinstance(each.fact, Renewed))
    with closing(connect(path, write=True)) as connection:
        connection.execute("UPDATE facts SET at = 9 WHERE place = ?", (renewed.place,))
    done, _ = saved(path, out := tmp_path / "out")
    assert (done.jobs, done.shortened) == (5, 0)
    assert contents(out) == {id: writer.visible(id) for id in JOBS}


def test_what_retention_took_stays_away(path: Path, tmp_path: Path) -> None:
    async def retains() -> None:
        log = SqliteLog.open(path)
        writer = Writer(log)
        for id in JOBS:
            await writer.run(id, output("a" * 9_000))
        await writer.drop(JOBS[0])
        await writer.forget(JOBS[1])
        await writer.run(JobId("six"))
        await log.trimmed()
        await log.close()

    asyncio.run(retains())
    before = contents(path)
    done, told = saved(path, out := tmp_path / "out")
    assert not told
    assert contents(out) == before
    assert not before[JOBS[1]]
    assert done.jobs == 5


@pytest.mark.parametrize("seed", range(10))
def test_a_server_goes_on_with_what_random_damage_has_left(
    path: Path, tmp_path: Path, seed: int
) -> None:
    dice = random.Random(seed)
    write_walk(path, walk := walked(), trimmed=seed % 2 == 0)
    ids = sorted({event.job for event in walk.log})
    contents(path, ids)  # adds what time alone has done by now
    before = contents(path, ids)
    damaged(path, *(dice.randrange(path.stat().st_size) for _ in range(seed // 2)))
    done, _ = saved(path, out := tmp_path / "out")
    kept = contents(out, ids)
    for id in ids:  # a job whose Forgotten is lost, and whose rows were still there, is back
        whole = before[id] or [
            event for event in walk.log if event.job == id and sequence_count(event.fact)
        ]
        assert a_prefix(marked(kept[id]), marked(whole))
    assert done.lost or kept == before


def test_a_job_comes_back_if_only_the_fact_that_it_was_forgotten_is_lost(
    path: Path, tmp_path: Path
) -> None:
    """As a log has it that ended earlier. Retention takes the job again once a server runs."""
    with closing((log := Rows(path)).connection):
        run(writer := Writer(log), JOBS[:2])
        asyncio.run(writer.forget(JOBS[0]))
        run(writer, JOBS[2:3])
        change = "UPDATE facts SET crc = crc + 1 WHERE kind = ? AND job = ?"
        log.connection.execute(change, (FACTS[Forgotten], JOBS[0]))
    done, told = saved(path, out := tmp_path / "out")
    assert (done.jobs, done.damaged_rows, done.lost) == (3, 1, True)
    assert len(told) == 1
    assert [event.last for event in contents(out)[JOBS[0]]] == [1, 2, 4, 5, 6]


def test_every_intact_fact_about_another_subject_is_saved(path: Path, tmp_path: Path) -> None:
    with closing((log := Rows(path)).connection):
        facts = run_with_subjects(Writer(log))
        change = "UPDATE facts SET crc = crc + 1 WHERE place = ?"
        log.connection.execute(change, (facts[1].place,))
    told = list[str]()
    done = salvage(path, out := tmp_path / "out", told.append, CODEC)
    assert (done.jobs, done.shortened, done.damaged_rows) == (5, 0, 1)
    assert [f"position {facts[1].place} (queue/q1) is damaged" in each for each in told] == [True]
    assert check(out, print, CODEC).findings == 0

    async def saved_facts() -> list[Event]:
        log = SqliteLog.open(out, codec=CODEC)
        found = [each async for each in log.read() if isinstance(each.fact, SubjectFact)]
        await log.close()
        return found

    assert asyncio.run(saved_facts()) == [each for each in facts if each != facts[1]]


def marked(events: Sequence[Event]) -> list[tuple[int, int]]:
    """What stays when output becomes a mark, as it may at any time."""
    return [(event.place, event.last) for event in events]


def test_a_log_that_is_served_or_none_is_refused(path: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(LogRefused, match="there is no log"):
        salvage(path, out, print)
    write(path)
    lock = FileLock(path)
    with pytest.raises(LogRefused, match="is in use by process"):
        salvage(path, out, print)
    lock.release()
    with pytest.raises(LogRefused, match="is the log itself"):
        salvage(path, path, print)
    for size in (100, 3 * PAGE_BYTES):
        path.write_bytes(os.urandom(size))
        with pytest.raises(LogRefused, match=r"no log of airunner|nothing of a log"):
            salvage(path, out, print)
    path.unlink()
    with closing(apsw.Connection(str(path))) as other:
        other.execute("CREATE TABLE t(x)")
    with pytest.raises(LogRefused, match="no log of airunner"):
        salvage(path, out, print)
    assert {each.name for each in tmp_path.iterdir()} == {"log", "log.lock"}
