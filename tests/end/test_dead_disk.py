"""Servers and workers whose disk dies: all reads and writes fail until the disk is back."""

import asyncio
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from airunner.cli.exit_codes import OURS
from airunner.model.errors import Refused, Stalled
from airunner.model.job_events import JobEvent
from airunner.model.jobs import JobId
from airunner.wire.client.endpoint import Endpoint
from airunner.wire.client.jobs_client import JobsClient
from tests.promises import holds
from tests.support.disk import Disk, obstacle
from tests.support.installation import Site


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    if reason := obstacle():
        pytest.skip(f"no disk can be made here: {reason}")
    with closing(Disk(tmp_path)) as disk:
        yield disk


@holds("jobs/acknowledged-job-exists")
def test_events_on_a_dead_disk_are_told_as_unavailable_and_are_whole_when_it_is_back(
    tmp_path: Path, disk: Disk
) -> None:
    with closing(Site(tmp_path / "site", store=f"sqlite:{disk.path / 'jobs.db'}")) as it:
        it.start_server()
        id = it.submit("--", "true")
        assert it.server
        it.server.stop()
        server = it.start_server()  # has nothing of the log in memory
        disk.cut()
        with pytest.raises(Stalled, match="cannot read its log, because its disk reports errors"):
            asyncio.run(read(it, JobId(id)))
        server.said("log_unreadable")
        assert it.run("log", "check", it.store).returncode == OURS
        with pytest.raises(Refused) as refused:  # a write, so the server stops
            asyncio.run(cancel(it, JobId(id)))
        assert refused.value.status == "UNAVAILABLE"
        assert server.wait() == OURS
        server.said("log_failed")
        disk.renew()
        it.start_server()
        assert [entry.first for entry in asyncio.run(read(it, JobId(id)))] == [1]
        it.run("cancel", id, check=True)
        assert it.run("verify", id).returncode == 0


@holds("jobs/full-disk-gives-jobs-back")
def test_worker_on_a_dead_disk_gives_its_jobs_back_instead_of_failing_each(
    own: Site, disk: Disk
) -> None:
    flags = ("--slots", "2", "--name")
    broken = own.start_worker("--work-dir", str(disk.path / "work"), *flags, "broken")
    assert own.run("submit", "--", "echo", "well").stdout == b"well\n"
    disk.cut()
    ids = [own.submit("--", "echo", str(n)) for n in range(4)]
    broken.said("disk_full")
    own.start_worker(*flags, "sound")
    for n, id in enumerate(ids):
        assert own.run("monitor", id).returncode == 0
        assert own.run("logs", id).stdout == b"%d\n" % n
        job = own.show(id)
        assert (job["state"], job["failures"]) == ("completed", 0)
    own.stop_all_but_server()


def connection(it: Site) -> JobsClient:
    return JobsClient(Endpoint(server=it.address, ca_cert=it.certs / "ca.pem"))


async def read(it: Site, id: JobId) -> list[JobEvent]:
    async with connection(it) as jobs:
        return [entry async for entry in jobs.watch(id, stop_at_tail=True)]


async def cancel(it: Site, id: JobId) -> None:
    async with connection(it) as jobs:
        await jobs.cancel(id)
