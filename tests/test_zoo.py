"""Every program of the zoo, in a pipe and in a terminal, in either kind of process tree.

The promise is the same for all: the exit is told truly, the output arrives in full, and no
process is left. (That last is asserted whenever a fixture closes.)
"""

import asyncio
import hashlib
import os
import signal
from pathlib import Path

import pytest

from airunner.model.reports import Stream
from airunner.model.spec import ProcessType, TerminalSize
from airunner.worker.process import (
    CommandNotFound,
    Exit,
    LaunchFailed,
    NotExecutable,
)
from airunner.worker.supervisor.supervisor import Tree
from tests.promises import holds, promise
from tests.worker.supervisor.supervisors import play
from tests.zoo import (
    DOUBLE_FORK,
    FORK_BOMB,
    KINDS,
    SETSID,
    STUBBORN_DAEMON,
    TREES,
    SupervisorFixture,
    python,
    read_all,
    read_until,
    shell,
    tagged,
)

trees = pytest.mark.parametrize("tree", TREES)
kinds = pytest.mark.parametrize("kind", KINDS)
OK = Exit(0)


@promise(
    "processes/none-outlives-its-job",
    "No process outlives its job, however it hides.",
)
@trees
@kinds
@pytest.mark.parametrize("animal", [DOUBLE_FORK, SETSID, STUBBORN_DAEMON])
def test_what_hides_from_its_parent_dies_when_the_command_ends(
    tree: Tree, kind: ProcessType, animal: str
) -> None:
    async def scene(fixture: SupervisorFixture) -> None:
        process = await fixture.launch(*python(animal), kind=kind)
        assert b"".join([data for _, data in await read_all(process)]).split() == [b"ready"]
        assert await process.wait() == OK
        await process.close()
        assert tagged(fixture.tag) == []

    play(tree, scene)


@trees
def test_nohup_in_the_background_dies_with_its_job(tree: Tree) -> None:
    async def scene(fixture: SupervisorFixture) -> None:
        line = "nohup sleep 1000 >/dev/null 2>&1 & echo $!"
        end, output = await fixture.run(*shell(line))
        assert end == OK
        assert output.strip().isdigit()
        assert tagged(fixture.tag) == []

    play(tree, scene)


@trees
@kinds
def test_sigterm_ignored_ends_in_sigkill_after_the_grace(tree: Tree, kind: ProcessType) -> None:
    async def scene(fixture: SupervisorFixture) -> None:
        process = await fixture.launch(
            *shell("trap '' TERM HUP; echo ready; sleep 1000"), kind=kind
        )
        await read_until(process, b"ready")
        await process.terminate(0.2)
        assert await process.wait() == Exit(137, 9)
        assert tagged(fixture.tag) == []

    play(tree, scene)


@trees
@kinds
def test_sigterm_handled_slowly_gets_the_time_it_needs(tree: Tree, kind: ProcessType) -> None:
    async def scene(fixture: SupervisorFixture) -> None:
        line = "trap 'sleep 0.7; echo saved; exit 5' TERM; echo ready; while :; do sleep 0.1; done"
        process = await fixture.launch(*shell(line), kind=kind)
        await read_until(process, b"ready")
        async with asyncio.TaskGroup() as group:
            rest = group.create_task(read_all(process))
            await process.terminate(30)
        assert b"saved" in b"".join([data for _, data in rest.result()])
        assert await process.wait() == Exit(5)

    play(tree, scene)


@trees
def test_a_child_that_handles_sigterm_slowly_gets_its_grace_though_the_command_has_ended(
    tree: Tree,
) -> None:
    async def scene(fixture: SupervisorFixture) -> None:
        child = "trap 'sleep 1; echo saved; exit' TERM; echo ready; while :; do sleep 0.1; done"
        process = await fixture.launch(*shell(f'sh -c "{child}" & wait'))
        await read_until(process, b"ready")
        async with asyncio.TaskGroup() as group:
            rest = group.create_task(read_all(process))
            await process.terminate(30)
        assert b"saved" in b"".join([data for _, data in rest.result()])

    play(tree, scene)


@trees
@kinds
def test_one_that_closes_its_output_lives_on_to_its_own_end(tree: Tree, kind: ProcessType) -> None:
    async def scene(fixture: SupervisorFixture) -> None:
        line = "echo before; exec >&- 2>&- <&-; sleep 0.7; exit 9"
        end, output = await fixture.run(*shell(line), kind=kind)
        assert output.split() == [b"before"]
        assert end == Exit(9)

    play(tree, scene)


