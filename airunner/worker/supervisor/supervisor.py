"""The worker's side of its supervisor: a Launcher of real processes.

    worker (asyncio, threads)           supervisor       a shim          a job's process tree
      start_supervisor() --- exec ----------> |
      _start_shim()  -- control socket -----> fork -----> |
      launch()       -- channel ------------------------> spawn ------> command ...
      ShimProcess   <-- channel ------------------------> pid, exit, gone; term, kill
      read()        <----------------------------------- pipes or terminal --- output

The worker calls start_supervisor() before it starts any thread, so no process with threads ever
forks. main.py is the program of the supervisor, shim.py the program of a shim, and protocol.py
defines the messages between them. Each running command has a shim to itself. One more shim is kept
ready, and up to IDLE_SHIMS_MAX of those whose commands have ended. The supervisor chooses at its
start how it finds every process of a job:

    "cgroup"      below the job's shim, and in the shim's control group (cgroup.py)
    "subreaper"   below the job's shim alone (subreaper_tree.py)
    "auto"        the first if the worker may create control groups, else the second

No process of a job survives a death, whichever process dies first:

    the worker       the supervisor sees the end of the control socket, kills every tree and exits;
                     if the worker is frozen, the supervisor kills each tree at its deadline
    the supervisor   the shims kill their trees, and the worker kills the rest (guard.py); wait() of
                     a running command raises ProcessLost, launch() raises SupervisorLost
    a shim           the supervisor kills the shim's tree; wait() raises ProcessLost
    several at once  shims that live kill their trees; a cgroup without a shim is killed by the
                     next supervisor that starts in the same parent cgroup
"""

import asyncio
import contextlib
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final, Literal

from airunner.model.spec import ProcessType
from airunner.worker.process import (
    SUPERVISOR_GONE,
    Command,
    LaunchFailed,
    SupervisorLost,
    SupervisorStatistics,
)
from airunner.worker.supervisor import protocol
from airunner.worker.supervisor.guard import SupervisorGuard
from airunner.worker.supervisor.renewals import Renewals
from airunner.worker.supervisor.shim_link import ShimLink
from airunner.worker.supervisor.shim_process import ShimProcess
from airunner.worker.supervisor.trees.cgroup import Cgroup
from airunner.worker.supervisor.trees.prctl import forbid_tracing, set_subreaper
from airunner.worker.supervisor.waits import remove_cgroup, writable

Tree = Literal["auto", "cgroup", "subreaper"]

START_SECONDS_MAX: Final = 15  # time in which a supervisor must start
STARTS_MAX: Final = 3  # supervisors in a row that signals may end while they start
IDLE_SHIMS_MAX: Final = 16  # idle shims that stay for the next command
_NOT_STARTED: Final = "the supervisor of this worker's processes did not start"
_BOOT: Final = (
    "import sys; sys.path.append(sys.argv[1]); "
    "from airunner.worker.supervisor.main import main; main(sys.argv[2])"
)


def start_supervisor(tree: Tree = "auto", lifeline: int | None = None) -> "Supervisor":
    """Starts a supervisor and waits until it is ready; call this before any thread exists.

    The supervisor and its shims keep the pipe `lifeline` open until they end; jobs do not get it.
    This process becomes a subreaper, and no process of the same user may trace it. A supervisor that
    a signal ends while it starts is started again. Raises LaunchFailed if none starts, or if this
    kind of tree is not available.
    """
    set_subreaper()
    forbid_tracing()
    for _ in range(STARTS_MAX - 1):
        with contextlib.suppress(_EndedBySignal):
            return _start(tree, lifeline)
    return _start(tree, lifeline)


class _EndedBySignal(LaunchFailed):
    """A signal has ended the supervisor before it was ready."""


def _start(tree: Tree, lifeline: int | None) -> "Supervisor":
    """Starts a supervisor and waits until it is ready. Raises LaunchFailed."""
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
            message, _, text = ours.recv(protocol.MESSAGE_BYTES_MAX).partition(b" ")
        except TimeoutError:
            message, text = b"", b"it took too long"
        except OSError:
            message, text = b"", b""
        if message != protocol.READY:
            why = text.decode(errors="replace") or "see standard error"
            with contextlib.suppress(subprocess.TimeoutExpired):
                if not text and (code := process.wait(START_SECONDS_MAX)) < 0:
                    raise _EndedBySignal(f"{_NOT_STARTED}: signal {-code} has ended it")
            process.kill()
            raise LaunchFailed(f"{_NOT_STARTED}: {why}")
        ours.setblocking(False)
        undo.pop_all()
    _, _, path = text.decode().partition(" ")
    return Supervisor(process, ours, Cgroup(path) if path else None)


