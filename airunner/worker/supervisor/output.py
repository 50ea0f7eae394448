"""A command's output: the worker's ends of two pipes or of a pseudo-terminal, read on demand.

             the worker reads         the command gets
    pipe     two read ends            the two write ends; merged: one end of one pipe
    PTY      the master               the slave

Nothing is read ahead: a reader is armed only while a task waits in read(). A pipe ends when the
last process that holds a write end has closed it. A process can open its controlling terminal
again at any time, so a terminal does not end before the process tree does; until then the worker
keeps the slave open, and the master reports no end.

No person sits at the terminal, so its input has ended: a read() of it returns no byte at once, as
at the end of a file, as often as it is called. The line discipline does this without canonical mode
and with VMIN 0. Rejected: Ctrl-D from the master, because one byte ends one read only, and because a
program in raw mode reads the bytes and echoes them into the output; /dev/null as standard input,
because `stty`, `tty` and `test -t 0` would find no terminal. A program that sets another mode, such
as an editor or a shell with line editing, waits for a key as on any terminal.

Once the tree is gone, each stream ends at the first read that would block. So a stream ends even
if a process outside of the tree holds a descriptor of it.
"""

import asyncio
import contextlib
import errno
import fcntl
import os
import termios
from collections.abc import Callable
from typing import Final

from airunner.model.reports import Stream
from airunner.model.spec import TerminalSize
from airunner.worker.process import READ_BYTES_MAX

PIPE_BYTES: Final = 256 * 1024  # capacity of a pipe, after which its writer blocks, if allowed


class Output:
    """The open streams of one command, and the descriptors that its child gets."""

    def __init__(self, terminal: TerminalSize | None, *, merged: bool = False) -> None:
        """Opens the streams: one if they are `merged`, or if there is a terminal.

        Raises OSError if the system has no room; nothing is open then.
        """
        self.on_end: Callable[[], None] | None = None  # called once, when a read finds the end
        self._streams: dict[int, Stream] = {}  # in the order in which they are read
        self._child: list[int] = []
        self._slave = -1
        self._master = -1
        self._gone = False
        self._waiting: asyncio.Future[None] | None = None
        try:
            if terminal is None:
                self._open_pipes((Stream.STDOUT,) if merged else tuple(Stream))
            else:
                self._open_terminal(terminal)
        except OSError:
            self.close()
            self.close_child()
            raise

    def _open_pipes(self, streams: tuple[Stream, ...]) -> None:
        for stream in streams:
            reader, writer = os.pipe()
            self._streams[reader] = stream
            self._child.append(writer)
            os.set_blocking(reader, False)
            with contextlib.suppress(OSError):  # over the limit of all pipes of this user
                fcntl.fcntl(reader, fcntl.F_SETPIPE_SZ, PIPE_BYTES)

    def _open_terminal(self, size: TerminalSize) -> None:
        self._master, self._slave = os.openpty()
        self._streams[self._master] = Stream.STDOUT
        os.set_blocking(self._master, False)
        _end_input(self._slave)
        self.resize(size)

    @property
    def child(self) -> list[int]:
        """The child's descriptors: standard output and standard error, or one pipe or terminal."""
        return self._child or [self._slave]

    @property
    def at_end(self) -> bool:
        """Whether every stream has been read to its end."""
        return not self._streams

    def close_child(self) -> None:
        """Closes the worker's copies of the child's descriptors, once the child has them."""
        while self._child:
            os.close(self._child.pop())

    def resize(self, size: TerminalSize) -> None:
        """Sets the size of the terminal, if there is a terminal."""
        if self._master in self._streams:
            termios.tcsetwinsize(self._master, (size.rows, size.columns))

    async def read(self) -> tuple[Stream, bytes] | None:
        """The next bytes, from both streams in turn if both have bytes; None at the end."""
        await asyncio.sleep(0)  # a command that never pauses must not keep other tasks waiting
        while self._streams:
            for descriptor, stream in list(self._streams.items()):
                data = self._take(descriptor)
                if data:
                    self._streams[descriptor] = self._streams.pop(descriptor)
                    return stream, data
                if data is not None or self._gone:
                    self._end(descriptor)
            if self._streams:
                await self._readable()
        return None

    def _take(self, descriptor: int) -> bytes | None:
        """The bytes that are available; b"" at the end, None if there are none yet."""
        if descriptor != self._master:
            return _read(descriptor, READ_BYTES_MAX)
        blocks: list[bytes] = []
        room = READ_BYTES_MAX
        while room and (block := _read(descriptor, room)):  # a terminal gives 4 KiB at a time
            blocks.append(block)
            room -= len(block)
        return b"".join(blocks) or _read(descriptor, room)

    def _end(self, descriptor: int) -> None:
        del self._streams[descriptor]
        os.close(descriptor)
        if not self._streams and self.on_end:
            self.on_end()

    async def _readable(self) -> None:
        loop = asyncio.get_running_loop()
        assert self._waiting is None, "one task reads at a time"
        self._waiting = loop.create_future()
        armed = list(self._streams)
        for descriptor in armed:
            loop.add_reader(descriptor, self._wake)
        try:
            await self._waiting
        finally:
            self._waiting = None
            for descriptor in armed:
                if descriptor in self._streams:
                    loop.remove_reader(descriptor)

    def _wake(self) -> None:
        if self._waiting and not self._waiting.done():
            self._waiting.set_result(None)

    def finish(self) -> None:
        """Lets each stream end at the first read that would block: the process tree is gone."""
        self._gone = True
        if self._slave >= 0:
            os.close(self._slave)
            self._slave = -1
        self._wake()

    def close(self) -> None:
        """Closes all descriptors; a waiting read() returns None."""
        for descriptor in list(self._streams):
            if self._waiting:
                asyncio.get_running_loop().remove_reader(descriptor)
            del self._streams[descriptor]
            os.close(descriptor)
        self.finish()


def _end_input(terminal: int) -> None:
    """Lets each read() of a terminal return no byte at once, until a program sets another mode."""
    mode = termios.tcgetattr(terminal)
    mode[3] &= ~termios.ICANON
    mode[6][termios.VMIN] = mode[6][termios.VTIME] = 0
    termios.tcsetattr(terminal, termios.TCSANOW, mode)


def _read(descriptor: int, size: int) -> bytes | None:
    try:
        return os.read(descriptor, size)
    except BlockingIOError:
        return None
    except OSError as error:
        if error.errno == errno.EIO:  # no process has the terminal open
            return b""
        raise
