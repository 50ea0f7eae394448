"""What a check finds in logs that were damaged on purpose."""

import asyncio
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import apsw
import pytest
from msgspec import structs

from airunner.log.log import LogRefused
from airunner.log.sqlite.lock import FileLock
from airunner.log.sqlite.repair.check import Checked, check
from airunner.log.sqlite.schema import PAGE_BYTES, connect
from airunner.log.sqlite.wal import FRAME_HEADER_BYTES, HEADER_BYTES, wal_of
from airunner.model.facts import Event, Finished, Reported
from airunner.model.jobs import Position, Sequence
from tests.log.log_contract import CODEC, Writer, walked
from tests.log.sqlite.sample_logs import (
    JOBS,
    Rows,
    events_of,
    run,
    run_with_subjects,
    store,
    write,
    write_walk,
)
from tests.promises import holds, promise


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "log"


def found(path: Path) -> list[str]:
    findings: list[str] = []
    assert check(path, findings.append).findings == len(findings)
    return findings


def edit(path: Path, statement: str, *values: object) -> None:
    with closing(connect(path, write=True)) as connection:
        connection.execute(statement, values)


def rewritten(path: Path, old: Event, new: Event) -> None:
    """Put another event in the place of one, with a checksum that fits."""
    with closing(connect(path, write=True)) as connection:
        for table in ("facts", "reports"):
            connection.execute(f"DELETE FROM {table} WHERE place = ?", (old.place,))
        store(connection, new)


def test_a_sound_log_has_no_findings_and_is_counted(path: Path) -> None:
    write(path, size=1_000)
    findings: list[str] = []
    seen = check(path, findings.append)
    assert not findings
    assert seen == Checked(jobs=5, events=5 * 6, output_bytes=5 * 2_001)


@pytest.mark.parametrize("trimmed", [False, True])
def test_whatever_a_server_does_leaves_a_sound_log(path: Path, trimmed: bool) -> None:
    write_walk(path, walked(), trimmed=trimmed)
    assert not found(path)


def test_a_log_beside_its_server_is_checked_as_it_is_now(path: Path) -> None:
    lock = FileLock(path)
    with closing((log := Rows(path)).connection):
        run(Writer(log), JOBS)
        seen = check(path, print)
    lock.release()
    assert (seen.jobs, seen.findings) == (5, 0)
    assert "a server has the log open" in seen.notes[0]


def test_output_that_was_dropped_and_jobs_that_are_forgotten_are_no_findings(path: Path) -> None:
    with closing((log := Rows(path)).connection):
        run(writer := Writer(log), JOBS)
        drop(writer)
        assert not found(path)
        log.connection.execute("DELETE FROM reports")
        for id in (JOBS[0], *JOBS[2:]):  # with marks where there was output
            for event in events_of(log, id):
                if isinstance(event.fact, Reported):
                    store(log.connection, event)
    assert not found(path)


def test_facts_about_other_subjects_are_checked_row_by_row(path: Path) -> None:
    with closing((log := Rows(path)).connection):
        facts = run_with_subjects(writer := Writer(log))
    findings = list[str]()
    seen = check(path, findings.append, CODEC)
    assert not findings
    assert (seen.jobs, seen.events) == (5, len(writer.events))
    edit(path, "UPDATE facts SET at = at + 1 WHERE place = ?", facts[2].place)
    assert check(path, findings.append, CODEC).findings == 1
    assert f"the event at position {facts[2].place} (queue/q0) is damaged: its check" in findings[0]


def test_a_fact_of_a_kind_that_is_not_known_is_a_finding(path: Path) -> None:
    with closing((log := Rows(path)).connection):
        run_with_subjects(Writer(log))
    findings = found(path)
    assert len(findings) == 5
    assert all("a record of kind 190, which is not known here" in each for each in findings)


def drop(writer: Writer) -> None:
    asyncio.run(writer.drop(JOBS[0]))
    asyncio.run(writer.forget(JOBS[1]))


@holds("log-file/check-finds-damage")
def test_a_row_that_was_changed_is_named(path: Path) -> None:
    writer = write(path)
    event = writer.visible(JOBS[2])[2]
    edit(path, "UPDATE reports SET sent = sent + 1 WHERE place = ?", event.place)
    (finding,) = found(path)
    assert f"position {event.place} (job three, up to sequence 4)" in finding