@trees
def test_a_terminal_that_is_opened_again_is_still_read(tree: Tree) -> None:
    async def scene(fixture: SupervisorFixture) -> None:
        line = "echo before; exec >&- 2>&- <&-; sleep 0.2; echo after >/dev/tty"
        _, output = await fixture.run(*shell(line), kind=ProcessType.PTY)
        assert output.split() == [b"before", b"after"]

    play(tree, scene)


@trees
@kinds
def test_one_that_exits_while_a_child_holds_the_output_does_not_hang(
    tree: Tree, kind: ProcessType
) -> None:
    async def scene(fixture: SupervisorFixture) -> None:
        line = "trap '' HUP; sleep 1000 & echo done; exit 4"
        end, output = await fixture.run(*shell(line), kind=kind)
        assert (end, output.split()) == (Exit(4), [b"done"])

    play(tree, scene)


@trees
@kinds
def test_one_whose_child_writes_for_ever_ends_all_the_same(tree: Tree, kind: ProcessType) -> None:
    async def scene(fixture: SupervisorFixture) -> None:
        end, output = await fixture.run(
            *shell("trap '' HUP; while :; do echo y; done & sleep 0.1; exit 3"), kind=kind
        )
        assert end == Exit(3)
        assert set(output.split()) == {b"y"}

    play(tree, scene)


@trees
@kinds
def test_a_million_short_lines_arrive_in_order(tree: Tree, kind: ProcessType) -> None:
    async def scene(fixture: SupervisorFixture) -> None:
        end, output = await fixture.run("seq", "1000000", kind=kind)
        assert end == OK
        assert output.split() == [b"%d" % number for number in range(1, 1_000_001)]

    play(tree, scene)


@kinds
def test_100_mb_without_a_newline_arrive_in_full(kind: ProcessType) -> None:
    async def scene(fixture: SupervisorFixture) -> None:
        process = await fixture.launch(
            *shell("head -c 100000000 /dev/zero | tr '\\0' x"), kind=kind
        )
        size = 0
        while chunk := await process.read():
            assert not chunk[1].strip(b"x")
            size += len(chunk[1])
        assert size == 100_000_000
        assert await process.wait() == OK

    play("auto", scene)


@trees
@kinds
def test_50_mb_of_dice_arrive_byte_for_byte(tree: Tree, kind: ProcessType, tmp_path: Path) -> None:
    dice = tmp_path / "dice"
    dice.write_bytes(os.urandom(1_000_000) * 50)

    async def scene(fixture: SupervisorFixture) -> None:
        raw = "stty raw; " if kind is ProcessType.PTY else ""
        process = await fixture.launch(*shell(f"{raw}cat {dice}"), kind=kind)
        digest = hashlib.sha256()
        while chunk := await process.read():
            digest.update(chunk[1])
        assert digest.digest() == hashlib.sha256(dice.read_bytes()).digest()
        assert await process.wait() == OK

    play(tree, scene)


@kinds
def test_invalid_utf8_nul_and_progress_bars_stay_the_bytes_they_are(kind: ProcessType) -> None:
    async def scene(fixture: SupervisorFixture) -> None:
        line = r"printf '\377\376\000\033[31m 10%%\r 99%%\r\303'"
        end, output = await fixture.run(*shell(line), kind=kind)
        assert (end, output) == (OK, b"\xff\xfe\0\x1b[31m 10%\r 99%\r\xc3")

    play("auto", scene)


def test_a_terminal_turns_a_newline_into_two_bytes() -> None:
    async def scene(fixture: SupervisorFixture) -> None:
        _, output = await fixture.run(*shell("echo a; echo b >&2"), kind=ProcessType.PTY)
        assert output == b"a\r\nb\r\n"

    play("auto", scene)


def test_one_that_reads_standard_input_finds_its_end_in_a_pipe() -> None:
    async def scene(fixture: SupervisorFixture) -> None:
        assert await fixture.run("cat") == (OK, b"")

    play("auto", scene)


@pytest.mark.parametrize(
    "line",
    [
        "cat; cat; echo ended",
        "read -r answer || read -r answer || echo ended",
        "bash -c 'read -rs answer </dev/tty || echo ended'",
        "head -c 1; wc -c >/dev/null; echo ended",
        "stty -echo; cat; stty echo; cat; echo ended",
    ],
)
def test_one_that_reads_a_terminal_finds_the_end_of_input_each_time(line: str) -> None:
    async def scene(fixture: SupervisorFixture) -> None:
        line_on_terminal = f"test -t 0 && test -t 1 && test -t 2 || exit 9; {line}"
        end, output = await fixture.run(*shell(line_on_terminal), kind=ProcessType.PTY)
        assert (end, output) == (OK, b"ended\r\n")

    play("auto", scene)


