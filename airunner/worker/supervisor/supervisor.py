"""The worker's side of its supervisor: a Launcher of real processes.

    worker (asyncio, threads)        supervisor      a shim          a job's tree
      start_supervisor() -- exec -->       |
      hires     -- control socket ------->      fork --->   |
      launch()  -- channel ---------------->       spawn ----->      command ...
      Kept     <-- channel ---------------->       exit, gone; term, kill
      read()   <-------------------------------- pipes or terminal --- output

start_supervisor() is called before the worker starts any thread, so that no process with threads
in it ever forks. main.py is what runs over there, shim.py what it forks, words.py what they all
say. A job that runs has a shim to itself; one more is kept ready, and up to FREE_MAX of those that
have nothing to do. How a tree is kept together is the supervisor's choice at its start:

    "cgroup"      by its shim, and by a control group (leaf.py)
    "subreaper"   by its shim alone (subreaper.py)
    "auto"        the first if the worker may make control groups, else the second

Whoever dies first, no process of a job survives:

    the worker    the supervisor sees the end of the control socket, kills every tree and goes
    the supervisor    the shims kill their trees; wait() of a running command raises ProcessLost,
                  launch() raises KeeperLost
    a shim      the supervisor kills its tree; wait() raises ProcessLost
    both or all   shims kill their trees; leaves without one are killed by the next supervisor that
                  starts in the same control group
"""

import asyncio
import contextlib
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Final, Literal

from airunner.model.spec import ProcessType
from airunner.worker.process import Command, LaunchFailed, SupervisorLost
from airunner.worker.supervisor import protocol
from airunner.worker.supervisor.cgroup import Cgroup
from airunner.worker.supervisor.failure import SUPERVISOR_GONE
from airunner.worker.supervisor.shim_link import ShimLink
from airunner.worker.supervisor.shim_process import ShimProcess
from airunner.worker.supervisor.waits import readable, removed, writable

Tree = Literal["auto", "cgroup", "subreaper"]

START_SECONDS_MAX: Final = 15  # time in which a supervisor must start
FREE_MAX: Final = 16  # idle shims that stay for the next command
_BOOT: Final = (
    "import sys; sys.path.append(sys.argv[1]); "
    "from airunner.worker.supervisor.main import main; main(sys.argv[2])"
)


def start_supervisor(tree: Tree = "auto", lifeline: int | None = None) -> "Supervisor":
    """Start a supervisor and wait until it is ready; to be called before any thread exists.

    A `lifeline` is a pipe that the supervisor, and what holds the trees of its jobs, keep open until
    they end; the jobs themselves do not have it.

    Raises LaunchFailed if it does not start, or if that kind of tree cannot be had here.
    """
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs, contextlib.ExitStack() as undo:
        undo.callback(ours.close)
        root = str(Path(__file__).resolve().parents[3])
        # Isolated (-I) and without site (-S): nothing of the environment, the current directory
        # or installed .pth files runs in it, and it starts in a few milliseconds.
        process = subprocess.Popen(  # noqa: S603 - our own interpreter and our own code
            [sys.executable, "-I", "-S", "-c", _BOOT, root, tree],
            stdin=theirs.fileno(),
            stdout=subprocess.DEVNULL if lifeline is None else lifeline,
            env={},  # the worker's own variables are none of a job's business
            cwd="/",
            start_new_session=True,
        )
        undo.callback(process.wait)
        theirs.close()
        ours.settimeout(START_SECONDS_MAX)
        try:
            word, _, text = ours.recv(protocol.WORD_BYTES_MAX).partition(b" ")
        except OSError:
            word, text = b"", b""
        if word != protocol.READY:
            process.kill()
            why = text.decode(errors="replace") or "see standard error"
            raise LaunchFailed(f"the supervisor of this worker's processes did not start: {why}")
        ours.setblocking(False)
        undo.pop_all()
    _, _, folder = text.decode().partition(" ")
    return Supervisor(process, ours, Cgroup(folder) if folder else None)


