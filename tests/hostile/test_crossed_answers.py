"""Valid and invalid commands side by side: each hears its own words, and never another's."""

import asyncio
import os
from collections import Counter
from pathlib import Path
from random import Random

import pytest

from airunner.worker.process import CommandNotFound, Exit, LaunchError, LaunchFailed, NotExecutable
from airunner.worker.supervisor.supervisor import Tree
from tests.hostile.dose import DOSE
from tests.promises import promise
from tests.worker.supervisor.supervisors import play
from tests.zoo import PATH, TREES, SupervisorFixture, read_all, shell

COMMANDS = 300 * DOSE
AT_ONCE = 8

Wrong = tuple[str, str, str, type[LaunchError]]  # program, directory, PATH, and the error


def wrong_commands(folder: Path) -> list[Wrong]:
    """One command of each kind that cannot be started."""
    (folder / "text").write_text("no program\n")
    (folder / "script").write_text("#!/nowhere/sh\n")
    (folder / "script").chmod(0o755)
    (folder / "garbage").write_bytes(b"\x7fELF\1\2\3")
    (folder / "garbage").chmod(0o755)
    (folder / "ring").symlink_to("ring")
    (folder / "bin").mkdir()
    os.mkfifo(folder / "pipe")
    long = "a" * 256
    return [
        (f"{folder}/missing", "/", PATH, CommandNotFound),
        (f"{folder}/text/below", "/", PATH, CommandNotFound),
        ("./missing", "/", PATH, CommandNotFound),
        ("missing", "/", PATH, CommandNotFound),
        ("sh", "/", f"{folder}/bin", CommandNotFound),  # one folder: the search costs an exec
        ("", "/", PATH, CommandNotFound),
        (f"{folder}/text", "/", PATH, NotExecutable),
        (f"{folder}/script", "/", PATH, NotExecutable),
        (f"{folder}/garbage", "/", PATH, NotExecutable),
        (f"{folder}/ring", "/", PATH, NotExecutable),
        (f"{folder}/pipe", "/", PATH, NotExecutable),
        (f"{folder}/bin", "/", PATH, NotExecutable),
        (f"/{long}", "/", PATH, NotExecutable),
        ("true", f"{folder}/missing", PATH, LaunchFailed),
        ("true", f"{folder}/text", PATH, LaunchFailed),
        ("true", f"{folder}/ring", PATH, LaunchFailed),
        ("true", f"/{long}", PATH, LaunchFailed),
    ]


@promise(
    "processes/each-hears-its-own-words",
    "Each job hears about its own command and never about another's, whatever commands fail to "
    "start beside it.",
)
@pytest.mark.parametrize("tree", TREES)
def test_each_command_hears_its_own_words_though_others_cannot_be_started(
    tree: Tree, tmp_path: Path
) -> None:
    dice, wrong = Random(COMMANDS), wrong_commands(tmp_path)
    waiting = iter(range(COMMANDS))
    seen = Counter[str]()

    async def scene(fixture: SupervisorFixture) -> None:
        async def right(number: int) -> None:
            process = await fixture.launch(*shell(f"echo {number}; exit {number % 100}"))
            output = b"".join([data for _, data in await read_all(process)])
            assert (output, await process.wait()) == (b"%d\n" % number, Exit(number % 100))
            await process.close()
            seen["right"] += 1

        async def not_started(program: str, directory: str, path: str, why: type) -> None:
            with pytest.raises(LaunchError) as caught:
                await fixture.launch(program, directory=directory, environment={"PATH": path})
            assert type(caught.value) is why, (program, caught.value)
            text = str(caught.value)
            assert program in text or directory in text, (program, text)
            seen["wrong"] += 1

        async def launch() -> None:
            for number in waiting:
                if dice.random() < 0.5:
                    await right(number)
                else:
                    await not_started(*dice.choice(wrong))

        async with asyncio.TaskGroup() as tasks:
            for _ in range(AT_ONCE):
                tasks.create_task(launch())
        assert fixture.supervisor.statistics().shims_killed == 0

    play(tree, scene)
    assert seen.total() == COMMANDS


@pytest.mark.parametrize("tree", TREES)
def test_a_variable_without_a_name_fails_its_own_command_alone(tree: Tree) -> None:
    async def scene(fixture: SupervisorFixture) -> None:
        for _ in range(3):
            with pytest.raises(LaunchFailed, match="Invalid argument"):
                await fixture.launch("true", environment={"PATH": PATH, "": "x"})
            assert (await fixture.run("true"))[0] == Exit(0)
        assert fixture.supervisor.statistics().shims_killed == 0

    play(tree, scene)
