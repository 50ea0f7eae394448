"""A server that ends and starts again on the same file, which nobody notices."""

import hashlib
import json
import signal
import subprocess
from pathlib import Path

import pytest

from tests.promises import holds, promise
from tests.support.installation import Site

ENDS = pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGKILL], ids=["stopped", "killed"])
# Writes a line, its own process id first, whenever there is one more file in its folder.
COUNTING = 'echo $$; n=0; while [ $n -lt 6 ]; do n=$((n+1)); until [ -e "$0/$n" ]; do sleep 0.05; done; echo line $n; done; exit 7'


def restart(it: Site, end: signal.Signals) -> None:
    """Start the server again on the same address and file."""
    assert it.server
    it.server.signal(end)
    assert it.server.wait() == (0 if end == signal.SIGTERM else -signal.SIGKILL)
    it.start_server()


class Steps:
    """A job that writes its next line when it is told to."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.folder = folder
        self.command = ("--", "sh", "-c", COUNTING, str(folder))

    def go(self, *numbers: int) -> None:
        for number in numbers:
            (self.folder / str(number)).touch()


@promise(
    "server/restart-is-not-noticed",
    "Clients do not notice a restart, after SIGTERM or `kill -9`. Running jobs, their leases and "
    "output, monitors, the order of the queue, request ids and finished logs continue.",
)
@ENDS
def test_a_job_runs_through_a_restart_and_none_of_its_output_is_missing(
    own: Site, tmp_path: Path, end: signal.Signals
) -> None:
    own.start_worker("--visibility-timeout", "30")
    steps = Steps(tmp_path / "steps")
    submit = own.start("submit", *steps.command, stdout=subprocess.PIPE)
    assert submit.popen.stdout
    with submit.popen.stdout as output:
        pid = int(output.readline())
        steps.go(1, 2)
        assert [output.readline(), output.readline()] == [b"line 1\n", b"line 2\n"]
        assert own.server
        own.server.signal(end)
        own.server.wait()
        steps.go(3, 4)
        assert Path(f"/proc/{pid}").exists()
        own.start_server()
        assert [output.readline(), output.readline()] == [b"line 3\n", b"line 4\n"]
        assert Path(f"/proc/{pid}").exists()
        steps.go(5, 6)
        assert output.read() == b"line 5\nline 6\n"
        assert submit.wait() == 7
    (id,) = listed(own)
    job = own.show(id)
    assert (job["attempt"], job["failures"], job["exit_code"]) == (1, 0, 7)
    assert own.run("verify", id).returncode == 0


@holds("server/restart-is-not-noticed")
@ENDS
def test_a_monitor_sees_every_event_once_over_a_restart(
    own: Site, tmp_path: Path, end: signal.Signals
) -> None:
    own.start_worker("--visibility-timeout", "30")
    steps = Steps(tmp_path / "steps")
    id = own.submit(*steps.command)
    events = own.events(id)
    seen = [next(events) for _ in range(4)]
    steps.go(1)
    restart(own, end)
    steps.go(2, 3)
    seen.append(next(events))
    restart(own, end)
    steps.go(4, 5, 6)
    seen += events
    assert [event["sequence"] for event in seen] == list(range(1, len(seen) + 1))
    assert seen[-1]["type"] == "finished"
    assert seen == list(own.events(id))


@holds("server/restart-is-not-noticed")
@ENDS
def test_jobs_in_line_keep_their_order(own: Site, end: signal.Signals) -> None:
    ids = [own.submit("--", "echo", str(number)) for number in range(5)]
    restart(own, end)
    assert listed(own) == ids[::-1]
    own.start_worker("--slots", "1")
    assert own.run("monitor", ids[-1]).returncode == 0
    assert started(own) == ids


@holds("server/restart-is-not-noticed")
@ENDS
def test_a_request_that_was_answered_before_makes_no_second_job(
    own: Site, end: signal.Signals
) -> None:
    first = own.submit("--request-id", "once", "--", "true")
    restart(own, end)
    assert own.submit("--request-id", "once", "--", "true") == first
    other = own.run("submit", "--detach", "--request-id", "once", "--", "false")
    assert other.returncode == 125


@holds("server/restart-is-not-noticed")
@ENDS
def test_what_a_finished_job_wrote_reads_back_byte_for_byte(own: Site, end: signal.Signals) -> None:
    own.start_worker()
    id = own.submit("--", "sh", "-c", "seq 100000; head -c 300000 /dev/urandom; exit 3")
    assert own.run("monitor", id).returncode == 3
    before, shown = own.run("logs", id, check=True).stdout, own.show(id)
    events = hashlib.sha256(own.run("monitor", id, "--json").stdout)
    assert len(before) == shown["output_bytes"]
    restart(own, end)
    assert own.run("logs", id, check=True).stdout == before
    assert own.show(id) == shown
    assert hashlib.sha256(own.run("monitor", id, "--json").stdout).digest() == events.digest()


@holds("server/restart-is-not-noticed")
def test_a_worker_that_was_away_for_the_restart_keeps_its_job(own: Site, tmp_path: Path) -> None:
    away = own.start_worker("--visibility-timeout", "5")
    steps = Steps(tmp_path / "steps")
    id = own.submit(*steps.command)
    own.wait_for(id, "output")
    away.signal(signal.SIGSTOP)
    restart(own, signal.SIGKILL)
    own.start_worker("--visibility-timeout", "5")  # it would take the job if that were free
    away.signal(signal.SIGCONT)
    steps.go(1, 2, 3, 4, 5, 6)
    assert own.run("monitor", id).returncode == 7
    assert (own.show(id)["attempt"], own.show(id)["failures"]) == (1, 0)


def test_a_second_server_on_the_file_is_refused_and_told_whose_it_is(own: Site) -> None:
    assert own.server
    done = own.run(*own.server_command())
    assert done.returncode == 125
    assert f"is in use by process {own.server.pid}" in done.stderr.decode()
    own.submit("--", "true")


def test_a_start_says_what_it_found_and_where(own: Site) -> None:
    own.submit("--", "true")
    restart(own, signal.SIGTERM)
    assert own.server
    said = own.server.said("store")
    assert said["path"] == str(own.folder / "jobs.db")
    assert (said["store"], said["fsync"], said["jobs"]) == ("sqlite", "full", 1)
    assert isinstance(said["replayed_ms"], int)


def started(it: Site) -> list[str]:
    """Every job, in the order in which they have started."""
    jobs = map(json.loads, it.run("list", "--json", check=True).stdout.splitlines())
    return [job["id"] for job in sorted(jobs, key=lambda job: (job["started_at"], job["id"]))]


def listed(it: Site) -> list[str]:
    """Every job, the newest first."""
    lines = it.run("list", "--json", check=True).stdout.splitlines()
    return [json.loads(line)["id"] for line in lines]
