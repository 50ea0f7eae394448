"""What a command says: what was asked for to standard output, the rest to standard error.

Bytes go out as they are, with nothing kept back in a buffer of ours. A reader
that goes away (`| head`) is not an error: StdoutClosed ends the command quietly.

A watching command must hear Ctrl-C while a slow reader keeps it waiting, so it
never writes before the reader has room: PIPE_BUF bytes at a time, which a
writable pipe takes without blocking. A file has no reader and takes all at once, in a quarter
of the time. Making the descriptor non-blocking instead would make it so for every process that
shares the terminal.
"""

import contextlib
import errno
import os
import select
import stat
import sys
from collections.abc import Callable
from typing import Final

from airunner.cli.exit_codes import CommandFailed

STDOUT: Final = 1
STDERR: Final = 2

_gathered: Final = list[Callable[[], None]]()  # each writes what waits for standard error


class StdoutClosed(Exception):
    """Nobody reads our standard output any more."""


def say(text: str) -> None:
    """A line of what was asked for."""
    write(STDOUT, f"{text}\n".encode(errors="surrogateescape"))


def note(text: str) -> None:
    """A line about what is going on; lost without regret if nobody listens."""
    _flush_gathered()
    with contextlib.suppress(OSError):
        write(STDERR, f"airunner: {text}\n".encode(errors="replace"))


def _flush_gathered() -> None:
    for each in _gathered:
        each()


def before_notes(flush: Callable[[], None]) -> None:
    """Have this called before each note, which is then behind what was said before it, and at the end."""
    _gathered.append(flush)


def write(descriptor: int, data: bytes) -> None:
    """All of the data, waiting as long as it takes."""
    view = memoryview(data)
    try:
        while view:
            try:
                view = view[os.write(descriptor, view) :]
            except BlockingIOError:
                select.select([], [descriptor], [])
    except OSError as error:
        raise _closed(descriptor, error) from None


async def send(descriptor: int, data: bytes) -> None:
    """All of the data, while the event loop goes on."""
    view, piece = memoryview(data), select.PIPE_BUF
    poll = select.poll()
    poll.register(descriptor, select.POLLOUT)
    try:
        if len(data) > piece and stat.S_ISREG(os.fstat(descriptor).st_mode):
            piece = len(data)
        while view:
            if not poll.poll(0):
                await _room(descriptor)
                continue
            try:
                view = view[os.write(descriptor, view[:piece]) :]
            except BlockingIOError:
                await _room(descriptor)
    except OSError as error:
        raise _closed(descriptor, error) from None


async def _room(descriptor: int) -> None:
    import asyncio

    loop = asyncio.get_running_loop()
    writable = asyncio.Event()
    loop.add_writer(descriptor, writable.set)
    try:
        await writable.wait()
    finally:
        loop.remove_writer(descriptor)


def _closed(descriptor: int, error: OSError) -> Exception:
    if descriptor != STDOUT:
        return error
    if error.errno in (errno.EPIPE, errno.EBADF, errno.EIO):
        return StdoutClosed()
    return CommandFailed(f"cannot write to standard output: {error.strerror}")


def colourful(descriptor: int, no_colour: str | None) -> bool:
    """Whether colours may go there; `no_colour` is the NO_COLOR variable."""
    return not no_colour and os.isatty(descriptor)


def terminal_size(descriptor: int) -> os.terminal_size | None:
    """Columns and lines of the terminal there; None if there is none, or it does not say."""
    try:
        size = os.get_terminal_size(descriptor)
    except OSError:
        return None
    return size if size.columns > 0 and size.lines > 0 else None


def printable(text: str) -> str:
    """The text without what a terminal would obey: control characters are shown as escapes."""
    return "".join(
        each if each.isprintable() else each.encode("unicode_escape").decode() for each in text
    )


def open_missing() -> None:
    """Give a process that was started without standard streams ones that lead nowhere.

    Else the first file that it opens would be its standard output.
    """
    while (nowhere := os.open(os.devnull, os.O_RDWR)) <= STDERR:
        os.set_inheritable(nowhere, True)
    os.close(nowhere)
    sys.stdin = sys.stdin or os.fdopen(0)
    sys.stdout = sys.stdout or os.fdopen(STDOUT, "w")
    sys.stderr = sys.stderr or os.fdopen(STDERR, "w")


def flush() -> None:
    """Write what waits to be written, at the end; a reader that is gone does not matter any more."""
    _flush_gathered()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError):
            stream.flush()
