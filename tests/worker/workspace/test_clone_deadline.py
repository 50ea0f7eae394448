"""A clone ends at the deadline of its attempt, also while the worker is frozen."""

import asyncio
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from airunner.worker.process import ProcessLost
from tests.promises import holds
from tests.worker.frozen_worker import frozen_worker
from tests.worker.workspace.workbench import Bench, play
from tests.zoo import Watch, tagged

FROZEN_WORKER: Final = """
import asyncio, os, pathlib, signal, sys
from tests.worker.workspace.workbench import Bench, play
async def scene(bench):
    loop = asyncio.get_running_loop()
    bench.deadline.move(loop.time() + 1000)
    print(bench.fixture.tag, flush=True)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(bench.fetch(repository=sys.argv[2]))
        await loop.run_in_executor(None, sys.stdin.readline)
        bench.deadline.move(loop.time() + 0.1)
        await asyncio.sleep(0)
        os.kill(os.getpid(), signal.SIGSTOP)
play(pathlib.Path(sys.argv[1]), scene)
"""


@pytest.fixture
def silent() -> Iterator[socket.socket]:
    """A git server that never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server


def address(server: socket.socket) -> str:
    return f"git://127.0.0.1:{server.getsockname()[1]}/x"


@holds("processes/none-outlives-lease-of-frozen-worker")
def test_the_clone_of_a_frozen_worker_ends_when_its_lease_has_passed(
    tmp_path: Path, silent: socket.socket
) -> None:
    with frozen_worker(FROZEN_WORKER, str(tmp_path), address(silent)) as worker:
        (tag,) = worker.ready()
        connection, _ = silent.accept()
        with connection:
            watch = Watch(found := tagged(tag))
            assert found
            worker.freeze()
            watch.wait()
            assert tagged(tag) == []


def test_a_clone_past_its_deadline_is_lost(tmp_path: Path, silent: socket.socket) -> None:
    async def scene(bench: Bench) -> None:
        loop = asyncio.get_running_loop()
        bench.deadline.move(loop.time() + 1000)

        async def pass_deadline() -> None:
            connection, _ = await loop.sock_accept(silent)
            with connection:
                bench.deadline.move(loop.time())
                await ended.wait()

        silent.setblocking(False)
        ended = asyncio.Event()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(pass_deadline())
            with pytest.raises(ProcessLost):
                await bench.fetch(repository=address(silent))
            ended.set()

    play(tmp_path, scene)
