"""The supervisor: no process of a job survives a death of the worker, the supervisor or a shim."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path
from typing import Final
from uuid import uuid4

import pytest

from airunner.model.spec import ProcessType
from airunner.worker.process import (
    CommandNotFound,
    Exit,
    LaunchFailed,
    LaunchLost,
    ProcessLost,
    SupervisorLost,
    SupervisorStatistics,
)
from airunner.worker.supervisor.protocol import pack, unpack
from airunner.worker.supervisor.supervisor import STARTS_MAX, Tree, start_supervisor
from airunner.worker.supervisor.trees.cgroup import (
    PREFIX,
    Cgroup,
    _folder,
    _kill_and_wait,
    own_group,
)
from tests.promises import holds, promise
from tests.worker.supervisor.supervisors import needs, play
from tests.zoo import (
    DOUBLE_FORK,
    STUBBORN_DAEMON,
    TREES,
    SupervisorFixture,
    Watch,
    environment,
    python,
    read_until,
    shell,
    status,
    tagged,
)

trees = pytest.mark.parametrize("tree", TREES)

WORKER: Final = """
import asyncio, sys
from tests.zoo import SupervisorFixture, python, read_until, STUBBORN_DAEMON
async def work(fixture):
    animal = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\\n" + STUBBORN_DAEMON
    process = await fixture.launch(*python(animal + "\\nimport time; time.sleep(1000)"))
    await read_until(process, b"ready")
    print(fixture.tag, fixture.supervisor.pid, flush=True)
    await process.wait()
asyncio.run(work(SupervisorFixture(sys.argv[1])))
"""


Folders = Callable[[], list[Path]]


@pytest.fixture
def folders() -> Iterator[Folders]:
    """The folders of supervisors in a control group of the test's own, if it may make one."""
    outer = Cgroup(own_group() or "/nowhere")
    inner = Cgroup(f"{outer.path}/test-{uuid4().hex}")
    try:
        os.mkdir(inner.path)
        inner.join()
    except OSError:
        inner.remove()
        yield list
        return
    try:
        yield lambda: list(Path(inner.path).glob(f"{PREFIX}*"))
    finally:
        outer.join()
        _kill_and_wait(inner)
        inner.remove()


def leaves(folder: Path) -> list[Path]:
    return [entry for entry in folder.iterdir() if entry.is_dir()]


def begin(tree: Tree, stack: ExitStack) -> tuple["subprocess.Popen[str]", str, int]:
    """A worker process with a stubborn job, the job's tag and the supervisor's process id."""
    needs(tree)
    root = Path(__file__).parents[3]
    worker = subprocess.Popen(
        [sys.executable, "-c", WORKER, tree], stdout=subprocess.PIPE, text=True, cwd=root
    )
    stack.callback(worker.wait)
    stack.callback(worker.kill)
    assert worker.stdout
    stack.enter_context(worker.stdout)
    tag, supervisor = worker.stdout.readline().split()
    assert len(tagged(tag)) >= 2
    return worker, tag, int(supervisor)


def shims(supervisor: int) -> list[int]:
    """The process ids of a supervisor's shims."""
    found: list[int] = []
    for folder in Path("/proc").iterdir():
        with suppress(OSError):
            if folder.name.isdigit() and int(status(int(folder.name))["PPid"]) == supervisor:
                found.append(int(folder.name))
    return found


@promise(
    "processes/none-outlives-worker-or-supervisor",
    "No process of a job outlives its worker or its supervisor, even after `kill -9`.",
)
@trees
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_no_process_survives_the_death_of_the_worker(tree: Tree, number: int) -> None:
    with ExitStack() as stack:
        worker, tag, supervisor = begin(tree, stack)
        watch = Watch([supervisor])
        worker.send_signal(number)
        watch.wait()
        assert tagged(tag) == []


@holds("processes/none-outlives-worker-or-supervisor")
@trees
def test_no_process_survives_the_death_of_the_supervisor(tree: Tree) -> None:
    with ExitStack() as stack:
        worker, tag, supervisor = begin(tree, stack)
        watch = Watch(tagged(tag))
        os.kill(supervisor, signal.SIGKILL)
        watch.wait()
        worker.kill()


