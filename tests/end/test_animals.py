"""What hides, resists and floods, through a real worker: from submit to the last process."""

import subprocess
import uuid

import pytest

from airunner.model.limits import MEMORY_OUTPUT_BYTES_PER_JOB, MIB
from tests import zoo
from tests.support.installation import Site

SHELL = {
    "nohup": "nohup sleep 1000 >/dev/null 2>&1 & echo ready",
    "one that exits while its child holds the output": "sleep 1000 & echo ready",
    "one whose child writes for ever": "echo ready; yes & exit 0",
}
PYTHON = {
    "double fork": zoo.DOUBLE_FORK,
    "setsid": zoo.SETSID,
    "a daemon that ignores SIGTERM": zoo.STUBBORN_DAEMON,
}
HIDING = {name: zoo.shell(line) for name, line in SHELL.items()} | {
    name: zoo.python(program) for name, program in PYTHON.items()
}
LONG_SECONDS = 5 * 60.0  # the output gets through in this time on a busy machine
SIZE = 512 * MIB
LASTING = {
    "a fork bomb": zoo.python(zoo.FORK_BOMB),
    "one that ignores SIGTERM": zoo.shell(
        "trap '' TERM HUP; echo ready; while :; do sleep 1; done"
    ),
    "one that stops itself": zoo.shell("echo ready; kill -STOP $$"),
}


@pytest.mark.parametrize("mode", [[], ["--pty"]], ids=["pipe", "pty"])
@pytest.mark.parametrize("name", HIDING)
def test_what_hides_ends_with_its_command(shared: Site, name: str, mode: list[str]) -> None:
    tag = uuid.uuid4().hex
    done = shared.run("submit", *mode, "--env", f"ZOO={tag}", "--", *HIDING[name])
    assert done.returncode == 0
    assert done.stdout.startswith(b"ready")
    assert zoo.tagged(tag) == []


@pytest.mark.parametrize("name", LASTING)
def test_what_lasts_ends_with_a_cancel_said_twice(shared: Site, name: str) -> None:
    tag = uuid.uuid4().hex
    id = shared.submit("--grace", "1", "--env", f"ZOO={tag}", "--", *LASTING[name])
    shared.wait_for(id, "output")
    assert zoo.tagged(tag)
    shared.run("cancel", id, check=True)
    shared.run("cancel", id, check=True)
    assert shared.run("monitor", id).returncode == 130
    assert zoo.tagged(tag) == []


def test_a_command_has_nothing_of_its_workers(quiet: Site) -> None:
    quiet.start_worker(environment={"AIRUNNER_TOKEN": "of-the-worker", "MINE": "of-the-worker"})
    look = "cat /proc/self/environ /proc/$PPID/environ; echo; ls /proc/self/fd"
    done = quiet.run("submit", "--", "sh", "-c", look)
    assert b"of-the-worker" not in done.stdout
    assert done.stdout.split()[-4:] == [b"0", b"1", b"2", b"3"]


def test_output_beyond_the_memory_of_a_server_passes_a_slow_monitor(own: Site) -> None:
    """Twice the ceiling of the server; `airunner bench memory` passes a gibibyte."""
    worker = own.start_worker()
    id = own.submit("--", "head", "-c", str(SIZE), "/dev/zero")
    slow = own.start("monitor", id, "--raw", stdout=subprocess.PIPE)
    assert own.start("monitor", id, "--raw").wait(LONG_SECONDS) == 0
    assert own.server
    assert peak(worker.pid) < 160 * MIB
    assert slow.popen.stdout
    with slow.popen.stdout as output:
        size = sum(len(block) for block in iter(lambda: output.read(MIB), b""))
    assert slow.wait() == 0
    assert peak(own.server.pid) < 256 * MIB
    assert (size, own.show(id)["output_bytes_cut"]) == (SIZE, 0)


def test_the_memory_log_keeps_what_it_may_of_a_job_and_counts_the_rest(forgetful: Site) -> None:
    forgetful.start_worker()
    size = MEMORY_OUTPUT_BYTES_PER_JOB + 64 * MIB
    id = forgetful.submit("--", "head", "-c", str(size), "/dev/zero")
    assert forgetful.start("monitor", id, "--raw").wait(LONG_SECONDS) == 0
    assert forgetful.server
    assert peak(forgetful.server.pid) < MEMORY_OUTPUT_BYTES_PER_JOB + 200 * MIB
    job = forgetful.show(id)
    kept, cut = int(str(job["output_bytes"])), int(str(job["output_bytes_cut"]))
    assert 0 <= MEMORY_OUTPUT_BYTES_PER_JOB - kept < MIB
    assert kept + cut == size


def peak(pid: int) -> int:
    """The most bytes of memory that a process has had."""
    return int(zoo.status(pid)["VmHWM"].split()[0]) * 1024
