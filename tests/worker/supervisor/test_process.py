"""The guarantees of a Process beyond the zoo: its environment, its back-pressure, its end."""

import asyncio
import contextlib
import os
import resource
from pathlib import Path
from typing import Final

import pytest

from airunner.model.reports import Stream
from airunner.model.spec import ProcessType
from airunner.worker.process import Exit, LaunchFailed
from airunner.worker.supervisor.output import PIPE_BYTES
from airunner.worker.supervisor.supervisor import Tree
from tests.promises import holds
from tests.worker.supervisor.supervisors import play
from tests.zoo import (
    KINDS,
    PATH,
    SLEEPER,
    TREES,
    SupervisorFixture,
    python,
    read_all,
    read_until,
    shell,
    status,
    tagged,
)

trees = pytest.mark.parametrize("tree", TREES)
kinds = pytest.mark.parametrize("kind", KINDS)


@trees
@kinds
def test_the_environment_is_exactly_what_was_given(tree: Tree, kind: ProcessType) -> None:
    given = {"PATH": "/usr/bin:/bin", "EMPTY": "", "TEXT": "a=b\nc é"}

    async def scene(fixture: SupervisorFixture) -> None:
        process = await fixture.launch("env", "-0", kind=kind, environment=given)
        output = b"".join([data for _, data in await read_all(process)])
        pairs = output.replace(b"\r\n", b"\n").decode().rstrip("\0").split("\0")
        assert sorted(pairs) == sorted(f"{name}={value}" for name, value in given.items())

    play(tree, scene)


# 32 and 33 belong to the C library, which lets no program set them; its own posix_spawn, as make
# uses it, leaves them ignored.
LIBC_SIGNALS: Final = 0b11 << 31


@trees
@kinds
def test_a_command_has_three_descriptors_default_signals_and_a_plain_umask(
    tree: Tree, kind: ProcessType
) -> None:
    async def scene(fixture: SupervisorFixture) -> None:
        program = (
            "import os\n"
            "print(sorted(os.listdir('/proc/self/fd'))[:-1])\n"
            "print(oct(os.umask(0)), os.nice(0), os.getsid(0) == os.getpgrp() == os.getpid())\n"
        )
        _, output = await fixture.run("cat", "/proc/self/status", kind=kind)
        fields = dict(line.split(":\t", 1) for line in output.decode().split("\n") if ":\t" in line)
        for mask in ("SigBlk", "SigIgn", "SigCgt"):
            assert int(fields[mask], 16) & ~LIBC_SIGNALS == 0
        _, output = await fixture.run(*python(program), kind=kind)
        lines = output.decode().splitlines()
        assert lines[0] == "['0', '1', '2']"
        assert lines[1] == f"0o22 {os.nice(0)} True"

    play(tree, scene)


@holds("logs/unread-output-blocks-the-command")
@trees
@kinds
def test_an_output_that_nobody_reads_blocks_its_writer(
    tree: Tree, kind: ProcessType, tmp_path: Path
) -> None:
    report = tmp_path / "report"
    program = (
        "import os, sys\n"
        "os.set_blocking(1, False)\n"
        "size = 0\n"
        "try:\n"
        "    while size < 100_000_000: size += os.write(1, b'z' * 4096)\n"
        "except BlockingIOError: pass\n"
        "open(sys.argv[1], 'w').write(str(size))\n"
    )

    async def scene(fixture: SupervisorFixture) -> None:
        process = await fixture.launch(*python(program, str(report)), kind=kind)
        assert await process.wait() == Exit(0)
        size = int(report.read_text())
        assert size <= PIPE_BYTES
        output = b"".join([data for _, data in await read_all(process)])
        assert output == b"z" * size
        await process.close()

    play(tree, scene)


def test_reading_100_mb_takes_no_memory_to_speak_of() -> None:
    async def scene(fixture: SupervisorFixture) -> None:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        process = await fixture.launch("head", "-c", "100000000", "/dev/zero")
        while await process.read():
            pass
        await process.close()
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 16 * 1024  # KiB

    play("auto", scene)


@trees
def test_a_writer_that_is_blocked_can_be_ended(tree: Tree) -> None:
    async def scene(fixture: SupervisorFixture) -> None:
        process = await fixture.launch("cat", "/dev/zero")
        await process.read()
        await process.terminate(30)
        assert await process.wait() == Exit(143, 15)
        await process.close()

    play(tree, scene)


@trees
def test_the_earliest_of_several_deadlines_counts(tree: Tree) -> None:
    async def scene(fixture: SupervisorFixture) -> None:
        process = await fixture.launch(*shell("trap '' TERM; echo ready; sleep 1000"))
        await read_until(process, b"ready")
        async with asyncio.TaskGroup() as group:
            group.create_task(process.terminate(1000))
            group.create_task(process.terminate(0.2))
            group.create_task(process.terminate(500))
        assert await process.wait() == Exit(137, 9)
        await process.terminate(0)
        await process.close()
        await process.close()

    play(tree, scene)


