"""The interface between a worker and the launcher of its commands.

Rules

1. A job's *process tree* is its command and every process that the command has started, by any
   means: with two forks, in another session, without a terminal.
2. When the command ends, its stage ends. The rest of its tree may write for LINGER seconds more if
   it still holds the output open; then it is killed.
3. The launcher delivers the output of the command in full and unchanged. The worker pulls output:
   while it does not read, the command blocks in its write, and no memory grows.
4. Within standard output and within standard error the order of bytes is exact; between the two it
   is the order of reading. A terminal has one stream, with the bytes that a terminal would receive:
   `\\n` becomes `\\r\\n`, unless the command says `stty raw`.
5. terminate() and close() return when no process of the tree is left, and not before.
6. The launcher kills the tree when the command's deadline has passed, also while the worker is
   frozen.

supervisor/supervisor.py starts real processes. Any other implementation of these rules can take
its place, as the simulation in the tests does.

Rejected: asyncio's own subprocesses. They fork in a process with many threads, read ahead without
a request, and do not know process trees.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import inf
from typing import Final, Protocol

from airunner.model.reports import Stream
from airunner.model.spec import ProcessType, TerminalSize

LINGER: Final = 0.5  # seconds that the rest of a tree may write on after the command's end
SUPERVISOR_GONE: Final = (
    "the supervisor, which starts this worker's commands, has ended: restart the worker"
)
READ_BYTES_MAX: Final = 64 * 1024  # output in one read


class LaunchError(Exception):
    """The command was not started; the message is a sentence for the job's submitter."""


class CommandNotFound(LaunchError):
    """There is no such program; a shell would exit with 127."""


class NotExecutable(LaunchError):
    """The program exists but is not executable; a shell would exit with 126."""


class LaunchFailed(LaunchError):
    """The start failed for another reason than the program: its directory, its size, the system."""


class SupervisorLost(LaunchFailed):
    """The supervisor has ended: this worker can start no command any more."""


class LaunchLost(LaunchError):
    """The shim was killed while it started the command; whether the command ran is unknown."""


class ProcessLost(Exception):
    """The command was killed because its shim or the supervisor died; its exit code is unknown."""


class Deadline:
    """The time at which a command must have ended, which may be put off while the command runs.

    Only the launcher can keep it when the worker is frozen.
    """

    __slots__ = ("at", "listeners")

    def __init__(self, at: float = inf) -> None:
        self.at = at  # in the event loop's time
        self.listeners: dict[object, Callable[[], None]] = {}  # called after each change

    def move(self, at: float) -> None:
        """Changes the time."""
        if at != self.at:
            self.at = at
            for call in tuple(self.listeners.values()):
                call()


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """A command to start. `environment` is the whole environment; the launcher adds nothing."""

    argv: tuple[str, ...]  # argv[0]: a name on the PATH of `environment`, or a path with a slash
    environment: Mapping[str, str]
    directory: str  # the working directory; a relative argv[0] starts there
    process_type: ProcessType
    terminal: TerminalSize  # of a PTY
    merge_stderr: bool = False  # one pipe for both streams
    keep_tree: bool = False  # the rest of the tree lives on after the command, until terminate()
    deadline: Deadline = field(default_factory=Deadline, compare=False)


@dataclass(frozen=True, slots=True)
class Exit:
    """The end of a command. `code` is 128 + signal after a death by signal."""

    code: int
    signal: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SupervisorStatistics:
    """Plain numbers about the launcher of a worker's commands, for metrics."""

    shims_idle: int = 0  # shims that run no command
    shims_busy: int = 0  # shims with a command, from its start to the end of its process tree
    commands_started: int = 0
    shims_killed: int = 0  # shims that ended without an order to exit, killed by any process
    trees_being_removed: int = 0  # process trees and cgroups that are being killed and removed


class Process(Protocol):
    """A started command and its process tree."""

    @property
    def pid(self) -> int:
        """The process id of the command, also the id of its session and of its process group."""
        ...

    async def read(self) -> tuple[Stream, bytes] | None:
        """The next 1 to READ_BYTES_MAX bytes of output; None at the end of the output.

        One task reads at a time.
        """
        ...

    async def wait(self) -> Exit:
        """Waits for the end of the command; other processes of its tree may still run then.

        Raises ProcessLost if the exit code cannot be known.
        """
        ...

    def resize(self, size: TerminalSize) -> None:
        """Changes the size of the command's terminal; without a terminal, does nothing."""
        ...

    async def terminate(self, grace: float) -> None:
        """Ends the tree: SIGTERM to each of its processes, SIGKILL after `grace` seconds.

        Returns when no process of the tree is left. A grace of 0 means SIGKILL at once. A further
        call is allowed, also while another call waits: the earliest SIGKILL counts, and SIGTERM is
        sent once.
        """
        ...

    async def close(self) -> None:
        """Kills the rest of the tree and closes all descriptors; unread output is lost."""
        ...


class Launcher(Protocol):
    """Starts commands, each with a process tree of its own."""

    async def launch(self, command: Command) -> Process:
        """Starts a command, which runs when this returns. Raises LaunchError."""
        ...

    async def ended(self) -> None:
        """Returns when the launcher can start no command any more, and every tree is gone."""
        ...

    async def close(self) -> None:
        """Kills every tree that is left; safe to call twice."""
        ...

    def statistics(self) -> SupervisorStatistics:
        """The present state of the launcher in numbers."""
        ...
