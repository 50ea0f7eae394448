"""One server to a log, with real processes."""

import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from airunner.log.sqlite.lock import FileLock, LogInUse, is_served
from tests.promises import holds, promise

HOLDS = """
import sys
from pathlib import Path
from airunner.log.sqlite.lock import FileLock
lock = FileLock(Path(sys.argv[1]))
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def holder(tmp_path: Path) -> Iterator["subprocess.Popen[str]"]:
    """A process that holds the lock of `log`."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDS, str(tmp_path / "log")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.communicate()


@promise(
    "log-file/one-server-per-log",
    "A log has one server at a time. The lock ends with the process, however the process ends.",
)
def test_a_second_process_is_refused_and_told_who_has_it(
    tmp_path: Path, holder: "subprocess.Popen[str]"
) -> None:
    with pytest.raises(LogInUse, match=rf"log is in use by process {holder.pid}: "):
        FileLock(tmp_path / "log")
    assert is_served(tmp_path / "log")


@holds("log-file/one-server-per-log")
def test_a_process_that_is_killed_leaves_no_lock(
    tmp_path: Path, holder: "subprocess.Popen[str]"
) -> None:
    holder.kill()
    holder.wait()
    assert not is_served(tmp_path / "log")
    FileLock(tmp_path / "log").release()


def test_a_lock_is_free_once_it_is_released_and_its_file_stays(tmp_path: Path) -> None:
    lock = FileLock(tmp_path / "log")
    with pytest.raises(LogInUse):
        FileLock(tmp_path / "log")
    lock.release()
    lock.release()
    FileLock(tmp_path / "log").release()
    assert stat.S_IMODE((tmp_path / "log.lock").stat().st_mode) == 0o600


def test_a_log_that_nobody_ever_served_is_not_served(tmp_path: Path) -> None:
    assert not is_served(tmp_path / "log")
    assert not (tmp_path / "log.lock").exists()
