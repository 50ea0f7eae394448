"""What a worker asks of whoever starts processes, and what it gets.

Rules

1. A job's *tree* is its command and everything that the command has started, however
   it was started: forked twice, in another session, without a terminal.
2. The command's own end is the job's end. What is left of its tree may write for
   LINGER seconds more if it still holds the output open; then it is killed.
3. Whatever the command wrote is delivered, in full and unchanged. Output is pulled: while
   nobody reads, the command blocks in its write, and no memory grows.
4. Between standard output and standard error the order is that of reading; within each
   it is exact. A terminal has one stream, with what a terminal would receive: `\\n` becomes
   `\\r\\n`, unless the command says `stty raw`.
5. terminate() and close() return when no process of the tree is left, and not before.

supervisor.py starts real processes. Anything else that keeps these rules can stand in for
it, a simulation in a test among them.

Rejected: asyncio's own subprocesses. They fork in a process full of threads, read
ahead without being asked, and know nothing of a tree.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Protocol

from airunner.model.reports import Stream
from airunner.model.spec import ProcessType, TerminalSize

LINGER: Final = 0.5  # seconds that the rest of a tree may write on after the command's end
READ_BYTES_MAX: Final = 64 * 1024  # output in one read


class LaunchError(Exception):
    """The command was not started; the message is a sentence for the one who submitted it."""


class CommandNotFound(LaunchError):
    """There is no such program; a shell would exit with 127."""


class NotExecutable(LaunchError):
    """The program is there, but it cannot be run; a shell would exit with 126."""


class LaunchFailed(LaunchError):
    """Something other than the program is wrong: its directory, its size, the system."""


class SupervisorLost(LaunchFailed):
    """Whoever starts processes here is gone: no command can be started any more."""


class LaunchLost(LaunchError):
    """Whoever was to start the command was killed; whether it has run is unknown."""


class ProcessLost(Exception):
    """The command was killed because whoever watched over it is gone; how it ended is unknown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """What is run. `environment` is all of the environment; nothing is added to it."""

    argv: tuple[str, ...]  # argv[0]: a name on the PATH of `environment`, or a path with a slash
    environment: Mapping[str, str]
    directory: str  # where it runs, and what a relative argv[0] is relative to
    process_type: ProcessType
    terminal: TerminalSize  # of a PTY


@dataclass(frozen=True, slots=True)
class Exit:
    """How a command ended. `code` is 128 + signal after a death by signal."""

    code: int
    signal: int | None = None


class Process(Protocol):
    """A command that was started, and its tree."""

    @property
    def pid(self) -> int:
        """The process id of the command, which is that of its session and its group too."""
        ...

    async def read(self) -> tuple[Stream, bytes] | None:
        """The next bytes of output, 1 to READ_BYTES_MAX of them; None once there will be no more.

        One task reads at a time.
        """
        ...

    async def wait(self) -> Exit:
        """How the command ended, as soon as it has, though others of its tree may still run.

        Raises ProcessLost if that cannot be known.
        """
        ...

    def resize(self, size: TerminalSize) -> None:
        """Change the size of the command's terminal; without one, nothing happens."""
        ...

    async def terminate(self, grace: float) -> None:
        """End the tree: SIGTERM to each of its processes, SIGKILL after `grace` seconds.

        Returns when no process of the tree is left. A grace of 0 is SIGKILL at once. May
        be called again, also while another call waits: the earliest SIGKILL counts, and
        SIGTERM is sent once.
        """
        ...

    async def close(self) -> None:
        """Kill what is left of the tree and let go of everything; output not yet read is lost."""
        ...


class Launcher(Protocol):
    """Starts commands."""

    async def launch(self, command: Command) -> Process:
        """Start a command; it runs when this returns. Raises LaunchError."""
        ...

    async def close(self) -> None:
        """Kill every tree that is left; safe to call twice."""
        ...
