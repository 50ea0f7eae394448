"""The worker's side of its keeper: a Launcher of real processes.

    worker (asyncio, threads)        keeper (one thread)         a job's tree
      start_keeper() -- exec -->       waits for orders
      launch()  -- reins ------->      fork, tree, exec ----->     command ...
      Kept     <-- channel ----->      exit, gone; term, kill
      read()   <---------------------------- pipes or terminal --- output

start_keeper() is called before the worker starts any thread, so that no process with threads
in it ever forks. main.py is what runs over there, words.py what the two
say. How a tree is kept together is the keeper's choice at its start:

    "cgroup"      a control group a job (leaf.py)
    "subreaper"   a small process a job (subreaper.py)
    "auto"        the first if the worker may make control groups, else the second

Whoever dies first, no process of a job survives:

    the worker    the keeper sees the end of the reins, kills every tree and goes
    the keeper    this module kills the leaves, or the subreapers kill their trees; wait() of
                  a running command raises ProcessLost, launch() raises KeeperLost
    both at once  subreapers kill their trees; leaves are killed by the next keeper that starts
                  in the same control group
"""

import asyncio
import contextlib
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final, Literal

from airunner.reports import Stream
from airunner.spec import ProcessType, TerminalSize
from airunner.worker.keeper import words
from airunner.worker.keeper.failure import KEEPER_GONE, read_status
from airunner.worker.keeper.leaf import Leaf
from airunner.worker.keeper.output import Output, memory_file
from airunner.worker.keeper.waits import Burial, read_to_end, readable, writable
from airunner.worker.process import (
    LINGER,
    Command,
    Exit,
    KeeperLost,
    LaunchFailed,
    ProcessLost,
)

Tree = Literal["auto", "cgroup", "subreaper"]

START_SECONDS_MAX: Final = 15  # for which a keeper may take to start
_BOOT: Final = (
    "import sys; sys.path.append(sys.argv[1]); "
    "from airunner.worker.keeper.main import main; main(sys.argv[2])"
)