@holds("processes/none-outlives-worker-or-supervisor")
@trees
def test_shims_kill_their_trees_though_worker_and_supervisor_die_at_once(tree: Tree) -> None:
    with ExitStack() as stack:
        worker, tag, supervisor = begin(tree, stack)
        watch = Watch(tagged(tag))
        os.kill(worker.pid, signal.SIGSTOP)
        os.kill(supervisor, signal.SIGKILL)
        worker.kill()
        watch.wait()


@holds("processes/none-outlives-worker-or-supervisor")
def test_the_next_supervisor_kills_and_removes_what_three_deaths_at_once_have_left(
    folders: Folders,
) -> None:
    with ExitStack() as stack:
        worker, tag, supervisor = begin("cgroup", stack)
        dead = [supervisor, worker.pid, *shims(supervisor)]
        watch = Watch(dead)
        for number in (signal.SIGSTOP, signal.SIGKILL):  # so that none can kill for another
            for pid in dead:
                os.kill(pid, number)
        worker.wait()
        watch.wait()
        assert tagged(tag)

        async def scene(fixture: SupervisorFixture) -> None:
            assert tagged(tag) == []
            assert len(folders()) == 1

        play("cgroup", scene)


@trees
def test_the_signals_that_stop_a_worker_do_not_stop_its_supervisor(tree: Tree) -> None:
    async def scene(fixture: SupervisorFixture) -> None:
        process = await fixture.launch(*shell("echo ready; cat; sleep 0.1"))
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT):
            os.kill(fixture.supervisor.pid, number)
        await read_until(process, b"ready")
        assert await process.wait() == Exit(0)
        assert os.getsid(fixture.supervisor.pid) == fixture.supervisor.pid

    play(tree, scene)


@trees
def test_a_second_worker_beside_the_first_leaves_its_jobs_alone(tree: Tree) -> None:
    async def scene(fixture: SupervisorFixture) -> None:
        process = await fixture.launch(
            *shell("echo ready; read line; sleep 1000"), kind=ProcessType.PTY
        )
        await read_until(process, b"ready")
        async with SupervisorFixture(tree) as other:
            assert (await other.run("true"))[0] == Exit(0)
        assert tagged(fixture.tag)
        await process.close()

    play(tree, scene)


@trees
def test_a_supervisor_s_death_is_told_to_what_runs_and_to_what_comes(
    tree: Tree, folders: Folders
) -> None:
    async def scene(fixture: SupervisorFixture) -> None:
        process = await fixture.launch(*python(STUBBORN_DAEMON + "\nimport time; time.sleep(1000)"))
        await read_until(process, b"ready")
        async with asyncio.TaskGroup() as group:
            ended = group.create_task(fixture.supervisor.ended())
            os.kill(fixture.supervisor.pid, signal.SIGKILL)
            with pytest.raises(ProcessLost, match="supervisor"):
                await process.wait()
        assert ended.done()
        await process.terminate(1000)
        assert tagged(fixture.tag) == []
        assert await process.read() is None
        with pytest.raises(SupervisorLost, match="restart the worker"):
            await fixture.launch("true")

    play(tree, scene)
    assert folders() == []


@trees
def test_an_exit_that_follows_from_a_supervisor_s_death_is_not_told_as_the_command_s_own(
    tree: Tree,
) -> None:
    async def scene(fixture: SupervisorFixture) -> None:
        process = await fixture.launch(*shell("echo $PPID; exec sleep 1000"))
        watch = Watch([int(await read_until(process, b"\n"))])
        os.kill(fixture.supervisor.pid, signal.SIGKILL)
        watch.wait()  # the loop stands still until the shim has sent LOST and EXIT
        with pytest.raises(ProcessLost, match="supervisor"):
            await process.wait()

    play(tree, scene)


@holds("processes/none-outlives-worker-or-supervisor")
@trees
def test_a_job_whose_shim_is_killed_dies_with_it(tree: Tree) -> None:
    async def scene(fixture: SupervisorFixture) -> None:
        other = await fixture.launch(*shell("echo ready; cat; read line"))
        process = await fixture.launch(*python(DOUBLE_FORK + "\nimport time; time.sleep(1000)"))
        await read_until(process, b"ready")
        os.kill(int(status(process.pid)["PPid"]), signal.SIGKILL)
        with pytest.raises(ProcessLost, match="shim"):
            await process.wait()
        await process.close()
        await read_until(other, b"ready")  # other jobs go on
        await other.close()

    play(tree, scene)


