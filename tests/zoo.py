"""The zoo: small programs that behave as badly as real ones do, and a supervisor to run them under.

Each program is Python or shell text. The fixture tags every command by a variable of the environment,
which all descendants of the command inherit, so that a test finds each of them by its tag.
"""

import os
import select
import sys
import uuid
from collections.abc import Callable, Coroutine, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final, Self

from airunner.model.reports import Stream
from airunner.model.spec import ProcessType, TerminalSize
from airunner.worker.process import Command, Deadline, Exit, Launcher, Process
from airunner.worker.supervisor.supervisor import Supervisor, Tree, start_supervisor

TREES: Final[tuple[Tree, ...]] = ("cgroup", "subreaper")
KINDS: Final = (ProcessType.PIPE, ProcessType.PTY)
PATH: Final = "/usr/local/bin:/usr/bin:/bin"
SECONDS_MAX: Final = 60  # for each event that must happen

# Says that it runs, and goes on running until it is killed.
SLEEPER: Final = "print('ready', flush=True); import time; time.sleep(1000)"

# The same for a hidden descendant: it informs its ancestor, which prints the line before it ends. In
# the session of a terminal the descendant itself has no time to print: the end of the session leader
# hangs up, and ends it.
HIDDEN: Final = "os.write(writer, b'x'); time.sleep(1000)"
SAID: Final = "os.read(reader, 1); print('ready', flush=True)"

DOUBLE_FORK: Final = f"""
import os, time
reader, writer = os.pipe()
if os.fork() == 0:
    if os.fork() == 0:
        {HIDDEN}
    os._exit(0)
os.wait()
{SAID}
"""
SETSID: Final = f"""
import os, time
reader, writer = os.pipe()
if os.fork() == 0:
    os.setsid()
    {HIDDEN}
{SAID}
"""
STUBBORN_DAEMON: Final = f"""
import os, signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
signal.signal(signal.SIGHUP, signal.SIG_IGN)
reader, writer = os.pipe()
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        {HIDDEN}
    os._exit(0)
os.wait()
{SAID}
"""
FORK_BOMB: Final = """
import os, resource
if os.geteuid() == 0:
    os.setuid(61234)  # the limit does not hold for root
    most = 120
else:
    most = 120 + sum(os.stat(f'/proc/{p}').st_uid == os.geteuid() for p in os.listdir('/proc') if p.isdigit())
resource.setrlimit(resource.RLIMIT_NPROC, (most, most))
told = False
while True:
    try:
        os.fork()
    except OSError:
        if not told:
            os.write(1, b'ready\\n')
        told = True
"""


def python(program: str, *args: str) -> tuple[str, ...]:
    """The arguments that run a Python program."""
    return (sys.executable, "-I", "-S", "-c", program, *args)


def shell(line: str) -> tuple[str, ...]:
    """The arguments that run a shell line."""
    return ("sh", "-c", line)


class SupervisorFixture:
    """A supervisor, and the tag of every command that it starts."""

    def __init__(self, tree: Tree, lifeline: int | None = None) -> None:
        self.supervisor: Supervisor = start_supervisor(tree, lifeline)
        self.tag = uuid.uuid4().hex

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.supervisor.close()
        assert tagged(self.tag) == []

    async def launch(
        self,
        *argv: str,
        kind: ProcessType = ProcessType.PIPE,
        directory: str = "/",
        environment: Mapping[str, str] | None = None,
        merge_stderr: bool = False,
        keep_tree: bool = False,
        deadline: Deadline | None = None,
    ) -> Process:
        """Starts a command."""
        command = Command(
            argv=argv,
            environment={"PATH": PATH, "ZOO": self.tag} if environment is None else environment,
            directory=directory,
            process_type=kind,
            terminal=TerminalSize(columns=100, rows=30),
            merge_stderr=merge_stderr,
            keep_tree=keep_tree,
            deadline=deadline or Deadline(),
        )
        launcher: Launcher = self.supervisor
        return await launcher.launch(command)

    async def run(
        self, *argv: str, kind: ProcessType = ProcessType.PIPE, directory: str = "/"
    ) -> tuple[Exit, bytes]:
        """Runs a command to its end; returns the end and the whole output."""
        process = await self.launch(*argv, kind=kind, directory=directory)
        output = b"".join([data for _, data in await read_all(process)])
        end = await process.wait()
        await process.close()
        return end, output


async def read_all(process: Process) -> list[tuple[Stream, bytes]]:
    """The chunks of the output until its end."""
    chunks: list[tuple[Stream, bytes]] = []
    while chunk := await process.read():
        chunks.append(chunk)
    return chunks


async def read_until(process: Process, word: bytes) -> bytes:
    """The output up to the first chunk that completes the word."""
    seen = b""
    while word not in seen:
        chunk = await process.read()
        assert chunk, f"the output ended without {word!r}: {seen!r}"
        seen += chunk[1]
    return seen


def tagged(tag: str) -> list[int]:
    """The ids of the running processes with this tag in their environment."""
    found: list[int] = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            with suppress(OSError):  # the process has just ended, or belongs to another user
                if f"ZOO={tag}".encode() in environment(int(folder.name)).split(b"\0"):
                    found.append(int(folder.name))
    return found


def environment(pid: int) -> bytes:
    """The environment with which a process was started."""
    return Path(f"/proc/{pid}/environ").read_bytes()


def status(pid: int) -> dict[str, str]:
    """The fields of /proc/PID/status."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return dict(line.split(":\t", 1) for line in lines)


class Watch:
    """Handles of processes of any parent, to wait for their end."""

    def __init__(self, pids: list[int]) -> None:
        self._handles = [os.pidfd_open(pid) for pid in pids]

    def wait(self) -> None:
        """Returns when all processes have ended."""
        for handle in self._handles:
            poll = select.poll()
            poll.register(handle, select.POLLIN)
            assert poll.poll(SECONDS_MAX * 1000), "a process has outlived its job"
            os.close(handle)


Scene = Callable[[SupervisorFixture], Coroutine[None, None, None]]