@trees
def test_a_second_terminate_sends_no_second_sigterm(tree: Tree) -> None:
    async def scene(fixture: SupervisorFixture) -> None:
        program = (
            "import signal\n"
            "signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])\n"
            "print('ready', flush=True)\n"
            "signal.sigwait([signal.SIGTERM])\n"
            "print('got it', flush=True)\n"
            "print('again' if signal.sigtimedwait([signal.SIGTERM], 0.5) else 'only once')\n"
        )
        process = await fixture.launch(*python(program))
        await read_until(process, b"ready")
        async with asyncio.TaskGroup() as group:
            group.create_task(process.terminate(30))
            await read_until(process, b"got it")
            group.create_task(process.terminate(20))
            await read_until(process, b"only once")

    play(tree, scene)


@trees
def test_wait_returns_though_children_live_on(tree: Tree) -> None:
    async def scene(fixture: SupervisorFixture) -> None:
        program = f"import os\nif os.fork() == 0: {SLEEPER}\nos.read(0, 1)"
        process = await fixture.launch(*python(program))
        assert await process.wait() == Exit(0)
        await process.close()

    play(tree, scene)


@trees
@kinds
def test_close_ends_a_read_that_waits(tree: Tree, kind: ProcessType) -> None:
    async def scene(fixture: SupervisorFixture) -> None:
        process = await fixture.launch(*shell("echo ready; sleep 1000"), kind=kind)
        await read_until(process, b"ready")
        async with asyncio.TaskGroup() as group:
            rest = group.create_task(read_all(process))
            group.create_task(process.close())
        assert not b"".join([data for _, data in rest.result()]).strip()
        assert tagged(fixture.tag) == []

    play(tree, scene)


@trees
def test_a_launch_that_is_cancelled_leaves_nothing(tree: Tree) -> None:
    async def scene(fixture: SupervisorFixture) -> None:
        for turns in range(4):
            async with asyncio.TaskGroup() as group:
                task = group.create_task(fixture.launch("sleep", "1000"))
                for _ in range(turns):
                    await asyncio.sleep(0)
                task.cancel()
            if not task.cancelled():
                await task.result().close()
            assert tagged(fixture.tag) == []

    play(tree, scene)


@trees
@kinds
def test_200_jobs_leave_no_descriptor_behind(tree: Tree, kind: ProcessType) -> None:
    async def scene(fixture: SupervisorFixture) -> None:
        async def some(count: int) -> None:
            for _ in range(count):
                assert (await fixture.run("true", kind=kind))[0] == Exit(0)
                with contextlib.suppress(Exception):
                    await fixture.launch("no-such-command")

        def open_ones() -> list[int]:
            return [len(os.listdir(f"/proc/{pid}/fd")) for pid in ("self", fixture.supervisor.pid)]

        await some(1)
        before = open_ones()
        async with asyncio.TaskGroup() as group:
            for _ in range(4):
                group.create_task(some(50))
        grown = [now - then for now, then in zip(open_ones(), before, strict=True)]
        assert max(grown) <= 4  # one for each additional shim
        four = [await fixture.launch("sleep", "1000") for _ in range(4)]
        shims = {int(status(each.pid)["PPid"]) for each in four}
        assert len({len(os.listdir(f"/proc/{shim}/fd")) for shim in shims}) == 1

    play(tree, scene)


def test_a_launch_without_room_for_descriptors_fails_and_leaves_none_open() -> None:
    async def scene(fixture: SupervisorFixture) -> None:
        assert (await fixture.run("true"))[0] == Exit(0)
        before = len(os.listdir("/proc/self/fd"))
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        highest = max(map(int, os.listdir("/proc/self/fd")))
        for room in range(12):
            resource.setrlimit(resource.RLIMIT_NOFILE, (highest + room, hard))
            try:
                for kind in KINDS:
                    with contextlib.suppress(LaunchFailed):
                        await (await fixture.launch("true", kind=kind)).close()
            finally:
                resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        assert len(os.listdir("/proc/self/fd")) <= before + 2  # for additional shims

    play("auto", scene)


@trees
def test_large_arguments_and_a_large_environment_arrive(tree: Tree) -> None:
    async def scene(fixture: SupervisorFixture) -> None:
        argument = "x" * 100_000
        environment = {"PATH": PATH, "ZOO": fixture.tag, "A": "y" * 100_000, "B": "z" * 100_000}
        line = 'echo "$1$A$B" | wc -c'
        process = await fixture.launch(*shell(line), "sh", argument, environment=environment)
        assert await read_until(process, b"\n") == b"300001\n"
        await process.close()

    play(tree, scene)


