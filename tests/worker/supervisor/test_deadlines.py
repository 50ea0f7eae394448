"""Deadlines of commands: the supervisor kills a tree whose worker, frozen or not, has not renewed it."""

import asyncio
import time
from typing import Final

import pytest

from airunner.worker.process import Deadline, Exit, ProcessLost
from airunner.worker.supervisor.deadlines import Deadlines
from airunner.worker.supervisor.protocol import MESSAGE_BYTES_MAX, UNTIL
from airunner.worker.supervisor.renewals import PAIRS_MAX, Renewals
from airunner.worker.supervisor.supervisor import Tree
from tests.promises import promise
from tests.worker.frozen_worker import frozen_worker
from tests.worker.supervisor.supervisors import needs, play
from tests.zoo import TREES, SupervisorFixture, Watch, shell, tagged

trees = pytest.mark.parametrize("tree", TREES)

FROZEN_WORKER: Final = """
import asyncio, os, signal, sys
from airunner.worker.process import Deadline
from tests.zoo import SupervisorFixture, python, read_until, STUBBORN_DAEMON
async def work(fixture):
    deadline = Deadline(asyncio.get_running_loop().time() + 1000)
    animal = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\\n" + STUBBORN_DAEMON
    process = await fixture.launch(
        *python(animal + "\\nimport time; time.sleep(1000)"), deadline=deadline
    )
    await read_until(process, b"ready")
    print(fixture.tag, process.pid, flush=True)
    sys.stdin.readline()
    deadline.move(asyncio.get_running_loop().time() + 0.1)
    await asyncio.sleep(0)
    os.kill(os.getpid(), signal.SIGSTOP)
asyncio.run(work(SupervisorFixture(sys.argv[1])))
"""


@promise(
    "processes/none-outlives-lease-of-frozen-worker",
    "No process of a job outlives its lease, even if its worker is frozen.",
)
@trees
def test_the_tree_of_a_frozen_worker_dies_when_its_lease_has_passed(tree: Tree) -> None:
    needs(tree)
    with frozen_worker(FROZEN_WORKER, tree) as worker:
        tag, command = worker.ready()
        found = tagged(tag)
        assert int(command) in found
        assert len(found) >= 2
        watch = Watch(found)
        worker.freeze()
        watch.wait()
        assert tagged(tag) == []


@trees
def test_a_command_past_its_deadline_is_lost_and_the_next_one_runs(tree: Tree) -> None:
    async def scene(fixture: SupervisorFixture) -> None:
        deadline = Deadline(asyncio.get_running_loop().time() + 1000)
        process = await fixture.launch("sleep", "1000", deadline=deadline)
        other = await fixture.launch(*shell("echo ready; sleep 1000"))
        deadline.move(asyncio.get_running_loop().time())
        with pytest.raises(ProcessLost):
            await process.wait()
        assert other.pid in tagged(fixture.tag)
        assert (await fixture.run("true"))[0] == Exit(0)
        await process.close()
        await other.close()

    play(tree, scene)


@trees
def test_a_shim_keeps_no_deadline_of_an_earlier_command(tree: Tree) -> None:
    async def scene(fixture: SupervisorFixture) -> None:
        loop = asyncio.get_running_loop()
        deadline = Deadline(loop.time() + 1000)
        process = await fixture.launch("true", deadline=deadline)
        assert await process.wait() == Exit(0)
        await process.close()
        deadline.move(loop.time())
        assert not deadline.listeners
        for _ in range(3):  # one of them runs in the same shim
            assert (await fixture.run("sleep", "0.05"))[0] == Exit(0)

    play(tree, scene)


def test_more_deadlines_than_one_message_holds_travel_in_several() -> None:
    async def scene() -> None:
        room, sent, complete = False, list[bytes](), asyncio.Event()

        def send(message: bytes) -> bool:
            if room:
                sent.append(message)
            if len(sent) == 3:
                complete.set()
            return room

        renewals, deadline = Renewals(send), Deadline()
        for number in range(2 * PAIRS_MAX + 1):
            renewals.add(number, deadline)
        deadline.move(10_000_000)
        deadline.move(20_000_000)
        await asyncio.sleep(0)
        assert not sent
        room = True
        async with asyncio.timeout(30):
            await complete.wait()
        assert max(map(len, sent)) <= MESSAGE_BYTES_MAX
        words = b" ".join(message.removeprefix(UNTIL) for message in sent).split()
        assert [int(word) for word in words[::2]] == list(range(2 * PAIRS_MAX + 1))
        assert set(words[1::2]) == {b"20000000000"}

    asyncio.run(scene())


def test_a_deadline_that_was_put_off_or_removed_does_not_expire() -> None:
    deadlines, past = Deadlines(), time.monotonic_ns() // 1_000_000 - 1
    assert deadlines.milliseconds_left() is None
    for number in (1, 2, 3):
        deadlines.set(number, past)
    deadlines.set(1, past + 1_000_000)
    deadlines.set(2, 0)
    deadlines.set(4, 0)
    assert deadlines.milliseconds_left() == 0
    assert deadlines.take_expired() == [3]
    assert deadlines.take_expired() == []
    assert 0 < (deadlines.milliseconds_left() or 0) <= 1_000_000