@promise(
    "processes/nothing-left-for-the-next-job",
    "A job finds nothing that an earlier job left. A shim and its control group are used again "
    "only if the whole tree ended by itself, and a workspace only if nothing in it was touched.",
)
@trees
def test_a_shim_runs_one_command_after_the_other(tree: Tree, folders: Folders) -> None:
    async def scene(fixture: SupervisorFixture) -> None:
        first, second = [await fixture.run(*shell("echo $PPID; exit 3")) for _ in range(2)]
        assert first == second
        assert first[0] == Exit(3)
        with pytest.raises(CommandNotFound):
            await fixture.launch("no-such-command")
        assert await fixture.run(*shell("echo $PPID; exit 3")) == first
        for folder in folders():
            assert len(leaves(folder)) <= 2  # with the idle one that is kept ready

    play(tree, scene)


@holds("processes/nothing-left-for-the-next-job")
@trees
def test_a_shim_that_had_to_kill_goes_and_its_leaf_with_it(tree: Tree, folders: Folders) -> None:
    async def scene(fixture: SupervisorFixture) -> None:
        process = await fixture.launch(*shell("sleep 1000 & echo $PPID"))
        shim = await read_until(process, b"\n")
        watch = Watch([int(shim)])
        before = [leaf for folder in folders() for leaf in leaves(folder)]
        await process.close()
        watch.wait()
        assert (await fixture.run(*shell("echo $PPID")))[1] != shim
        assert sum(leaf.exists() for leaf in before) == max(len(before) - 1, 0)

    play(tree, scene)


@trees
def test_a_free_shim_that_is_killed_is_not_missed(tree: Tree) -> None:
    async def scene(fixture: SupervisorFixture) -> None:
        assert (await fixture.run("true"))[0] == Exit(0)
        free = shims(fixture.supervisor.pid)
        watch = Watch(free)
        for shim in free:
            os.kill(shim, signal.SIGKILL)
        watch.wait()
        end: Exit | None = None
        while end is None:
            with suppress(LaunchLost):  # a shim got the command before its death was known
                end, _ = await fixture.run("true")
        assert end == Exit(0)

    play(tree, scene)


@holds("processes/none-outlives-worker-or-supervisor")
@trees
def test_a_shim_that_does_not_answer_is_killed_with_its_tree(tree: Tree) -> None:
    async def scene(fixture: SupervisorFixture) -> None:
        process = await fixture.launch("sleep", "1000")
        os.kill(int(status(process.pid)["PPid"]), signal.SIGSTOP)
        await process.terminate(0)
        assert tagged(fixture.tag) == []
        with pytest.raises(ProcessLost):
            await process.wait()

    play(tree, scene)


@trees
def test_the_death_of_an_idle_supervisor_is_seen(tree: Tree) -> None:
    async def scene(fixture: SupervisorFixture) -> None:
        assert (await fixture.run("true"))[0] == Exit(0)
        os.kill(fixture.supervisor.pid, signal.SIGKILL)
        await fixture.supervisor.ended()
        with pytest.raises(SupervisorLost):
            await fixture.launch("true")

    play(tree, scene)


@trees
def test_a_stopped_supervisor_goes_on_with_the_next_order(tree: Tree) -> None:
    async def scene(fixture: SupervisorFixture) -> None:
        process = await fixture.launch("sleep", "1000")
        supervisor = fixture.supervisor.pid
        for pid in (int(status(process.pid)["PPid"]), supervisor):
            os.kill(pid, signal.SIGSTOP)
        await process.terminate(0)
        assert process.pid not in tagged(fixture.tag)
        assert (await fixture.run("true"))[0] == Exit(0)
        assert fixture.supervisor.pid == supervisor

    play(tree, scene)


