"""One command under a shim, as the worker sees it: a Process."""

import asyncio
from typing import Final, Protocol

from airunner.model.reports import Stream
from airunner.model.spec import ProcessType, TerminalSize
from airunner.worker.process import (
    LINGER,
    Command,
    Deadline,
    Exit,
    LaunchError,
    LaunchLost,
    ProcessLost,
)
from airunner.worker.supervisor import protocol
from airunner.worker.supervisor.failure import failure
from airunner.worker.supervisor.output import Output

KILL_SECONDS_MAX: Final = 3.0  # time in which a shim must kill its tree

SHIM_KILLED: Final = "the shim that watches over this command was killed"
SUPERVISOR_ENDED: Final = "the supervisor of this worker's processes has ended"


class TreeSignals(Protocol):
    """The part of a ShimLink that a command uses."""

    def term(self) -> None: ...

    def kill(self) -> None: ...

    def kill_shim(self) -> None: ...


class ShimProcess:
    """A Process. Its ShimLink calls handle() and tree_gone()."""

    def __init__(self, command: Command) -> None:
        """Opens the streams of the command. Raises OSError if the system has no room."""
        self.pid = 0
        self.link: TreeSignals | None = None
        self._command = command
        terminal = command.terminal if command.process_type is ProcessType.PTY else None
        self._output = Output(terminal, merged=command.merge_stderr)
        self._loop = asyncio.get_running_loop()
        self._launched: asyncio.Future[None] = self._loop.create_future()
        self._exit: Exit | None = None
        self._exit_unknown_because = SHIM_KILLED
        self._ended = asyncio.Event()  # the command has ended, or its end will never be known
        self._tree_gone = asyncio.Event()
        self._terminating = False
        self._kill_ordered = False
        self._kill: asyncio.TimerHandle | None = None
        self._output.on_end = self._plan_kill

    @property
    def deadline(self) -> Deadline:
        """The time at which the command must have ended."""
        return self._command.deadline

    def supervisor_died(self) -> None:
        """Records the reason why the end of the command will not be known."""
        self._exit_unknown_because = SUPERVISOR_ENDED
        self._ended.set()

    @property
    def streams(self) -> list[int]:
        """The descriptors that the command gets."""
        return self._output.child

    @property
    def exit_known(self) -> bool:
        """Whether the shim has reported how the command ended."""
        return self._exit is not None

    def streams_sent(self) -> None:
        """Closes the worker's copies of the descriptors that the shim has now."""
        self._output.close_child()

    async def launched(self) -> None:
        """Returns when the command runs. Raises LaunchError."""
        await self._launched

    async def read(self) -> tuple[Stream, bytes] | None:
        """As Process.read."""
        return await self._output.read()

    async def wait(self) -> Exit:
        """As Process.wait."""
        await self._ended.wait()
        if self._exit is None:
            raise ProcessLost(f"{self._exit_unknown_because}, and the job with it")
        return self._exit

    def resize(self, size: TerminalSize) -> None:
        """As Process.resize."""
        self._output.resize(size)

    async def terminate(self, grace: float) -> None:
        """As Process.terminate."""
        if self.link and not self._tree_gone.is_set():
            if grace > 0 and not self._terminating:
                self.link.term()
            self._terminating = True
            self._kill_after(grace)
            await self._tree_gone.wait()

    async def close(self) -> None:
        """As Process.close."""
        try:
            await self.terminate(0)
        finally:  # if the caller is cancelled, the shim kills the tree all the same
            self._output.close()

    def handle(self, verb: bytes, text: bytes) -> bool:
        """Handles a message about this command; returns whether it is the last one."""
        if verb == protocol.FAILED:
            self._fail(failure(text, self._command))
            self.tree_gone()
            return True
        match verb, *text.split():
            case [protocol.PID, pid]:
                self.pid = int(pid)
                if not self._launched.done():
                    self._launched.set_result(None)
            case [protocol.EXIT, code, number, *gone]:
                if not self._ended.is_set():  # else the command died with the supervisor
                    self._exit = Exit(int(code), int(number) or None)
                self._ended.set()
                if gone:
                    self.tree_gone()
                    return True
                self._plan_kill()
            case [protocol.LOST]:
                self.supervisor_died()
            case [protocol.GONE]:
                self.tree_gone()
                return True
        return False

    def tree_gone(self) -> None:
        """Records that no process of the tree is left."""
        self._fail(LaunchLost(SHIM_KILLED))  # unless it was launched
        self._cancel_kill()
        self._ended.set()
        self._tree_gone.set()
        self._output.finish()

    def _fail(self, why: LaunchError) -> None:
        if not self._launched.done():
            self._launched.set_exception(why)

    def _plan_kill(self) -> None:
        """Gives the rest of the tree LINGER after the command's end, or no time without output."""
        if self._terminating or (self._command.keep_tree and self._exit):
            return
        if self._ended.is_set() and not self._tree_gone.is_set():
            self._kill_after(0 if self._output.at_end else LINGER)

    def _kill_after(self, seconds: float) -> None:
        """Kills the tree after this time, unless an earlier kill is planned."""
        when = self._loop.time() + seconds
        if self._kill_ordered or (self._kill and when >= self._kill.when()):
            return
        self._cancel_kill()
        if seconds > 0:
            self._kill = self._loop.call_at(when, self._kill_now)
        else:
            self._kill_now()

    def _kill_now(self) -> None:
        assert self.link
        self._kill_ordered = True
        self.link.kill()
        self._kill = self._loop.call_later(KILL_SECONDS_MAX, self._kill_shim)

    def _kill_shim(self) -> None:
        """Orders the death of the shim, again and again: an order may find no room."""
        assert self.link
        self.link.kill_shim()
        self._kill = self._loop.call_later(KILL_SECONDS_MAX, self._kill_shim)

    def _cancel_kill(self) -> None:
        if self._kill is not None:
            self._kill.cancel()
            self._kill = None