class Supervisor:
    """Launches commands through the supervisor's shims; used within one event loop."""

    def __init__(
        self, process: "subprocess.Popen[bytes]", control: socket.socket, cgroup: Cgroup | None
    ) -> None:
        self._process = process
        self._control = control
        self._cgroup = cgroup  # the parent of each shim's
        self._guard = SupervisorGuard(process, control, cgroup)
        self._renewals = Renewals(self._guard.send)
        self._number = 0  # of the last shim
        self._control_lock = asyncio.Lock()  # held while a launch waits for room in the socket
        self._links: set[ShimLink] = set()
        self._idle: list[ShimLink] = []  # a subset of the links
        self._commands_started = 0
        self._shims_killed = 0
        self._closed = False
        self._gone = asyncio.Event()  # the supervisor is dead, and no orphan of it is left

    @property
    def pid(self) -> int:
        """The process id of the supervisor."""
        return self._process.pid

    @property
    def tree(self) -> Tree:
        """How this supervisor finds every process of a job."""
        return "cgroup" if self._cgroup else "subreaper"

    async def launch(self, command: Command) -> ShimProcess:
        """Starts a command, which runs when this returns. Raises LaunchError.

        A cancelled launch leaves no process behind.
        """
        packed = _pack(command)
        self._check()
        self._guard.watch(self._died, self._gone.set)
        try:
            process = ShimProcess(command)
            try:
                await self._start(process, packed)
            finally:
                process.streams_sent()
        except OSError as error:
            raise LaunchFailed(f"no room for another command: {error.strerror}") from None
        try:
            await process.launched()
        except BaseException:
            await process.close()
            self._check()
            raise
        self._commands_started += 1
        if not self._idle:  # so that the next command does not wait for a fork
            with contextlib.suppress(OSError, SupervisorLost):
                self._idle.append(self._start_shim())
        return process

    async def ended(self) -> None:
        """As Launcher.ended; before close(), the end is a failure."""
        self._guard.watch(self._died, self._gone.set)
        await self._gone.wait()

    async def close(self) -> None:
        """Kills every tree and ends the supervisor; safe to call twice."""
        self._closed = True
        for link in list(self._links):
            if link.process:
                await link.process.terminate(0)
        async with self._control_lock:
            self._guard.close_control(self._died, self._gone.set)
        for link in list(self._links):
            await link.ended()
        await self.ended()
        if self._cgroup:
            await remove_cgroup(self._cgroup)

    def statistics(self) -> SupervisorStatistics:
        """As Launcher.statistics."""
        return SupervisorStatistics(
            shims_idle=len(self._idle),
            shims_busy=sum(link.process is not None for link in self._links),
            commands_started=self._commands_started,
            shims_killed=self._shims_killed,
            trees_being_removed=sum(link.removing for link in self._links),
        )

    # For links

    def shim_idle(self, link: ShimLink) -> None:
        """As ShimOwner.shim_idle."""
        self._renewals.remove(link.number)
        if self._closed or len(self._idle) >= IDLE_SHIMS_MAX:
            link.release()
        else:
            self._idle.append(link)

    def kill_shim(self, link: ShimLink) -> None:
        """As ShimOwner.kill_shim."""
        self._guard.send(b"%b %d" % (protocol.KILL, link.number))
        self._guard.demand_answer(urgent=True)

    def when_orphans_gone(self, call: Callable[[], None]) -> None:
        """As ShimOwner.when_orphans_gone."""
        self._guard.when_orphans_gone(call)

    def shim_gone(self, link: ShimLink) -> None:
        """As ShimOwner.shim_gone."""
        self._renewals.remove(link.number)
        self._links.discard(link)
        if link in self._idle:
            self._idle.remove(link)
        if link.killed and not self._closed:
            self._shims_killed += 1

    # Shims

    def _check(self) -> None:
        if self._closed or self._process.poll() is not None:
            raise SupervisorLost(SUPERVISOR_GONE)

    async def _start(self, process: ShimProcess, packed: bytes) -> None:
        """Gives a command to an idle shim, or else to a new one. Raises OSError."""
        while self._idle:
            with contextlib.suppress(BrokenPipeError):  # this shim was killed while it was idle
                self._run(self._idle.pop(), process, packed)
                return
        async with self._control_lock:
            while True:
                try:
                    link = self._start_shim()
                except BlockingIOError:
                    await writable(self._control.fileno())
                else:
                    break
        self._run(link, process, packed)

    def _run(self, link: ShimLink, process: ShimProcess, packed: bytes) -> None:
        self._renewals.add(link.number, process.deadline)
        link.run(process, packed)

    def _died(self) -> None:
        """Tells the running commands that the supervisor is dead."""
        for link in self._links:
            if link.process and not self._closed:
                link.process.supervisor_died()

    def _start_shim(self) -> ShimLink:
        """Orders another shim. Raises BlockingIOError if the control socket is full, and OSError."""
        self._number += 1
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            try:
                order = b"%b %d" % (protocol.SHIM, self._number)
                socket.send_fds(self._control, [order], [theirs.fileno()])
            except OSError as error:
                ours.close()
                if isinstance(error, BlockingIOError):
                    raise
                raise SupervisorLost(SUPERVISOR_GONE) from None
        ours.setblocking(False)
        cgroup = Cgroup(f"{self._cgroup.path}/{self._number}") if self._cgroup else None
        self._guard.demand_answer(urgent=False)
        link = ShimLink(self._number, ours, cgroup, self)
        self._links.add(link)
        return link


def _pack(command: Command) -> bytes:
    """A command in the form that protocol.unpack() reads. Raises LaunchFailed."""
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