def test_programs_that_ask_at_a_terminal_get_no_answer() -> None:
    async def scene(fixture: SupervisorFixture) -> None:
        program = (
            "import getpass\n"
            "for ask in (input, getpass.getpass, input):\n"
            "    try: ask('')\n"
            "    except EOFError: print('ended')\n"
        )
        end, output = await fixture.run(*python(program), kind=ProcessType.PTY)
        assert (end, output.count(b"ended")) == (OK, 3)

    play("auto", scene)


def test_one_that_waits_for_a_key_waits_for_ever() -> None:
    async def scene(fixture: SupervisorFixture) -> None:
        line = "stty raw; echo ready; cat"
        process = await fixture.launch(*shell(line), kind=ProcessType.PTY)
        await read_until(process, b"ready")
        await process.terminate(30)
        assert await process.wait() == Exit(143, 15)

    play("auto", scene)


@trees
@kinds
@pytest.mark.parametrize("code", [127, 126, 0])
def test_one_that_writes_64_kib_at_once_and_exits_loses_nothing(
    tree: Tree, kind: ProcessType, code: int
) -> None:
    async def scene(fixture: SupervisorFixture) -> None:
        program = f"import os; os.write(1, b'y' * 65536); os._exit({code})"
        end, output = await fixture.run(*python(program), kind=kind)
        assert end == Exit(code)
        assert output == b"y" * 65536

    play(tree, scene)


@trees
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV, signal.SIGPIPE])
def test_a_death_by_signal_is_told_as_that_signal(tree: Tree, number: signal.Signals) -> None:
    async def scene(fixture: SupervisorFixture) -> None:
        end, _ = await fixture.run(*shell(f"ulimit -c 0; kill -{int(number)} $$"))
        assert end == Exit(128 + number, number)

    play(tree, scene)


@trees
def test_a_core_dump_is_a_death_by_its_signal(tree: Tree, tmp_path: Path) -> None:
    async def scene(fixture: SupervisorFixture) -> None:
        line = "ulimit -c unlimited; kill -ABRT $$"
        end, _ = await fixture.run(*shell(line), directory=str(tmp_path))
        assert end == Exit(134, 6)

    play(tree, scene)


@holds("processes/none-outlives-its-job")
@trees
def test_a_fork_bomb_within_a_limit_is_killed(tree: Tree) -> None:
    async def scene(fixture: SupervisorFixture) -> None:
        process = await fixture.launch(*python(FORK_BOMB))
        await read_until(process, b"ready")
        assert len(tagged(fixture.tag)) > 10
        await process.terminate(0)
        assert tagged(fixture.tag) == []

    play(tree, scene)


def test_memory_beyond_a_limit_is_the_command_s_own_failure() -> None:
    async def scene(fixture: SupervisorFixture) -> None:
        program = (
            "import resource; resource.setrlimit(resource.RLIMIT_AS, (1 << 28,) * 2); "
            "block = bytearray(1 << 30)"
        )
        end, output = await fixture.run(*python(program))
        assert end == Exit(1)
        assert b"MemoryError" in output

    play("auto", scene)


@trees
@kinds
def test_one_that_stops_itself_can_still_be_ended(tree: Tree, kind: ProcessType) -> None:
    async def scene(fixture: SupervisorFixture) -> None:
        line = "trap 'echo woken; exit 6' TERM; echo ready; kill -STOP $$; sleep 1000"
        process = await fixture.launch(*shell(line), kind=kind)
        await read_until(process, b"ready")
        await process.terminate(30)  # SIGTERM alone would wait for SIGCONT
        assert await process.wait() in (Exit(6), Exit(143, 15))
        assert tagged(fixture.tag) == []

    play(tree, scene)


@holds("processes/none-outlives-its-job")
@trees
@kinds
def test_one_that_is_stopped_is_killed(tree: Tree, kind: ProcessType) -> None:
    async def scene(fixture: SupervisorFixture) -> None:
        process = await fixture.launch(*shell("echo ready; kill -STOP $$"), kind=kind)
        await read_until(process, b"ready")
        await process.terminate(0)
        assert await process.wait() == Exit(137, 9)

    play(tree, scene)


