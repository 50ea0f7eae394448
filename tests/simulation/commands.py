"""Simulated commands, and the records of their processes.

A job's arguments define its command's behaviour, so the worker needs no further input. A step's
text defines the step's behaviour; a shell runs it in the step's own process, if the worker's
machine has the shell. Every write begins with its attempt and its number, so the checker can
compare a watcher's output with the writes. A process dies with its worker, as under a real
supervisor. Commands run in virtual time.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import count
from random import Random
from typing import Final

from airunner.model.jobs import JobId
from airunner.model.reports import Stream
from airunner.model.steps import Step
from airunner.worker.process import (
    Command,
    CommandNotFound,
    Exit,
    NotExecutable,
    SupervisorLost,
    SupervisorStatistics,
)
from tests.support.fake_commands import SCRIPTS as FILES
from tests.support.fake_commands import Actor, Script


@dataclass(slots=True)
class Performance:
    """The record of a process, in the loop's time."""

    job: JobId
    attempt: int
    step: int | None  # the step's index
    host: str  # the worker's machine
    began: float
    ended: float | None = None
    exit: Exit | None = None  # None: the process died with its worker, or lives
    wrote: dict[Stream, bytearray] = field(default_factory=dict)


class Player(Actor):
    """A simulated process that records its writes and its end."""

    def __init__(self, pid: int, command: Command, performance: Performance) -> None:
        super().__init__(pid, command)
        self.performance = performance

    async def write(self, data: bytes, stream: Stream = Stream.STDOUT) -> None:
        await super().write(data, stream)
        self.performance.wrote.setdefault(stream, bytearray()).extend(data)

    async def crash(self, number: int) -> None:
        """Ends the process by a signal that it sends to itself."""
        await self._end(Exit(128 + number, number))

    async def _end(self, how: Exit | None) -> None:
        if self.performance.ended is None:
            self.performance.ended = asyncio.get_running_loop().time()
            self.performance.exit = how
        await super()._end(how)


async def _say(actor: Actor, *numbers: str) -> int:
    """Writes `times` blocks of a size with pauses in ms, and exits with a code."""
    times, size, pause, code = map(int, numbers)
    attempt = actor.command.environment["AIRUNNER_ATTEMPT"]
    for number in range(times):
        stream = Stream.STDERR if number % 5 == 4 else Stream.STDOUT
        head = f"{attempt}.{number};".encode()
        await actor.write(head + b"x" * size, stream)
        if pause:
            await asyncio.sleep(pause / 1000)
    return code


async def _stubborn(actor: Actor, *numbers: str) -> int:
    actor.traps = True
    return await _say(actor, *numbers)


async def _fault(actor: Actor, *numbers: str) -> int:
    code = await _say(actor, *numbers)
    assert isinstance(actor, Player)
    await actor.crash(11)
    return code


async def _absent(actor: Actor) -> int:
    """Exits as a shell does for a command that it cannot run."""
    return 126 if actor.command.argv[0] == LOCKED else 127


SCRIPTS: Final[Mapping[str, Script]] = {
    name: lambda actor, play=play: play(actor, *actor.command.argv[1:])  # type: ignore[misc]  # bound now
    for name, play in (("say", _say), ("stubborn", _stubborn), ("fault", _fault))
}
LOCKED: Final = "locked"
SHELLS: Final = ("bash", "sh")
BARE: Final = "w1"  # the machine without bash


def any_command(dice: Random) -> tuple[str, tuple[str, ...]]:
    """A random command with its arguments."""
    kind = dice.choice(["say"] * 7 + ["stubborn", "stubborn", "fault", "missing", LOCKED])
    code = dice.choice([0, 0, 0, 1, 77])
    match dice.randrange(6):
        case 0:  # much output at once
            numbers = (dice.randint(1, 12), dice.choice([3_000, 30_000]), 0, code)
        case 1:  # little output, a long run
            numbers = (2, 1, dice.randint(2_000, 20_000), code)
        case 2:
            numbers = (0, 0, 0, code)
        case _:
            numbers = (dice.randint(1, 40), dice.choice([1, 10, 200]), dice.randint(1, 400), code)
    return kind, tuple(map(str, numbers))


def any_steps(dice: Random) -> tuple[Step, ...]:
    """Up to four random steps; most of them succeed."""
    return tuple(_any_step(dice) for _ in range(dice.choice([0, 1, 2, 2, 3, 3, 4])))


def _any_step(dice: Random) -> Step:
    kind, numbers = any_command(dice)
    if dice.random() < 0.6:
        kind, numbers = "say", (*numbers[:3], "0")
    return Step(
        run="\n".join((" ".join((kind, *numbers)), "# as is said above")),
        name=dice.choice(["", "", "named"]),
        timeout_seconds=dice.choice([0, 0, 0, 0, 1, 4]),
        continue_on_error=dice.random() < 0.3,
        working_directory="nowhere" if dice.random() < 0.03 else "",
    )


class Theatre:
    """The simulated Launcher of a worker process."""

    def __init__(
        self, host: str, tasks: asyncio.TaskGroup, record: list[Performance], pids: "count[int]"
    ) -> None:
        self._host = host
        self._tasks = tasks
        self._record = record
        self._pids = pids
        self._players: list[Player] = []
        self._closed = False

    async def launch(self, command: Command) -> Player:
        await asyncio.sleep(0)
        if self._closed:
            raise SupervisorLost("the supervisor of this worker's processes has ended")
        name, script = command.argv[0], self._script(command)
        if name in SHELLS and script:
            text = command.argv[-1].removeprefix(FILES)
            command = replace(command, argv=tuple(text.splitlines()[0].split()))
        if name == LOCKED:
            raise NotExecutable(f"{name} cannot be executed")
        if script is None:
            raise CommandNotFound(f"there is no command {name}")
        player = self._player(command)
        self._players.append(player)
        player.task = self._tasks.create_task(player.play(script))
        return player

    def _script(self, command: Command) -> Script | None:
        """The script of a command; None if the machine lacks the program."""
        name = command.argv[0]
        if name not in SHELLS:
            return SCRIPTS.get(name)
        if name == "bash" and self._host == BARE:
            return None
        return SCRIPTS.get(command.argv[-1].removeprefix(FILES).split()[0], _absent)

    async def ended(self) -> None:
        await asyncio.Event().wait()

    def statistics(self) -> SupervisorStatistics:
        return SupervisorStatistics(commands_started=len(self._players))

    async def close(self) -> None:
        self._closed = True
        for player in self._players:
            await player.close()

    async def die(self) -> None:
        """Kills every process of the worker, which has died."""
        self._closed = True
        for player in self._players:
            if player.alive:
                await player.lose()

    def _player(self, command: Command) -> Player:
        performance = Performance(
            job=JobId(command.environment["AIRUNNER_JOB_ID"]),
            attempt=int(command.environment["AIRUNNER_ATTEMPT"]),
            step=int(step) if (step := command.environment.get("AIRUNNER_STEP")) else None,
            host=self._host,
            began=asyncio.get_running_loop().time(),
        )
        self._record.append(performance)
        return self.make(next(self._pids), command, performance)

    def make(self, pid: int, command: Command, performance: Performance) -> Player:
        return Player(pid, command, performance)
