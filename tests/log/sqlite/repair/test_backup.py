"""Copies of a log, beside the one who writes it."""

import stat
import struct
from contextlib import closing
from pathlib import Path

import apsw
import pytest

from airunner.log.log import LogDamaged, LogRefused
from airunner.log.sqlite.backup import backup
from airunner.log.sqlite.lock import FileLock
from airunner.log.sqlite.schema import PAGE_BYTES, connect
from airunner.log.sqlite.wal import FRAME_HEADER_BYTES, HEADER_BYTES, checksum, wal_of
from airunner.model.jobs import JobId
from tests.log.log_contract import Writer
from tests.log.sqlite.sample_logs import JOBS, Rows, run, write
from tests.promises import holds, promise


def contents(path: Path) -> list[tuple[object, ...]]:
    with closing(connect(path)) as connection:
        assert connection.pragma("integrity_check") == "ok"
        facts = connection.execute("SELECT place, job, record FROM facts").get
        reports = connection.execute("SELECT place, job, record FROM reports").get
        return [*facts, *reports]


@promise(
    "log-file/backup-is-one-moment",
    "A backup is the log of one moment, taken while the server continues. A migration makes a "
    "backup before it changes the format.",
)
def test_a_backup_is_the_log_as_it_was_while_a_server_goes_on(tmp_path: Path) -> None:
    path, out = tmp_path / "log", tmp_path / "out"
    lock = FileLock(path)
    with closing((log := Rows(path)).connection):
        run(writer := Writer(log), JOBS)
        log.connection.pragma("wal_checkpoint", "PASSIVE")
        log.connection.execute("DELETE FROM reports WHERE job = 'two'")
        run(writer, [JobId("six")])
        before = contents(path)
        backup(path, out)
        run(writer, [JobId("seven")])
    lock.release()
    assert [each.name for each in tmp_path.iterdir() if "out" in each.name] == ["out"]
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    assert contents(out) == before
    assert contents(path) != before


@holds("log-file/backup-is-one-moment")
def test_every_page_of_a_backup_has_its_own_checksum(tmp_path: Path) -> None:
    """SQLite gives those that were in the write-ahead log none of their own."""
    path, out = tmp_path / "log", tmp_path / "out"
    with closing((log := Rows(path)).connection):
        run(writer := Writer(log), JOBS)
        log.connection.pragma("wal_checkpoint", "TRUNCATE")
        run(writer, [JobId("six")])
        backup(path, out)
    data = out.read_bytes()
    for at in range(0, len(data), PAGE_BYTES):
        page = data[at : at + PAGE_BYTES]
        assert struct.unpack("<2I", page[-8:]) == checksum("<", page[:-8])


def test_a_log_without_page_checksums_has_a_backup_too(tmp_path: Path) -> None:
    path, out = tmp_path / "log", tmp_path / "out"
    with closing((log := Rows(path, checksums=False)).connection):
        run(Writer(log), JOBS)
    backup(path, out)
    assert contents(out) == contents(path)


def test_what_is_there_is_never_overwritten(tmp_path: Path) -> None:
    path, out = tmp_path / "log", tmp_path / "out"
    write(path)
    with pytest.raises(LogRefused, match="log is the log itself"):
        backup(path, path)
    out.write_text("precious")
    with pytest.raises(LogRefused, match="out is there already"):
        backup(path, out)
    assert out.read_text() == "precious"
    with pytest.raises(LogRefused, match="there is no folder"):
        backup(path, tmp_path / "none" / "out")


def test_what_is_no_log_has_no_backup(tmp_path: Path) -> None:
    path, out = tmp_path / "log", tmp_path / "out"
    with pytest.raises(LogRefused, match="there is no log at"):
        backup(path, out)
    path.touch()
    with pytest.raises(LogRefused, match="is empty"):
        backup(path, out)
    path.write_text("a letter")
    with pytest.raises(LogRefused, match="no SQLite file"):
        backup(path, out)
    path.unlink()
    with closing(apsw.Connection(str(path))) as other:
        other.execute("CREATE TABLE t(x)")
    with pytest.raises(LogRefused, match="no log of airunner"):
        backup(path, out)
    assert not out.exists()


def test_a_damaged_log_has_no_backup_and_leaves_nothing_behind(tmp_path: Path) -> None:
    path, out = tmp_path / "log", tmp_path / "out"
    write(path)
    with path.open("r+b") as file:
        file.seek(3 * PAGE_BYTES + 100)
        file.write(b"damage")
    with pytest.raises(LogDamaged, match="airunner log salvage"):
        backup(path, out)
    assert {each.name for each in tmp_path.iterdir()} <= {"log", "log.lock", "log-wal", "log-shm"}


def test_a_write_ahead_log_that_sqlite_would_cut_short_has_no_backup(tmp_path: Path) -> None:
    path, copied, out = tmp_path / "log", tmp_path / "copied", tmp_path / "out"
    with closing((log := Rows(path)).connection):
        run(Writer(log), JOBS)
        wal = bytearray(wal_of(path).read_bytes())
        copied.write_bytes(path.read_bytes())
    wal[HEADER_BYTES + FRAME_HEADER_BYTES + 9] ^= 1
    wal_of(copied).write_bytes(wal)
    with pytest.raises(LogDamaged, match=r"frame 1 .* is damaged"):
        backup(copied, out)
    assert wal_of(copied).read_bytes() == wal