def test_more_than_the_system_takes_is_said_so() -> None:
    async def scene(fixture: SupervisorFixture) -> None:
        with pytest.raises(LaunchFailed, match="larger than the system takes"):
            await fixture.launch("true", "x" * 3_000_000)

    play("auto", scene)


@pytest.mark.parametrize("bad", ["nul\0", "lone \ud800"])
def test_what_no_process_can_be_given_is_refused(bad: str) -> None:
    async def scene(fixture: SupervisorFixture) -> None:
        with pytest.raises(LaunchFailed, match=r"NUL|Unicode"):
            await fixture.launch("echo", bad)

    play("auto", scene)


def test_a_relative_command_is_looked_for_in_the_directory(tmp_path: Path) -> None:
    (tmp_path / "script").write_text("#!/bin/sh\npwd\n")
    (tmp_path / "script").chmod(0o755)

    where = tmp_path.resolve()

    async def scene(fixture: SupervisorFixture) -> None:
        for name in ("./script", str(tmp_path / "script")):
            _, output = await fixture.run(name, directory=str(tmp_path))
            assert output.decode() == f"{where}\n"

    play("auto", scene)


def test_the_path_is_that_of_the_command_and_skips_what_cannot_run(tmp_path: Path) -> None:
    for folder in ("first", "second"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "tool").write_text(f"#!/bin/sh\necho {folder}\n")
    (tmp_path / "second" / "tool").chmod(0o755)

    async def scene(fixture: SupervisorFixture) -> None:
        path = f"{tmp_path}/first:{tmp_path}/second"
        process = await fixture.launch("tool", environment={"PATH": path})
        assert await read_until(process, b"\n") == b"second\n"
        await process.close()

    play("auto", scene)


@trees
def test_an_end_that_meets_a_kill_on_its_way_is_never_lost(tree: Tree) -> None:
    async def scene(fixture: SupervisorFixture) -> None:
        async def one(turns: int) -> None:
            process = await fixture.launch("true")
            for _ in range(turns):
                await asyncio.sleep(0)
            await process.terminate(turns % 2)
            assert await process.wait() in (Exit(0), Exit(143, 15), Exit(137, 9))
            await process.close()

        for turns in range(100):
            async with asyncio.TaskGroup() as group:
                group.create_task(one(turns))
                group.create_task(one(turns))

    play(tree, scene)


ALTERNATE = """
import os
for n in range(5000):
    os.write(1 + n % 2, b"%d\\n" % n)
"""


@trees
@kinds
def test_merged_streams_are_one_in_exact_order(tree: Tree, kind: ProcessType) -> None:
    async def scene(fixture: SupervisorFixture) -> None:
        process = await fixture.launch(*python(ALTERNATE), kind=kind, merge_stderr=True)
        chunks = await read_all(process)
        assert {stream for stream, _ in chunks} == {Stream.STDOUT}
        written = b"".join(data for _, data in chunks).split()
        assert written == [b"%d" % n for n in range(5000)]
        assert await process.wait() == Exit(0)
        await process.close()

    play(tree, scene)


@trees
def test_merged_streams_of_a_large_command_arrive_too(tree: Tree) -> None:
    """A large command travels as a file, whose descriptor comes after that of the pipe."""

    async def scene(fixture: SupervisorFixture) -> None:
        process = await fixture.launch(
            *("sh", "-c", "echo out; echo err >&2", "x" * 100_000), merge_stderr=True
        )
        assert b"".join(data for _, data in await read_all(process)) == b"out\nerr\n"
        await process.close()

    play(tree, scene)


LEAVES_BEHIND = "trap '' TERM; sleep 1000 >/dev/null 2>&1 & exec >&- 2>&-; exit 3"


@trees
def test_a_tree_that_is_kept_outlives_its_command_until_it_is_terminated(tree: Tree) -> None:
    async def scene(fixture: SupervisorFixture) -> None:
        process = await fixture.launch("sh", "-c", LEAVES_BEHIND, keep_tree=True)
        assert await process.wait() == Exit(3)
        assert await read_all(process) == []  # else the end of the output would end the tree
        follower = await fixture.launch("true")
        await follower.wait()
        await follower.close()
        (left,) = tagged(fixture.tag)
        await process.terminate(0.01)
        assert left not in tagged(fixture.tag)
        await process.close()

    play(tree, scene)


@trees
def test_a_tree_that_is_kept_ends_with_the_supervisor(tree: Tree) -> None:
    async def scene(fixture: SupervisorFixture) -> None:
        process = await fixture.launch("sh", "-c", LEAVES_BEHIND, keep_tree=True)
        await process.wait()
        await fixture.supervisor.close()
        assert tagged(fixture.tag) == []

    play(tree, scene)