def start_keeper(tree: Tree = "auto", lifeline: int | None = None) -> "Keeper":
    """Start a keeper and wait until it is ready; to be called before any thread exists.

    A `lifeline` is a pipe that the keeper, and what holds the trees of its jobs, keep open until
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
            word, _, text = ours.recv(words.WORD_BYTES_MAX).partition(b" ")
        except OSError:
            word, text = b"", b""
        if word != words.READY:
            process.kill()
            why = text.decode(errors="replace") or "see standard error"
            raise LaunchFailed(f"the keeper of this worker's processes did not start: {why}")
        ours.setblocking(False)
        undo.pop_all()
    _, _, folder = text.decode().partition(" ")
    return Keeper(process, ours, Leaf(folder) if folder else None)


class Keeper:
    """Launches commands through the keeper process. Used within one event loop."""

    def __init__(
        self, process: "subprocess.Popen[bytes]", reins: socket.socket, folder: Leaf | None
    ) -> None:
        self._process = process
        self._reins = reins
        self._folder = folder
        self._number = 0
        self._turn = asyncio.Lock()
        self._kept: set[Kept] = set()
        self._closed = False

    @property
    def pid(self) -> int:
        """The process id of the keeper."""
        return self._process.pid

    @property
    def tree(self) -> Tree:
        """How the trees of jobs are kept together here."""
        return "cgroup" if self._folder else "subreaper"

    async def launch(self, command: Command) -> "Kept":
        """Start a command; it runs when this returns. Raises LaunchError.

        A launch that is cancelled leaves no process behind.
        """
        if self._closed:
            raise KeeperLost(KEEPER_GONE)
        terminal = command.terminal if command.process_type is ProcessType.PTY else None
        packed = _pack(command)
        with contextlib.ExitStack() as parts, contextlib.ExitStack() as undo:
            try:
                output = Output(terminal)
                undo.callback(output.close)
                parts.callback(output.close_child)
                ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
                undo.callback(ours.close)
                parts.enter_context(theirs)
                status, writer = (os.fdopen(each, "rb", 0) for each in os.pipe())
                parts.enter_context(status)
                parts.enter_context(writer)
                spec = parts.enter_context(memory_file(packed))
            except OSError as error:
                raise LaunchFailed(f"no room for another command: {error.strerror}") from None
            undo.pop_all()
            self._number += 1
            leaf = Leaf(f"{self._folder.path}/{self._number}") if self._folder else None
            kept = Kept(ours, output, leaf)
            self._kept.add(kept)
            kept.on_gone = lambda: self._kept.discard(kept)
            try:
                order = [spec, theirs.fileno(), writer.fileno(), *output.child]
                await self._order(self._number, order)
                theirs.close()
                writer.close()
                kept.pid = read_status(await read_to_end(status.fileno()), command)
            except BaseException:
                parts.close()
                kept.attend()
                await kept.close()
                raise
        kept.attend()
        return kept

    async def ended(self) -> None:
        """Return when the keeper process has ended, which before close() is a failure."""
        if self._process.returncode is None:
            handle = os.pidfd_open(self._process.pid)
            try:
                await readable(handle)
            finally:
                os.close(handle)
            self._process.wait()

    async def close(self) -> None:
        """Kill every tree, and end the keeper; safe to call twice."""
        self._closed = True
        for kept in list(self._kept):
            await kept.terminate(0)
        async with self._turn:
            self._reins.close()
        for kept in list(self._kept):  # those whose launch was under way
            await kept.terminate(0)
        await self.ended()
        if self._folder:
            self._folder.remove()

    async def _order(self, number: int, descriptors: list[int]) -> None:
        async with self._turn:
            while True:
                try:
                    socket.send_fds(self._reins, [b"%d" % number], descriptors)
                except BlockingIOError:
                    await writable(self._reins.fileno())
                except OSError:
                    raise KeeperLost(KEEPER_GONE) from None
                else:
                    return


class Kept:
    """One command under the keeper: a Process."""

    def __init__(self, channel: socket.socket, output: Output, leaf: Leaf | None) -> None:
        self.pid = 0
        self.on_gone: Callable[[], None] = lambda: None
        self._loop = asyncio.get_running_loop()
        self._channel = channel
        self._output = output
        self._leaf = leaf
        self._exit: Exit | None = None
        self._ended = asyncio.Event()  # the command, or all knowledge of it
        self._gone = asyncio.Event()  # every process of the tree
        self._terminating = False
        self._kill: asyncio.TimerHandle | None = None
        output.on_end = self._settle

    def attend(self) -> None:
        """Begin to listen to the keeper."""
        self._loop.add_reader(self._channel.fileno(), self._listen)

    async def read(self) -> tuple[Stream, bytes] | None:
        """As Process.read."""
        return await self._output.read()

    async def wait(self) -> Exit:
        """As Process.wait."""
        await self._ended.wait()
        if self._exit is None:
            raise ProcessLost(
                "the keeper of this worker's processes has ended, and the job with it"
            )
        return self._exit

    def resize(self, size: TerminalSize) -> None:
        """As Process.resize."""
        self._output.resize(size)

    async def terminate(self, grace: float) -> None:
        """As Process.terminate."""
        if not self._gone.is_set():
            if grace > 0 and not self._terminating:
                words.tell(self._channel, words.TERM)
            self._terminating = True
            self._kill_after(grace)
        await self._gone.wait()

    async def close(self) -> None:
        """As Process.close."""
        try:
            await self.terminate(0)
        finally:  # though the caller does not wait for it, the tree is being killed
            self._output.close()

    def _kill_after(self, seconds: float) -> None:
        """Kill the tree then, or earlier if that was the plan."""
        if seconds <= 0:
            words.tell(self._channel, words.KILL)
            return
        when = self._loop.time() + seconds
        if self._kill is None or when < self._kill.when():
            self._forget_kill()
            self._kill = self._loop.call_at(when, words.tell, self._channel, words.KILL)

    def _forget_kill(self) -> None:
        if self._kill is not None:
            self._kill.cancel()
            self._kill = None

    def _listen(self) -> None:
        """Take the words that have arrived."""
        while (word := words.hear(self._channel)) is not None:
            match word.split():
                case [words.EXIT, code, number] if not self._ended.is_set():
                    self._exit = Exit(int(code), int(number) or None)
                    self._ended.set()
                    self._settle()
                case [words.LOST]:
                    self._ended.set()
                case [words.GONE]:
                    self._over()
                    return
                case _ if word == b"":
                    self._lose()
                    return

    def _settle(self) -> None:
        """The command has ended: the rest of its tree gets LINGER, or nothing if it is silent."""
        if self._ended.is_set() and not self._gone.is_set() and not self._terminating:
            self._kill_after(0 if self._output.over else LINGER)

    def _lose(self) -> None:
        """The keeper is dead. A leaf is killed from here; a subreaper has already done its part."""
        self._loop.remove_reader(self._channel.fileno())
        self._ended.set()
        if self._leaf is None:
            self._over()
        else:
            Burial(self._leaf, self._over)

    def _over(self) -> None:
        """No process of the tree is left."""
        if self._channel.fileno() >= 0:
            self._loop.remove_reader(self._channel.fileno())
        self._channel.close()
        self._forget_kill()
        self._ended.set()
        self._gone.set()
        self._output.finish()
        self.on_gone()


def _pack(command: Command) -> bytes:
    """A command as the keeper's children read it."""
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
    return words.pack(terminal, directory, argv, environment)