@trees
def test_closing_the_launcher_kills_what_runs_and_leaves_no_folder(
    tree: Tree, folders: Folders
) -> None:
    async def scene(fixture: SupervisorFixture) -> None:
        processes = [await fixture.launch("sleep", "1000") for _ in range(5)]
        await fixture.supervisor.close()
        assert tagged(fixture.tag) == []
        assert [await process.wait() for process in processes] == [Exit(137, 9)] * 5
        with pytest.raises(SupervisorLost):
            await fixture.launch("true")
        for process in processes:
            await process.close()

    play(tree, scene)
    assert folders() == []


@holds("processes/nothing-left-for-the-next-job")
def test_a_leaf_in_which_a_job_has_made_groups_is_not_used_again(folders: Folders) -> None:
    async def scene(fixture: SupervisorFixture) -> None:
        (folder,) = folders()
        # The second shim, kept ready, makes its own folder: the job must not be there first.
        line = f"until test -d {folder}/2; do :; done; mkdir -p {folder}/1/a/b {folder}/2/a/b"
        assert (await fixture.run(*shell(line)))[0] == Exit(0)
        assert (await fixture.run("true"))[0] == Exit(0)
        assert (await fixture.run("true"))[0] == Exit(0)
        assert {leaf.name for leaf in leaves(folder)} & {"1", "2"} == set()

    play("cgroup", scene)


def test_what_moves_to_another_group_is_killed_too(folders: Folders) -> None:
    async def scene(fixture: SupervisorFixture) -> None:
        (folder,) = folders()
        line = f"echo 0 >{folder}/cgroup.procs; echo ready; sleep 1000"
        process = await fixture.launch(*shell(line))
        await read_until(process, b"ready")
        assert str(process.pid) in (folder / "cgroup.procs").read_text().split()
        await process.terminate(0)
        assert await process.wait() == Exit(137, 9)

    play("cgroup", scene)


@trees
def test_the_numbers_of_a_supervisor_follow_its_commands_and_shims(tree: Tree) -> None:
    async def scene(fixture: SupervisorFixture) -> None:
        assert fixture.supervisor.statistics() == SupervisorStatistics()
        process = await fixture.launch("sleep", "1000")
        busy = SupervisorStatistics(shims_idle=1, shims_busy=1, commands_started=1)
        assert fixture.supervisor.statistics() == busy  # the idle shim is kept ready
        shim = int(status(process.pid)["PPid"])
        os.kill(shim, signal.SIGSTOP)  # so that it does not kill before the numbers are read
        async with asyncio.TaskGroup() as group:
            group.create_task(process.close())
            await asyncio.sleep(0)
            assert fixture.supervisor.statistics() == replace(busy, trees_being_removed=1)
            os.kill(shim, signal.SIGCONT)
        assert fixture.supervisor.statistics() == replace(busy, shims_busy=0)
        with pytest.raises(CommandNotFound):
            await fixture.launch("no-such-command")
        assert fixture.supervisor.statistics() == replace(busy, shims_busy=0)

    play(tree, scene)


@trees
def test_a_shim_that_was_killed_is_counted(tree: Tree) -> None:
    async def scene(fixture: SupervisorFixture) -> None:
        process = await fixture.launch("sleep", "1000")
        os.kill(int(status(process.pid)["PPid"]), signal.SIGKILL)
        with pytest.raises(ProcessLost):
            await process.wait()
        await process.close()
        assert fixture.supervisor.statistics() == SupervisorStatistics(
            shims_idle=1, commands_started=1, shims_killed=1
        )

    play(tree, scene)


def test_auto_takes_control_groups_where_they_can_be_had() -> None:
    needs("cgroup")

    async def scene(fixture: SupervisorFixture) -> None:
        assert fixture.supervisor.tree == "cgroup"

    play("auto", scene)


def test_a_job_that_makes_control_groups_of_its_own_is_killed_in_them(folders: Folders) -> None:
    async def scene(fixture: SupervisorFixture) -> None:
        nested = "import asyncio, sys\n"
        nested += "sys.path[:0] = sys.argv[1:]\nfrom tests.zoo import SupervisorFixture\n"
        nested += "async def work(fixture):\n    await fixture.launch('sleep', '1000')\n"
        nested += "    print('ready', flush=True)\n    await asyncio.Event().wait()\n"
        nested += "asyncio.run(work(SupervisorFixture('cgroup')))"
        process = await fixture.launch(sys.executable, "-c", nested, *sys.path)
        await read_until(process, b"ready")
        await process.terminate(0)

    play("cgroup", scene)
    assert folders() == []


