"""`airunner log` on real files, and beside a real server."""

import re
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from airunner.log.sqlite.schema import PAGE_BYTES
from tests.cli.conftest import Shell
from tests.log.sqlite.sample_logs import write
from tests.promises import holds


@pytest.fixture
def path(shell: Shell) -> Path:
    write(path := shell.home / "jobs.db")
    return path


def damage(path: Path) -> None:
    """Overwrites bytes in the last page that has rows."""
    with path.open("r+b") as file:
        for at in range(path.stat().st_size - PAGE_BYTES, 0, -PAGE_BYTES):
            file.seek(at)
            if file.read(1) == b"\x0d":  # a leaf page of a table
                file.seek(at + PAGE_BYTES - 500)
                file.write(b"something else")
                return


def test_a_sound_log_is_counted(shell: Shell, path: Path) -> None:
    done = shell.run("log", "check", str(path))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "5 jobs, 30 events, 29.3 KiB of output: sound\n"


def test_a_damaged_log_is_found_out_and_what_is_left_is_saved(shell: Shell, path: Path) -> None:
    damage(path)
    done = shell.run("log", "check", str(path))
    assert done.returncode == 1
    *findings, summary = done.stdout.splitlines()
    assert findings
    assert re.fullmatch(r"\d jobs, \d+ events, .* of output: \d+ findings?", summary)
    done = shell.run("log", "salvage", str(path), "saved.db")
    assert done.returncode == 1
    *told, summary = done.stdout.splitlines()
    assert any("is damaged" in line for line in told)
    assert "events are in saved.db: " in summary
    assert shell.run("log", "check", "saved.db").returncode == 0


def test_a_sound_log_loses_nothing_when_it_is_saved(shell: Shell, path: Path) -> None:
    done = shell.run("log", "salvage", str(path), "saved.db")
    assert (done.returncode, done.stdout) == (0, "5 jobs and 30 events are in saved.db\n")


def test_a_backup_is_a_log(shell: Shell, path: Path) -> None:
    done = shell.run("log", "backup", str(path), "copy.db")
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr.startswith("airunner: wrote copy.db (")
    checked = shell.run("log", "check", "copy.db")
    assert checked.stdout == "5 jobs, 30 events, 29.3 KiB of output: sound\n"


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["log", "check", "none.db"], "there is no log at none.db"),
        (["log", "check", "letter"], "letter is no log of airunner"),
        (["log", "check", "other.db"], "other.db is a SQLite file, but no log of airunner"),
        (["log", "backup", "none.db", "out"], "there is no log at none.db"),
        (["log", "backup", "jobs.db", "jobs.db"], "jobs.db is the log itself"),
        (["log", "backup", "jobs.db", "letter"], "letter is there already"),
        (["log", "salvage", "letter", "out"], "letter is no log of airunner"),
        (["log", "salvage", "jobs.db", "nowhere/out"], "there is no folder nowhere"),
        (["log", "check", "memory"], "memory is no SQLite file: `airunner log` reads the file of"),
        (["log", "backup", "nats://one/jobs", "out"], "nats://one/jobs is no SQLite file: "),
        (["log", "salvage", "nats://one/jobs", "out"], "and no other kind of store"),
        (["log", "check", "sqlite:none.db"], "there is no log at none.db"),
        (["log", "check"], "see `airunner log check --help`"),
        (["log", "chek", "jobs.db"], "see `airunner log --help`"),
    ],
)
def test_what_cannot_be_done_is_one_sentence(
    shell: Shell, path: Path, words: list[str], sentence: str
) -> None:
    (path.parent / "letter").write_text("Dear reader")
    with closing(sqlite3.connect(path.parent / "other.db")) as other:
        other.execute("CREATE TABLE t(x)")
    done = shell.run(*words)
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert sentence in line


def test_a_damaged_log_is_not_copied(shell: Shell, path: Path) -> None:
    damage(path)
    done = shell.run("log", "backup", str(path), "copy.db")
    assert done.returncode == 1
    assert "airunner log salvage" in done.stderr
    assert not (path.parent / "copy.db").exists()


def test_a_server_goes_on_beside_a_check_and_a_backup(embedded: Shell) -> None:
    log = next(embedded.home.rglob("jobs.db"))
    id = embedded.submit("--", "echo", "before")
    assert embedded.run("monitor", id).returncode == 0
    done = embedded.run("log", "backup", str(log), "copy.db")
    assert done.returncode == 0, done.stderr
    assert embedded.run("submit", "--", "echo", "after").returncode == 0
    checked = embedded.run("log", "check", str(log))
    assert (checked.returncode, checked.stdout[:7]) == (0, "2 jobs,")
    assert "a server has the log open" in checked.stderr
    copied = embedded.run("log", "check", "copy.db")
    assert (copied.returncode, copied.stdout[:6], copied.stderr) == (0, "1 job,", "")
    refused = embedded.run("log", "salvage", str(log), "saved.db")
    assert refused.returncode == 2
    assert re.search(r"is in use by process \d+: ", refused.stderr)


@holds("results/artifacts-follow-their-log")
def test_artifacts_are_checked_copied_and_saved_with_their_log(embedded: Shell) -> None:
    log = next(embedded.home.rglob("jobs.db"))
    submitted = embedded.run("submit", "--artifact", "*", "--step", "echo one >1; echo two >2")
    assert submitted.returncode == 0, submitted.stderr
    copied = embedded.run("log", "backup", str(log), "kept.db")
    assert copied.returncode == 0
    assert copied.stderr.endswith("and 2 artifacts of 8 B beside it\n")
    checked = embedded.run("log", "check", "kept.db")
    assert checked.stdout.endswith("2 artifacts of 8 B: sound\n")
    folder = embedded.home / "kept.db-artifacts"
    one, _ = sorted((each for each in folder.rglob("*") if each.is_file()), key=Path.read_bytes)
    one.write_bytes(b"eno\n")
    checked = embedded.run("log", "check", "kept.db")
    assert checked.returncode == 1
    finding, summary = checked.stdout.splitlines()
    assert re.match(r"the artifact 1 of job \S+ has changed: ", finding)
    assert summary.endswith("2 artifacts of 8 B: 1 finding")
    saved = embedded.run("log", "salvage", "kept.db", "rest.db")
    assert saved.returncode == 1
    assert saved.stdout.startswith("the artifact 1 of job ")
    assert saved.stdout.endswith("are in rest.db; 1 artifact beside it\n")
    one.unlink()
    again = embedded.run("log", "backup", "kept.db", "next.db")
    assert again.returncode == 1
    assert "is missing: there is no kept.db-artifacts/" in again.stdout
    assert (embedded.home / "next.db").exists()
