"""What a job said survives its worker: killed, frozen, restarted, out of disk."""

import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from airunner.model.limits import BATCH_BYTES_MAX
from airunner.worker.process import READ_BYTES_MAX
from airunner.worker.supervisor.output import PIPE_BYTES
from tests.end.test_crashes import alive
from tests.end.test_network import COUNT, Counter
from tests.promises import holds, promise
from tests.support.installation import Process, Site

WIDTH = 999  # digits of a line: 1,000 bytes each
# Lines that die with a worker: what a full pipe, a batch and the read that fills it hold at most
ON_ITS_WAY = (PIPE_BYTES + BATCH_BYTES_MAX + READ_BYTES_MAX) // (WIDTH + 1) + 1

# Counts in its first attempt; the second says so and ends.
ONCE = f"""
import os
if os.environ["AIRUNNER_ATTEMPT"] != "1":
    print("second")
    raise SystemExit
{COUNT}
raise SystemExit(7)
"""


@contextmanager
def stopped(process: Process | None) -> Iterator[None]:
    assert process
    process.signal(signal.SIGSTOP)
    try:
        yield
    finally:
        process.signal(signal.SIGCONT)


def kill(worker: Process) -> None:
    worker.signal(signal.SIGKILL)
    worker.wait()


def elsewhere(it: Site, *arguments: str) -> Process:
    """A worker on a folder of its own."""
    return it.start_worker("--work-dir", str(it.folder / "elsewhere"), *arguments)


def spools(it: Site) -> list[Path]:
    return list((it.folder / "work").glob("spools-*/*.*"))


def refused(it: Site, id: str) -> list[Path]:
    return list((it.folder / "work" / "refused").glob(f"{id}.*"))


def counted(it: Site, id: str) -> int:
    """How many whole lines the job counted: 1, 2, 3 ... without a gap."""
    lines = it.run("logs", id, check=True).stdout.splitlines()
    count = sum(len(line) == WIDTH and line.isdigit() for line in lines)
    assert [int(line) for line in lines[:count]] == list(range(1, count + 1))
    return count


@promise(
    "jobs/next-worker-delivers-spool",
    "The next worker on the same folder delivers the spool of a killed worker. While the lease "
    "lives, it sends the rest of the log and the real end of the attempt. If no process of the "
    "attempt is left and its end is unknown, it gives the attempt back at once, as a failure.",
)
def test_killed_worker_loses_nothing_that_its_job_wrote_and_the_job_runs_again_at_once(
    own: Site,
) -> None:
    worker = own.start_worker("--visibility-timeout", "600")
    count = Counter(own, width=WIDTH, script=ONCE)
    with stopped(own.server):
        count.goes_on(3_000)
        kill(worker)
    heir = own.start_worker("--visibility-timeout", "600")
    heir.said("spool_delivered", job=count.id, attempt=1, lost=True)
    assert own.run("monitor", count.id).returncode == 0
    assert counted(own, count.id) > count.stop() - ON_ITS_WAY
    assert own.run("logs", count.id).stdout.endswith(b"second\n")
    job = own.show(count.id)
    assert (job["attempt"], job["failures"], job["log_complete"]) == (2, 1, True)
    assert heir.stop() == 0
    assert not spools(own)
    assert not refused(own, count.id)


@holds("jobs/next-worker-delivers-spool")
def test_true_end_of_a_job_is_told_though_its_worker_was_killed_before_it_could(own: Site) -> None:
    worker = own.start_worker("--visibility-timeout", "600")
    count = Counter(own, width=WIDTH, script=ONCE)
    with stopped(own.server):
        count.goes_on(3_000)
        reached = count.stop()
        worker.said("attempt_over", job=count.id)
        kill(worker)
    own.start_worker("--visibility-timeout", "600")
    assert own.run("monitor", count.id).returncode == 7
    assert counted(own, count.id) >= reached
    job = own.show(count.id)
    assert (job["attempt"], job["failures"], job["log_complete"]) == (1, 0, True)
    assert own.run("verify", count.id).returncode == 0


@holds("jobs/undelivered-is-set-aside")
def test_what_a_dead_worker_left_for_a_lease_that_is_over_is_set_aside(own: Site) -> None:
    worker = own.start_worker("--visibility-timeout", "5")
    count = Counter(own, script=ONCE)
    count.goes_on()
    kill(worker)
    elsewhere(own)
    assert own.run("monitor", count.id).returncode == 0
    before = own.run("logs", count.id, check=True).stdout
    heir = own.start_worker()
    said = heir.said("spool_refused", job=count.id, attempt=1)
    assert refused(own, count.id) == [Path(str(said["path"]))]
    assert heir.stop() == 0
    assert not spools(own)
    assert own.run("logs", count.id, check=True).stdout == before
    count.stop()


@promise(
    "jobs/undelivered-is-set-aside",
    "A worker sets undelivered reports of an ended lease aside. They go to a bounded `refused/` "
    "folder, and no worker ever sends them.",
)
def test_frozen_worker_sets_aside_what_it_could_not_say_in_time(own: Site) -> None:
    frozen = own.start_worker("--visibility-timeout", "5")
    count = Counter(own, width=WIDTH, script=ONCE)
    with stopped(own.server):
        count.goes_on(10_000)
        frozen.signal(signal.SIGSTOP)
    elsewhere(own)
    assert own.run("monitor", count.id).returncode == 0
    before = own.run("logs", count.id, check=True).stdout
    frozen.signal(signal.SIGCONT)
    frozen.said("spool_refused", job=count.id, attempt=1)
    assert frozen.stop() == 0
    assert len(refused(own, count.id)) == 1
    assert not spools(own)
    assert own.run("logs", count.id, check=True).stdout == before
    assert before.endswith(b"second\n")
    count.stop()


def test_living_worker_on_the_same_folder_keeps_its_job(own: Site) -> None:
    own.start_worker()
    count = Counter(own)
    second = own.start_worker()
    count.goes_on()
    count.end()
    assert not [line for line in second.journal if "spool_taken" in line]


@promise(
    "logs/full-disk-costs-no-job",
    "A full disk of a worker or a server costs no job anything. On the worker, the log gets a "
    "remark; on the server, the command waits.",
)
def test_full_disk_costs_a_worker_its_spool_and_no_job_anything(own: Site) -> None:
    worker = own.start_worker()
    resource.prlimit(worker.pid, resource.RLIMIT_FSIZE, (50_000, resource.RLIM_INFINITY))
    count = Counter(own)
    count.goes_on(10_000)
    worker.said("spool_failed", job=count.id)
    count.end()
    remarks = [event for event in own.events(count.id) if event["type"] == "remark"]
    assert len(remarks) == 1
    assert "File too large" in str(remarks[0])


def test_no_process_of_a_killed_worker_lives_when_its_job_runs_again(own: Site) -> None:
    worker = own.start_worker("--visibility-timeout", "600")
    script = (
        "if [ $AIRUNNER_ATTEMPT = 1 ]; then trap '' TERM; setsid sh -c \"$1\" old-$0 & echo up; "
    )
    script += "while :; do sleep 1; done; fi; "
    script += "! grep -lsz '^old-killed[-]tree$' /proc/[0-9]*/cmdline"
    id = own.submit("--", "sh", "-c", script, "killed-tree", "while :; do sleep 1; done")
    own.wait_for(id, "output")
    assert alive("old-killed-tree")
    kill(worker)
    own.start_worker("--visibility-timeout", "600")
    assert own.run("monitor", id).returncode == 0
    assert own.run("logs", id).stdout == b"up\n"