def test_a_supervisor_is_small_and_has_one_thread() -> None:
    async def scene(fixture: SupervisorFixture) -> None:
        fields = status(fixture.supervisor.pid)
        assert fields["Threads"] == "1"
        assert int(fields["VmRSS"].split()[0]) < 32 * 1024
        with suppress(PermissionError):  # without privileges nobody may read it
            assert not environment(fixture.supervisor.pid).strip(b"\0")

    play("auto", scene)


def test_what_a_supervisor_imports_is_of_the_standard_library_and_light() -> None:
    program = (
        "import sys; sys.path.append(sys.argv[1]); import airunner.worker.supervisor.main, ctypes; "
        "print(*sys.modules)"
    )
    root = str(Path(__file__).parents[3])
    line = [sys.executable, "-I", "-S", "-c", program, root]
    loaded = subprocess.run(line, capture_output=True, text=True, check=True).stdout.split()
    assert not {"asyncio", "dataclasses", "inspect", "logging", "threading"} & {*loaded}
    ours = {name for name in loaded if name.startswith("airunner.")} - {"airunner.worker"}
    assert all(f"{name}.".startswith("airunner.worker.supervisor.") for name in ours)
    assert "airunner.worker.supervisor.supervisor" not in ours  # the worker's side


def test_a_supervisor_starts_from_any_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "socket.py").write_text("raise SystemExit('imported from the current directory')")

    async def scene(fixture: SupervisorFixture) -> None:
        assert (await fixture.run("true"))[0] == Exit(0)

    play("auto", scene)


def test_a_supervisor_that_was_never_used_can_be_closed_twice() -> None:
    supervisor = start_supervisor()

    async def close() -> None:
        await supervisor.close()
        await supervisor.close()

    asyncio.run(close())


@pytest.mark.parametrize("kills", [1, STARTS_MAX - 1, STARTS_MAX])
def test_a_supervisor_that_is_killed_while_it_starts_is_started_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kills: int
) -> None:
    """An interpreter that dies by SIGKILL at its first starts."""
    starts, interpreter = tmp_path / "starts", tmp_path / "python"
    interpreter.write_text(
        f"#!/bin/sh\necho >>{starts}\n[ $(wc -l <{starts}) -gt {kills} ] || kill -9 $$\n"
        f'exec {sys.executable} "$@"\n'
    )
    interpreter.chmod(0o700)
    monkeypatch.setattr(sys, "executable", str(interpreter))
    if kills < STARTS_MAX:
        asyncio.run(start_supervisor().close())
    else:
        with pytest.raises(LaunchFailed, match="did not start: signal 9 has ended it"):
            start_supervisor()
    assert len(starts.read_text()) == min(kills + 1, STARTS_MAX)


def test_a_command_survives_its_packing() -> None:
    argv = [b"a", b"", b"\xff c\n"]
    assert unpack(pack(True, b"/x y", argv, [b"A=", b"B=1=2"])) == (
        True,
        b"/x y",
        argv,
        [b"A=", b"B=1=2"],
    )
    assert unpack(pack(False, b"/", [b""], [])) == (False, b"/", [b""], [])


@pytest.mark.parametrize(
    ("inside", "root", "point", "place"),
    [
        ("/", "/", "/sys/fs/cgroup/unified", "/sys/fs/cgroup/unified"),
        ("/a/b", "/", "/sys/fs/cgroup", "/sys/fs/cgroup/a/b"),
        ("/a/b", "/a", "/sys/fs/cgroup", "/sys/fs/cgroup/b"),
        ("/ab", "/a", "/sys/fs/cgroup", None),
        ("/../x", "/y", "/sys/fs/cgroup", None),
    ],
)
def test_a_group_is_found_below_its_mount(
    inside: str, root: str, point: str, place: str | None
) -> None:
    assert _folder(inside, root, point) == place
