"""A worker whose disk fills up: a small file system of its own, which a job fills."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.promises import holds
from tests.support.installation import AIRUNNER, Process, Site

ON_SMALL_DISK = 'mount -t tmpfs -o size=40m tmpfs "$0" && exec "$@"'


def _allowed(command: list[str]) -> bool:
    return subprocess.run([*command, "true"], capture_output=True, check=False).returncode == 0


@contextmanager
def worker_on_small_disk(it: Site, folder: Path) -> Iterator[Process]:
    """Runs a worker in a mount namespace of its own, with 40 MiB for its folders."""
    folder.mkdir()
    namespaces = next(filter(_allowed, (["unshare", "-m"], ["unshare", "-rm"])), None)
    if namespaces is None:
        pytest.skip("no mount namespace can be made here")
    flags = ("--log-format", "json", "--work-dir", str(folder), "--slots", "2")
    worker = Process(
        subprocess.Popen(
            [*namespaces, "sh", "-c", ON_SMALL_DISK, str(folder), *AIRUNNER, "worker", *flags],
            env=it.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            cwd=it.folder,
        )
    )
    try:
        worker.said("connected")
        yield worker
    finally:
        worker.stop()


@holds("jobs/full-disk-gives-jobs-back", "logs/full-disk-costs-no-job")
def test_worker_on_a_full_disk_gives_jobs_back_and_takes_them_again_when_there_is_room(
    own: Site,
) -> None:
    folder = own.folder / "small"
    filler = folder / "filler"
    with worker_on_small_disk(own, folder) as worker:
        fill = f"echo filling; cat /dev/zero >{filler} 2>/dev/null || echo full; seq 100000"
        done = own.run("submit", "--", "sh", "-c", fill)
        assert done.returncode == 0
        lines = done.stdout.split()
        assert lines[:2] == [b"filling", b"full"]
        assert lines[2:] == [b"%d" % n for n in range(1, 100_001)]
        worker.said("disk_full")
        id = own.submit("--", "echo", "next")
        own.wait_for(id, "returned")
        Path(f"/proc/{worker.pid}/root{filler}").unlink()
        worker.said("disk_has_room")
        assert own.run("monitor", id).returncode == 0
        job = own.show(id)
        assert (job["state"], job["failures"]) == ("completed", 0)
        events = list(own.events(id))
        remarks = [str(event) for event in events if event["type"] == "remark"]
        assert any("free bytes" in remark for remark in remarks)
        assert own.run("submit", "--", "echo", "well").stdout == b"well\n"