def test_a_command_can_change_the_size_of_its_terminal() -> None:
    async def scene(fixture: SupervisorFixture) -> None:
        line = "stty size; stty cols 132 rows 50; stty size"
        _, output = await fixture.run(*shell(line), kind=ProcessType.PTY)
        assert output == b"30 100\r\n50 132\r\n"

    play("auto", scene)


def test_a_terminal_that_is_resized_tells_its_command() -> None:
    async def scene(fixture: SupervisorFixture) -> None:
        program = (
            "import os, signal\n"
            "signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGWINCH])\n"
            "signal.signal(signal.SIGWINCH, lambda *_: None)\n"
            "print('ready', flush=True)\n"
            "signal.sigwait([signal.SIGWINCH])\n"
            "print(os.get_terminal_size(1))\n"
        )
        process = await fixture.launch(*python(program), kind=ProcessType.PTY)
        await read_until(process, b"ready")
        process.resize(TerminalSize(columns=44, rows=11))
        await read_until(process, b"terminal_size(columns=44, lines=11)")
        assert await process.wait() == OK

    play("auto", scene)


def test_a_full_disk_is_the_command_s_own_failure() -> None:
    async def scene(fixture: SupervisorFixture) -> None:
        end, output = await fixture.run("dd", "if=/dev/zero", "of=/dev/full", "bs=1k", "count=1")
        assert end == Exit(1)
        assert b"No space left on device" in output

    play("auto", scene)


@trees
@pytest.mark.parametrize("name", ["no-such-command", "./no-such-file", "/no/such/path"])
def test_a_command_that_does_not_exist_is_not_found(tree: Tree, name: str) -> None:
    async def scene(fixture: SupervisorFixture) -> None:
        with pytest.raises(CommandNotFound, match="no such command"):
            await fixture.launch(name)

    play(tree, scene)


def test_a_shell_line_in_place_of_a_command_is_told_what_to_do() -> None:
    async def scene(fixture: SupervisorFixture) -> None:
        with pytest.raises(CommandNotFound, match="to run a shell line, make the command sh"):
            await fixture.launch("echo hello")

    play("auto", scene)


@trees
def test_a_file_without_permission_is_not_executable(tree: Tree, tmp_path: Path) -> None:
    (tmp_path / "script").write_text("#!/bin/sh\n")

    async def scene(fixture: SupervisorFixture) -> None:
        with pytest.raises(NotExecutable, match="chmod"):
            await fixture.launch("./script", directory=str(tmp_path))

    play(tree, scene)


@trees
def test_a_directory_is_not_executable(tree: Tree, tmp_path: Path) -> None:
    async def scene(fixture: SupervisorFixture) -> None:
        with pytest.raises(NotExecutable, match="is a directory"):
            await fixture.launch(str(tmp_path))

    play(tree, scene)


@trees
def test_a_shebang_to_nowhere_is_not_executable(tree: Tree, tmp_path: Path) -> None:
    (tmp_path / "script").write_text("#!/no/such/interpreter\n")
    (tmp_path / "script").chmod(0o755)

    async def scene(fixture: SupervisorFixture) -> None:
        with pytest.raises(NotExecutable, match="interpreter"):
            await fixture.launch("./script", directory=str(tmp_path))

    play(tree, scene)


@trees
def test_a_file_that_is_no_program_is_not_executable(tree: Tree, tmp_path: Path) -> None:
    (tmp_path / "data").write_bytes(b"\x01\x02\x03")
    (tmp_path / "data").chmod(0o755)

    async def scene(fixture: SupervisorFixture) -> None:
        with pytest.raises(NotExecutable, match="neither a program"):
            await fixture.launch("./data", directory=str(tmp_path))

    play(tree, scene)


@trees
def test_a_working_directory_that_does_not_exist_is_named(tree: Tree) -> None:
    async def scene(fixture: SupervisorFixture) -> None:
        with pytest.raises(LaunchFailed, match="'/no/such/folder'"):
            await fixture.launch("true", directory="/no/such/folder")

    play(tree, scene)


@trees
def test_two_pipes_are_kept_apart_and_each_is_in_order(tree: Tree) -> None:
    async def scene(fixture: SupervisorFixture) -> None:
        line = "for i in 1 2 3 4 5; do echo out$i; echo err$i >&2; done"
        process = await fixture.launch(*shell(line))
        chunks = await read_all(process)
        for stream, word in ((Stream.STDOUT, "out"), (Stream.STDERR, "err")):
            text = b"".join([data for of, data in chunks if of is stream])
            assert text.decode().split() == [f"{word}{number}" for number in range(1, 6)]
        assert await process.wait() == OK

    play(tree, scene)