class Supervisor:
    """Launches commands through the supervisor's shims. Used within one event loop."""

    def __init__(
        self, process: "subprocess.Popen[bytes]", control: socket.socket, folder: Cgroup | None
    ) -> None:
        self._process = process
        self._control = control
        self._folder = folder
        self._number = 0
        self._turn = asyncio.Lock()  # whose turn it is to wait for room in the control socket
        self._links: set[ShimLink] = set()
        self._free: list[ShimLink] = []  # those whose shims run nothing
        self._closed = False

    @property
    def pid(self) -> int:
        """The process id of the supervisor."""
        return self._process.pid

    @property
    def tree(self) -> Tree:
        """How the trees of jobs are kept together here."""
        return "cgroup" if self._folder else "subreaper"

    async def launch(self, command: Command) -> ShimProcess:
        """Start a command; it runs when this returns. Raises LaunchError.

        A launch that is cancelled leaves no process behind.
        """
        packed = _pack(command)
        self._check()
        try:
            kept = ShimProcess(command)
            try:
                await self._start(kept, packed)
            finally:
                kept.sent()
        except OSError as error:
            raise LaunchFailed(f"no room for another command: {error.strerror}") from None
        try:
            await kept.launched()
        except BaseException:
            await kept.close()
            self._check()
            raise
        if not self._free:  # the next one shall not have to wait
            with contextlib.suppress(OSError, SupervisorLost):
                self._free.append(self._start_shim())
        return kept

    async def ended(self) -> None:
        """Return when the supervisor process has ended, which before close() is a failure."""
        if self._process.returncode is None:
            handle = os.pidfd_open(self._process.pid)
            try:
                await readable(handle)
            finally:
                os.close(handle)
            self._process.wait()

    async def close(self) -> None:
        """Kill every tree, and end the supervisor; safe to call twice."""
        self._closed = True
        for link in list(self._links):
            if link.kept:
                await link.kept.terminate(0)
        async with self._turn:
            self._control.close()
        for link in list(self._links):
            await link.ended()
        await self.ended()
        if self._folder:
            await removed(self._folder)

    # For links

    def freed(self, link: ShimLink) -> None:
        """As Holder.freed."""
        if self._closed or len(self._free) >= FREE_MAX:
            link.release()
        else:
            self._free.append(link)

    def dismiss(self, link: ShimLink) -> None:
        """As Holder.dismiss."""
        protocol.tell(self._control, b"%d" % link.number)

    def over(self, link: ShimLink) -> None:
        """As Holder.over."""
        self._links.discard(link)
        if link in self._free:
            self._free.remove(link)

    # Shims

    def _check(self) -> None:
        if self._closed or self._process.poll() is not None:
            raise SupervisorLost(SUPERVISOR_GONE)

    async def _start(self, kept: ShimProcess, packed: bytes) -> None:
        """Hand a command to a shim. Raises OSError."""
        while self._free:
            with contextlib.suppress(BrokenPipeError):  # that shim was killed while it was free
                self._free.pop().run(kept, packed)
                return
        async with self._turn:
            while True:
                try:
                    link = self._start_shim()
                except BlockingIOError:
                    await writable(self._control.fileno())
                else:
                    break
        link.run(kept, packed)

    def _start_shim(self) -> ShimLink:
        """Ask for another shim. Raises BlockingIOError if the supervisor is busy, and OSError."""
        self._number += 1
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            try:
                socket.send_fds(self._control, [b"%d" % self._number], [theirs.fileno()])
            except OSError as error:
                ours.close()
                if isinstance(error, BlockingIOError):
                    raise
                raise SupervisorLost(SUPERVISOR_GONE) from None
        ours.setblocking(False)
        leaf = Cgroup(f"{self._folder.path}/{self._number}") if self._folder else None
        link = ShimLink(self._number, ours, leaf, self)
        self._links.add(link)
        return link


def _pack(command: Command) -> bytes:
    """A command as the supervisor's children read it."""
    texts = [command.directory, *command.argv]
    pairs = [f"{name}={value}" for name, value in command.environment.items()]
    if any("\0" in text for text in (*texts, *pairs)):
        raise LaunchFailed("a NUL character cannot be part of a command or of its environment")
    try:
        directory, *argv = (text.encode("utf-8", "surrogateescape") for text in texts)
        environment = [pair.encode("utf-8", "surrogateescape") for pair in pairs]
    except UnicodeEncodeError:
        raise LaunchFailed("the command or its environment is not valid Unicode") from None
    terminal = command.process_type is ProcessType.PTY
    return protocol.pack(terminal, directory, argv, environment)
