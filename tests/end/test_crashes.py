"""What is killed, cut off and restarted, with real processes and real signals."""

import signal
import subprocess
from pathlib import Path

from tests.promises import holds
from tests.support.installation import Site


def alive(marker: str) -> list[str]:
    """The processes on this machine with this word among their arguments."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = entry.read_bytes().split(b"\0")
        except (FileNotFoundError, ProcessLookupError):
            continue
        if marker.encode() in words:
            found.append(entry.parent.name)
    return found


def stubborn(marker: str) -> list[str]:
    """A command that ignores SIGTERM, and has a child in a session of its own that does too."""
    child = "trap '' TERM HUP; while :; do sleep 1; done"
    script = f"trap '' TERM HUP; setsid sh -c \"$1\" {marker} & echo ready; {child}"
    return ["sh", "-c", script, marker, child]


def until_ready(it: Site, id: str) -> None:
    """Return once the job has written something."""
    it.wait_for(id, "output")


@holds("jobs/worker-death-loses-no-job")
def test_killed_worker_leaves_no_process_and_its_job_runs_again(own: Site) -> None:
    worker = own.start_worker("--visibility-timeout", "2")
    once = "[ $AIRUNNER_ATTEMPT = 2 ] || while :; do echo first; sleep 0.2; done; echo second"
    id = own.submit("--", "sh", "-c", once, "killed-worker")
    until_ready(own, id)
    worker.signal(signal.SIGKILL)
    worker.wait()
    own.start_worker("--visibility-timeout", "2")
    assert own.run("monitor", id).returncode == 0
    job = own.show(id)
    assert (job["attempt"], job["state"]) == (2, "completed")
    assert not alive("killed-worker")


@holds("jobs/cancelled-is-the-only-end")
def test_cancel_ends_a_tree_that_ignores_sigterm(quiet: Site) -> None:
    quiet.start_worker()
    id = quiet.submit("--grace", "1", "--", *stubborn("cancelled-tree"))
    until_ready(quiet, id)
    assert alive("cancelled-tree")
    quiet.run("cancel", id, check=True)
    assert quiet.run("monitor", id).returncode == 130
    assert quiet.show(id)["state"] == "cancelled"
    assert not alive("cancelled-tree")


@holds("jobs/no-blame-no-failure")
def test_stopped_worker_releases_its_job_to_the_next(quiet: Site) -> None:
    worker = quiet.start_worker("--drain-timeout", "0")
    once = "if [ $AIRUNNER_ATTEMPT = 1 ]; then echo ready; exec sleep 600; fi; echo second"
    id = quiet.submit("--", "sh", "-c", once)
    until_ready(quiet, id)
    worker.signal(signal.SIGTERM)
    assert worker.wait() == 0
    quiet.start_worker()
    assert quiet.run("monitor", id).returncode == 0
    assert quiet.show(id)["failures"] == 0


@holds("jobs/one-worker-at-a-time", "jobs/silent-worker-gets-no-job")
def test_worker_that_is_frozen_past_its_lease_stops_its_job_and_writes_nothing(own: Site) -> None:
    frozen = own.start_worker("--visibility-timeout", "2")
    once = "[ $AIRUNNER_ATTEMPT = 2 ] || while :; do echo first; sleep 0.2; done; echo second"
    id = own.submit("--", "sh", "-c", once, "frozen-job")
    until_ready(own, id)
    frozen.signal(signal.SIGSTOP)
    own.start_worker("--visibility-timeout", "2")
    assert own.run("monitor", id).returncode == 0
    before = own.run("logs", id, check=True).stdout
    frozen.signal(signal.SIGCONT)
    frozen.said("lease_lost")
    assert frozen.stop() == 0
    assert own.run("logs", id, check=True).stdout == before
    assert before.endswith(b"second\n")


def test_server_that_keeps_jobs_in_memory_forgets_them_and_everybody_recovers(
    forgetful: Site,
) -> None:
    worker = forgetful.start_worker("--visibility-timeout", "5")
    id = forgetful.submit("--", *stubborn("forgotten-job"))
    until_ready(forgetful, id)
    monitor = forgetful.start("monitor", id, "--raw", stdout=subprocess.PIPE)
    assert forgetful.server
    assert monitor.popen.stdout
    with monitor.popen.stdout as output:
        assert output.read(6) == b"ready\n"
        forgetful.server.signal(signal.SIGKILL)
        forgetful.server.wait()
        forgetful.start_server()
        assert monitor.wait() == 125
    assert "no job" in "".join(monitor.journal)
    worker.said("lease_lost")
    assert forgetful.run("submit", "--", "echo", "again").stdout == b"again\n"
    assert not alive("forgotten-job")


@holds("server/stops-in-ten-seconds")
def test_server_stops_in_time_with_everybody_parked(own: Site) -> None:
    own.start_worker()
    id = own.submit("--queue", "nobody", "--", "true")
    own.wait_for(id, "enqueued")
    own.start("monitor", id)
    assert own.server
    own.server.signal(signal.SIGTERM)
    assert own.server.wait(12) == 0


@holds("logs/watchers-are-independent")
def test_twenty_monitors_see_the_same_and_a_slow_one_holds_up_nobody(quiet: Site) -> None:
    quiet.start_worker()
    lines = 200_000
    id = quiet.submit("--queue", "default", "--", "seq", str(lines))
    slow = quiet.start("monitor", id, "--raw", stdout=subprocess.PIPE)
    quick = [quiet.start("monitor", id, "--raw", stdout=subprocess.PIPE) for _ in range(20)]
    expected = "".join(f"{n}\n" for n in range(1, lines + 1)).encode()
    for monitor in quick:
        assert monitor.popen.stdout
        with monitor.popen.stdout as output:
            assert output.read() == expected
        assert monitor.wait() == 0
    assert slow.popen.stdout
    with slow.popen.stdout as output:
        assert output.read() == expected


def test_submit_whose_server_is_gone_ends_with_a_second_signal(own: Site) -> None:
    submit = own.start("submit", "--", "sh", "-c", "true", stdout=subprocess.PIPE)
    submit.heard("waiting:")
    assert own.server
    own.server.signal(signal.SIGKILL)
    own.server.wait()
    submit.signal(signal.SIGTERM)
    submit.heard("was not cancelled")
    submit.signal(signal.SIGTERM)
    assert submit.popen.stdout
    with submit.popen.stdout:
        assert submit.wait() == 125
    assert "may go on" in submit.journal[-1]
