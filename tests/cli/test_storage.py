"""The storage of a server: --store, --fsync, and errors of the disk."""

import json
import os
import resource
import signal
import sqlite3
import stat
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from airunner.cli.commands.server import _retention
from airunner.cli.processes.storage import storage_options
from airunner.log.storage import StorageOptions
from airunner.model.limits import GIB, KIB, MEMORY_OUTPUT_BYTES_PER_JOB, MIB, OUTPUT_BYTES_MAX
from tests.cli.conftest import PATIENCE, Shell
from tests.promises import holds, promise
from tests.support.installation import Site, site

JOBS = ".local/share/airunner/jobs.db"
EMBEDDED = ".local/share/airunner/embedded/jobs.db"


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Site]:
    with site(tmp_path / "site") as it:
        yield it


def server(shell: Shell, *words: str) -> Sequence[str]:
    """The command of a server that could start without the given words."""
    if not (shell.home / "certs").exists():
        shell.run("certs", "--dir", "certs")
    tls = ("--tls-cert", "certs/server.pem", "--tls-key", "certs/server-key.pem")
    return ("server", "--no-auth", "--listen", "127.0.0.1:0", *tls, *words)


@contextmanager
def up(shell: Shell, *words: str) -> Iterator[None]:
    """Runs `airunner up` during a block."""
    process = shell.start("up", "--listen", "127.0.0.1:0", *words)
    assert process.stderr
    assert any(b"ready at" in line for line in process.stderr)
    yield
    process.terminate()
    assert process.stderr.read()
    assert process.wait(PATIENCE) == 0


def test_a_path_may_begin_with_the_home_of_its_user() -> None:
    home = Path.home()
    assert storage_options("sqlite:~/jobs.db", None, 0).log == f"sqlite:{home}/jobs.db"
    assert storage_options("sqlite:jobs.db", None, 0).log == "sqlite:jobs.db"
    assert storage_options("memory", None, 0).log == "memory"


def test_a_file_keeps_more_than_memory_does_unless_told_otherwise() -> None:
    memory, file = StorageOptions(log="memory"), StorageOptions(log="sqlite:jobs.db")
    kept = [_retention(store) for store in (memory, file)]
    assert kept[0].output_bytes_per_job == MEMORY_OUTPUT_BYTES_PER_JOB
    assert kept[1].output_bytes_per_job == OUTPUT_BYTES_MAX
    assert kept[1].output_bytes_total == 10 * GIB
    assert [each.artifact_bytes_total for each in kept] == [256 * MIB, 10 * GIB]
    told = _retention(file, "1KiB", "2MiB", "3KiB", "4MiB")
    assert (told.output_bytes_per_job, told.output_bytes_total) == (KIB, 2 * MIB)
    assert (told.artifact_bytes_per_job, told.artifact_bytes_total) == (3 * KIB, 4 * MIB)


def test_up_remembers_jobs_and_their_logs(shell: Shell) -> None:
    with up(shell):
        assert shell.run("submit", "--", "echo", "kept").stdout == "kept\n"
        id = shell.run("list", "--json").stdout.split('"id": "')[1].split('"')[0]
    with up(shell):
        assert shell.run("logs", id).stdout == "kept\n"
        assert shell.run("verify", id).returncode == 0
    assert stat.S_IMODE((shell.home / EMBEDDED).stat().st_mode) == 0o600


def test_up_can_be_told_to_forget(shell: Shell) -> None:
    with up(shell, "--store", "memory"):
        shell.submit("--", "true")
    assert not (shell.home / EMBEDDED).exists()
    with up(shell, "--store", "memory"):
        assert shell.run("list", "--json").stdout == ""


def test_a_server_that_is_not_told_keeps_its_jobs_with_its_users_data(shell: Shell) -> None:
    process = shell.start(*server(shell))
    assert process.stderr
    line = next(line for line in process.stderr if b" store " in line).decode()
    process.terminate()
    assert process.stderr.read()
    assert process.wait(PATIENCE) == 0
    path = shell.home / JOBS
    assert str(path) in line
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def restart(it: Site, *words: str) -> None:
    assert it.server
    it.server.signal(signal.SIGTERM)
    it.server.wait()
    it.start_server(*words)


def no_folder(home: Path) -> Path:
    return home / "nowhere" / "jobs.db"


def a_folder(home: Path) -> Path:
    (home / "jobs.db").mkdir()
    return home / "jobs.db"


def a_text(home: Path) -> Path:
    (home / "jobs.db").write_text("Dear diary,\n")
    return home / "jobs.db"


def another_database(home: Path) -> Path:
    with closing(sqlite3.connect(home / "jobs.db")) as connection:
        connection.execute("CREATE TABLE mine(it)")
    return home / "jobs.db"


