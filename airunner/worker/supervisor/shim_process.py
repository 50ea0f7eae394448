"""One command under a shim: a Process."""

import asyncio
from typing import Final, Protocol

from airunner.model.reports import Stream
from airunner.model.spec import ProcessType, TerminalSize
from airunner.worker.process import LINGER, Command, Exit, LaunchError, LaunchLost, ProcessLost
from airunner.worker.supervisor import protocol
from airunner.worker.supervisor.failure import failure
from airunner.worker.supervisor.output import Output

KILL_SECONDS_MAX: Final = 3.0  # time in which a shim must kill its tree

SHIM_GONE: Final = "the shim that watches over this command was killed"
SUPERVISOR_GONE: Final = "the supervisor of this worker's processes has ended"


class TreeSignals(Protocol):
    """What a command has of its shim's link."""

    def term(self) -> None: ...

    def kill(self) -> None: ...

    def kill_shim(self) -> None: ...


class ShimProcess:
    """A Process; hear() and over() are for its link."""

    def __init__(self, command: Command) -> None:
        """Open its streams. Raises OSError if the system has no room."""
        self.pid = 0
        self.link: TreeSignals | None = None
        self._command = command
        self._output = Output(command.terminal if command.process_type is ProcessType.PTY else None)
        self._loop = asyncio.get_running_loop()
        self._launched: asyncio.Future[None] = self._loop.create_future()
        self._exit: Exit | None = None
        self._lost = SHIM_GONE  # why that is not known
        self._ended = asyncio.Event()  # the command, or all knowledge of it
        self._gone = asyncio.Event()  # every process of the tree
        self._terminating = False
        self._killed = False
        self._kill: asyncio.TimerHandle | None = None
        self._output.on_end = self._settle

    @property
    def streams(self) -> list[int]:
        """What the command gets."""
        return self._output.child

    def sent(self) -> None:
        """The shim has the streams."""
        self._output.close_child()

    async def launched(self) -> None:
        """Return when the command runs. Raises LaunchError."""
        await self._launched

    async def read(self) -> tuple[Stream, bytes] | None:
        """As Process.read."""
        return await self._output.read()

    async def wait(self) -> Exit:
        """As Process.wait."""
        await self._ended.wait()
        if self._exit is None:
            raise ProcessLost(f"{self._lost}, and the job with it")
        return self._exit

    def resize(self, size: TerminalSize) -> None:
        """As Process.resize."""
        self._output.resize(size)

    async def terminate(self, grace: float) -> None:
        """As Process.terminate."""
        if self.link and not self._gone.is_set():
            if grace > 0 and not self._terminating:
                self.link.term()
            self._terminating = True
            self._kill_after(grace)
            await self._gone.wait()

    async def close(self) -> None:
        """As Process.close."""
        try:
            await self.terminate(0)
        finally:  # though the caller does not wait for it, the tree is being killed
            self._output.close()

    def hear(self, word: bytes) -> bool:
        """Take a word of the shim; whether it is the last about this command."""
        match word.split():
            case [protocol.PID, number]:
                self.pid = int(number)
                if not self._launched.done():
                    self._launched.set_result(None)
            case [protocol.FAILED, *_]:
                self._fail(failure(word.partition(b" ")[2], self._command))
                self.over()
                return True
            case [protocol.EXIT, code, number, *gone]:
                self._exit = Exit(int(code), int(number) or None)
                self._ended.set()
                if gone:
                    self.over()
                    return True
                self._settle()
            case [protocol.LOST]:
                self._lost = SUPERVISOR_GONE
                self._ended.set()
            case [protocol.GONE]:
                self.over()
                return True
        return False

    def over(self) -> None:
        """No process of the tree is left."""
        self._fail(LaunchLost(SHIM_GONE))  # unless it was launched
        self._forget_kill()
        self._ended.set()
        self._gone.set()
        self._output.finish()

    def _fail(self, why: LaunchError) -> None:
        if not self._launched.done():
            self._launched.set_exception(why)

    def _settle(self) -> None:
        """The command has ended: the rest of its tree gets LINGER, or nothing if it is silent."""
        if self._ended.is_set() and not self._gone.is_set() and not self._terminating:
            self._kill_after(0 if self._output.over else LINGER)

    def _kill_after(self, seconds: float) -> None:
        """Kill the tree then, or earlier if that was the plan."""
        when = self._loop.time() + seconds
        if self._killed or (self._kill and when >= self._kill.when()):
            return
        self._forget_kill()
        if seconds > 0:
            self._kill = self._loop.call_at(when, self._kill_now)
        else:
            self._kill_now()

    def _kill_now(self) -> None:
        assert self.link
        self._killed = True
        self.link.kill()
        self._kill = self._loop.call_later(KILL_SECONDS_MAX, self.link.kill_shim)

    def _forget_kill(self) -> None:
        if self._kill is not None:
            self._kill.cancel()
            self._kill = None
