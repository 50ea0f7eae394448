"""Artifacts on their way from a real worker to its server, and what comes between."""

import signal
from hashlib import sha256
from pathlib import Path

import pytest

from tests.promises import holds, promise
from tests.support.installation import Process, Site, site

BYTES = 24 * 1024 * 1024
LEAVE = f'read word <"$GATE"; head -c {BYTES} /dev/zero >big; echo small >small'
DIGEST = sha256(bytes(BYTES)).hexdigest()


@pytest.fixture
def gate(tmp_path: Path) -> Path:
    return tmp_path / "gate"


def begin(it: Site, gate: Path) -> str:
    """A job that has begun, and leaves its files once somebody has written to the gate."""
    script = f'mkfifo "$GATE"; echo ready; {LEAVE}'
    id = it.submit("--env", f"GATE={gate}", "--artifact", "*", "--script", script)
    it.wait_for(id, "output")
    return id


def kill(server: Process | None) -> None:
    assert server
    server.signal(signal.SIGKILL)
    server.wait()


@promise(
    "results/upload-survives-server-death",
    "An upload succeeds although the server is killed, for as long as the lease holds. A repeated "
    "upload is stored once.",
)
def test_artifacts_wait_for_a_server_that_is_away_and_are_whole(own: Site, gate: Path) -> None:
    worker = own.start_worker("--once")
    id = begin(own, gate)
    kill(own.server)
    gate.write_text("go\n")
    worker.said("disconnected")
    own.start_server()
    assert own.run("monitor", id).returncode == 0
    assert worker.wait() == 0
    own.run("artifacts", "get", id, "--output", "got", check=True)
    got = own.folder / "got"
    assert sha256((got / "big").read_bytes()).hexdigest() == DIGEST
    assert (got / "small").read_text() == "small\n"


@holds("results/upload-survives-server-death")
def test_a_lease_that_lapses_ends_the_upload(own: Site, gate: Path) -> None:
    worker = own.start_worker("--once", "--visibility-timeout", "2")
    begin(own, gate)
    kill(own.server)
    gate.write_text("go\n")
    worker.said("lease_lost")
    assert worker.wait() == 125


def test_what_a_server_has_no_room_for_fails_a_job_that_did_well(tmp_path: Path) -> None:
    with site(tmp_path / "site", server=["--artifacts-per-job", "1MiB"]) as it:
        it.start_worker()
        files = "head -c 2000000 /dev/zero >big; echo small >small"
        done = it.run("submit", "--artifact", "*", "--script", files)
        assert done.returncode == 125
        assert b"'big' was not stored by the server: the job's artifacts would take" in done.stderr
        id = done.stderr.decode().split("airunner: job ")[1].split()[0]
        job = it.show(id)
        assert (job["state"], job["reason"]) == ("failed", "artifacts_failed")
        assert it.run("artifacts", "get", id, "--output", "got").returncode == 0
        assert [path.name for path in (it.folder / "got").iterdir()] == ["small"]