def no_permission(home: Path) -> Path:
    return Path("/proc/jobs.db")


@pytest.mark.parametrize(
    ("place", "why"),
    [
        (no_folder, "make the folder for the log first"),
        (a_folder, "Is a directory"),
        (a_text, "is no SQLite file"),
        (another_database, "is a SQLite file, but no log of airunner"),
        (no_permission, "cannot open the log /proc/jobs.db: "),
    ],
    ids=lambda each: getattr(each, "__name__", ""),
)
def test_a_file_that_can_be_no_log_is_refused_in_a_sentence(
    shell: Shell, place: object, why: str
) -> None:
    assert callable(place)
    path = place(shell.home)
    before = path.read_bytes() if path.is_file() else b""
    done = shell.run(*server(shell, "--store", f"sqlite:{path}"))
    assert done.returncode == 125
    (line,) = done.stderr.splitlines()
    assert line.startswith("airunner: ")
    assert why in line
    assert not path.is_file() or path.read_bytes() == before


def killed(it: Site) -> Path:
    """The write-ahead log of a server that was killed with three jobs in it."""
    for _ in range(3):
        it.submit("--", "true")
    assert it.server
    it.server.signal(signal.SIGKILL)
    it.server.wait()
    return it.folder / "jobs.db-wal"


def test_a_torn_tail_is_dropped_and_said_at_the_start(own: Site) -> None:
    wal = killed(own)
    os.truncate(wal, wal.stat().st_size - 100)
    note = str(own.start_server().said("store_note")["note"])
    assert note.startswith("dropped a torn tail of ")
    assert own.server
    assert own.server.said("store")["jobs"] == 2


def test_a_damaged_file_is_not_served_and_what_to_do_is_said(own: Site) -> None:
    wal = killed(own)
    data = bytearray(wal.read_bytes())
    data[len(data) // 2] ^= 1
    wal.write_bytes(data)
    done = own.run(*own.server_command())
    assert done.returncode == 125
    (line,) = done.stderr.decode().splitlines()
    assert "is damaged" in line
    assert "airunner log salvage" in line


@promise(
    "server/failing-disk-ends-the-server",
    "A failing disk ends the server. The server answers nothing that is not on disk, and the next "
    "start has everything that was answered.",
)
def test_a_disk_that_fails_ends_the_server_which_loses_nothing_that_it_answered(own: Site) -> None:
    assert own.server
    answered = [own.submit("--", "true")]
    size = 4 * (own.folder / "jobs.db-wal").stat().st_size
    resource.prlimit(
        own.server.pid, resource.RLIMIT_FSIZE, (size, size)
    )  # a write beyond the limit fails
    large = ("--env", f"X={'x' * 50_000}")
    while not (done := own.run("submit", "--detach", *large, "--", "true")).returncode:
        answered += done.stdout.decode().split()
    assert done.returncode == 125
    assert own.server.wait() == 125
    failed = str(own.server.said("log_failed")["error"])
    assert failed.startswith(f"the log {own.folder}/jobs.db failed, so the server stops: ")
    own.start_server()
    listed = own.run("list", "--json", check=True).stdout.splitlines()
    assert set(answered) <= {json.loads(line)["id"] for line in listed}


@holds("server/short-disk-refuses-new-work")
def test_a_server_whose_disk_is_short_of_room_takes_no_job(tmp_path: Path) -> None:
    with site(tmp_path / "site", server=("--free-bytes-min", "1000TiB")) as it:
        done = it.run("submit", "--", "true")
        assert done.returncode == 125
        assert b"the server's disk is short of room: " in done.stderr
        assert f"MiB are free at {it.folder}".encode() in done.stderr
        assert it.run("list", check=True).returncode == 0


@holds("server/short-disk-refuses-new-work")
def test_output_waits_while_a_disk_is_short_of_room_and_is_whole_after(tmp_path: Path) -> None:
    with site(tmp_path / "site") as it:
        it.start_worker("--visibility-timeout", "30")
        go, written = tmp_path / "go", tmp_path / "written"
        os.mkfifo(go)
        os.mkfifo(written)
        id = it.submit("--", "sh", "-c", f"read line <{go}; seq 1000; echo >{written}")
        it.wait_for(id, "process_start")
        restart(it, "--free-bytes-min", "1000TiB")
        go.write_text("go\n")
        assert written.read_text() == "\n"
        assert it.run("logs", id, check=True).stdout == b""
        restart(it)
        assert it.run("monitor", id).returncode == 0
        assert it.run("logs", id).stdout == b"".join(b"%d\n" % n for n in range(1, 1001))
