"""The lifeline: its end means that no process of a worker's jobs is left."""

import asyncio
import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from airunner.worker.supervisor.supervisor import Tree
from tests.promises import holds
from tests.worker.supervisor.supervisors import needs
from tests.zoo import SECONDS_MAX, SupervisorFixture, shell, tagged

STUBBORN = shell("trap '' TERM; setsid sh -c \"trap '' TERM; sleep 1000\" & echo up; wait")

# A worker that starts a job, prints its tag, and waits to be killed.
WORKER = """
import asyncio, sys
sys.path[:0] = sys.argv[3:]
from tests.worker.supervisor.test_lifeline import STUBBORN
from tests.zoo import SupervisorFixture, read_until
async def work(fixture):
    await read_until(await fixture.launch(*STUBBORN), b"up")
    print(fixture.tag, flush=True)
    await asyncio.Event().wait()
asyncio.run(work(SupervisorFixture(sys.argv[1], int(sys.argv[2]))))
"""


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    """The two ends of a lifeline."""
    reader, writer = os.pipe()
    yield reader, writer
    os.close(reader)


def until_the_end(reader: int) -> None:
    assert select.select([reader], [], [], SECONDS_MAX)[0], "somebody holds on to the lifeline"
    assert os.read(reader, 1) == b""


@holds("jobs/next-worker-delivers-spool")
@pytest.mark.parametrize("tree", ["cgroup", "subreaper"])
def test_a_lifeline_ends_when_a_killed_workers_jobs_are_gone(
    tree: Tree, pipe: tuple[int, int]
) -> None:
    needs(tree)
    reader, writer = pipe
    worker = subprocess.Popen(
        [sys.executable, "-c", WORKER, tree, str(writer), *sys.path],
        pass_fds=[writer],
        stdout=subprocess.PIPE,
        text=True,
    )
    os.close(writer)
    with worker:
        assert worker.stdout
        tag = worker.stdout.readline().strip()
        assert tagged(tag)
        worker.kill()
        until_the_end(reader)
        assert tagged(tag) == []


def test_a_lifeline_is_held_by_what_outlives_the_supervisor(pipe: tuple[int, int]) -> None:
    reader, writer = pipe

    async def scene() -> None:
        async with SupervisorFixture("subreaper", writer) as fixture:
            os.close(writer)
            await fixture.launch(*STUBBORN)
            os.kill(fixture.supervisor.pid, signal.SIGKILL)
            until_the_end(reader)
            assert tagged(fixture.tag) == []

    asyncio.run(scene())


@pytest.mark.parametrize("tree", ["cgroup", "subreaper"])
def test_no_job_has_the_lifeline(tree: Tree, pipe: tuple[int, int]) -> None:
    needs(tree)
    reader, writer = pipe
    name = f"pipe:[{os.fstat(reader).st_ino}]".encode()

    async def scene() -> None:
        async with SupervisorFixture(tree, writer) as fixture:
            os.close(writer)
            _, output = await fixture.run("ls", "-l", "/proc/self/fd")
            assert b"pipe:[" in output
            assert name not in output
        until_the_end(reader)

    asyncio.run(scene())