@holds("log-file/check-finds-damage")
@pytest.mark.parametrize(
    ("index", "change", "says"),
    [
        (2, lambda event: structs.replace(event, link=b"x" * 32), "its link does not continue"),
        (2, lambda event: structs.replace(event, at=event.at + 1), "its link does not continue"),
        (2, lambda event: shifted(event, 1), "the events of sequences 3 to 3 are missing"),
        (3, lambda event: shifted(event, -1), "begins at sequence 4, but earlier events reach 4"),
        (
            3,
            lambda event: structs.replace(event, place=Position(1_000)),
            "before the position of the event that it follows",
        ),
        (4, lambda event: resealed(event, count=7), "seal does not fit"),
        (4, lambda event: resealed(event, size=7), "seal does not fit"),
        (4, lambda event: resealed(event, cut=7), "seal does not fit"),
    ],
)
def test_what_does_not_hold_together_is_named(
    path: Path, index: int, change: Callable[[Event], Event], says: str
) -> None:
    writer = write(path)
    event = writer.visible(JOBS[2])[index]
    rewritten(path, event, change(event))
    (finding,) = found(path)
    assert finding.startswith("job three: ")
    assert says in finding


def shifted(event: Event, by: int) -> Event:
    return structs.replace(event, first=Sequence(event.first + by))


def resealed(event: Event, **fields: int) -> Event:
    assert isinstance(event.fact, Finished)
    assert event.fact.seal
    seal = structs.replace(event.fact.seal, **fields)
    return structs.replace(event, fact=structs.replace(event.fact, seal=seal))


@holds("log-file/check-finds-damage")
def test_an_event_that_is_missing_is_named(path: Path) -> None:
    writer = write(path)
    event = next(each for each in writer.visible(JOBS[1]) if isinstance(each.fact, Reported))
    edit(path, "DELETE FROM reports WHERE place = ?", event.place)
    (finding,) = found(path)
    assert finding.startswith(f"job two: the event at position {event.place + 1} (sequence 5): ")
    assert finding.endswith("the events of sequences 3 to 4 are missing")


def test_two_events_at_one_place_are_named(path: Path) -> None:
    writer = write(path)
    fact, report = writer.visible(JOBS[1])[0], writer.visible(JOBS[1])[2]
    rewritten(path, report, report)
    with closing(connect(path, write=True)) as connection:
        store(connection, structs.replace(report, place=fact.place))
    assert f"position {fact.place} has two events" in found(path)


@promise(
    "log-file/check-finds-damage",
    "`airunner log check` finds damaged and missing parts: pages, rows, sequences, links and "
    "seals.",
)
def test_a_flipped_bit_in_any_page_is_found(path: Path) -> None:
    write(path)
    whole = path.read_bytes()
    for number in range(1, len(whole) // PAGE_BYTES):
        damaged = bytearray(whole)
        damaged[number * PAGE_BYTES + 4_000] ^= 4
        path.write_bytes(damaged)
        assert found(path), f"page {number + 1}"


def test_damage_in_the_write_ahead_log_is_a_finding(path: Path, tmp_path: Path) -> None:
    copied = tmp_path / "copied"
    with closing((log := Rows(path)).connection):
        run(Writer(log), JOBS)
        wal = bytearray(wal_of(path).read_bytes())
        copied.write_bytes(path.read_bytes())
    wal[HEADER_BYTES + FRAME_HEADER_BYTES + 9] ^= 1
    wal_of(copied).write_bytes(wal)
    assert any("frame 1 " in finding for finding in found(copied))
    wal_of(copied).write_bytes(wal_of(copied).read_bytes()[:-100])
    torn = bytes(wal[:HEADER_BYTES]) + bytes(100)
    wal_of(copied).write_bytes(torn)
    assert not found(copied)


def test_what_is_no_log_of_ours_or_a_later_ones_is_refused(path: Path) -> None:
    with pytest.raises(LogRefused, match="there is no log"):
        check(path, print)
    with closing(apsw.Connection(str(path))) as other:
        other.execute("CREATE TABLE t(x)")
    with pytest.raises(LogRefused, match="no log of airunner"):
        check(path, print)
    path.unlink()
    write(path)
    edit(path, "PRAGMA user_version=3")
    with pytest.raises(LogRefused, match="has format 3"):
        check(path, print)
