"""Standard output, for results, and standard error, for notes.

Bytes are written unchanged and without a buffer; say() and note() escape their text first. A reader
that closes its end (`| head`) is not an error: StdoutClosed ends the command silently.

A watching command must react to Ctrl-C while a slow reader blocks the pipe. So it writes only when
poll() reports room, at most PIPE_BUF bytes at a time, which a writable pipe takes without blocking.
A regular file takes all data at once, in a quarter of the time. Rejected: O_NONBLOCK on the
descriptor, since it would hold for every process that shares the terminal.
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
from airunner.cli.render.terminal_text import printable
from airunner.system.bounded_text import bounded_text

STDOUT: Final = 1
STDERR: Final = 2
NOTE_CHARS_MAX: Final = 4096  # characters of a note; the middle of a longer note is cut

_before_note: Final = list[Callable[[], None]]()  # each writes pending lines to standard error


class StdoutClosed(Exception):
    """The reader of standard output has closed its end."""


def say(text: str) -> None:
    """Writes a line of the command's result to standard output."""
    write(STDOUT, f"{printable(text)}\n".encode())


def note(text: str) -> None:
    """Writes a line for a person to standard error; dropped if standard error is closed.

    A text longer than NOTE_CHARS_MAX is cut in its middle: it quotes a word of the command line or of
    a file, and the cause and the remedy stand at its ends.
    """
    if len(text) > NOTE_CHARS_MAX:
        text = bounded_text(text, NOTE_CHARS_MAX)
    _call_before_note()
    with contextlib.suppress(OSError):
        write(STDERR, f"airunner: {printable(text)}\n".encode())


def _call_before_note() -> None:
    for each in _before_note:
        each()


def before_notes(flush: Callable[[], None]) -> None:
    """Registers a function that writes pending lines: called before each note, and at the end."""
    _before_note.append(flush)


def write(descriptor: int, data: bytes) -> None:
    """Writes all of the data, and blocks until it is written."""
    view = memoryview(data)
    try:
        while view:
            try:
                view = view[os.write(descriptor, view) :]
            except BlockingIOError:
                select.select([], [descriptor], [])
    except OSError as error:
        raise _write_error(descriptor, error) from None


async def send(descriptor: int, data: bytes) -> None:
    """Writes all of the data without blocking the event loop."""
    view, piece = memoryview(data), select.PIPE_BUF
    poll = select.poll()
    poll.register(descriptor, select.POLLOUT)
    try:
        if len(data) > piece and stat.S_ISREG(os.fstat(descriptor).st_mode):
            piece = len(data)
        while view:
            if not poll.poll(0):
                await _wait_for_room(descriptor)
                continue
            try:
                view = view[os.write(descriptor, view[:piece]) :]
            except BlockingIOError:
                await _wait_for_room(descriptor)
    except OSError as error:
        raise _write_error(descriptor, error) from None


async def _wait_for_room(descriptor: int) -> None:
    import asyncio

    loop = asyncio.get_running_loop()
    writable = asyncio.Event()
    loop.add_writer(descriptor, writable.set)
    try:
        await writable.wait()
    finally:
        loop.remove_writer(descriptor)


def _write_error(descriptor: int, error: OSError) -> Exception:
    if descriptor != STDOUT:
        return error
    if error.errno in (errno.EPIPE, errno.EBADF, errno.EIO):
        return StdoutClosed()
    return CommandFailed(f"cannot write to standard output: {error.strerror}")


def colourful(descriptor: int, no_colour: str | None) -> bool:
    """Whether to print colours to a descriptor. `no_colour`: the NO_COLOR variable."""
    return not no_colour and os.isatty(descriptor)


def terminal_size(descriptor: int) -> os.terminal_size | None:
    """Columns and lines of a descriptor's terminal; None if it has no terminal or no known size."""
    try:
        size = os.get_terminal_size(descriptor)
    except OSError:
        return None
    return size if size.columns > 0 and size.lines > 0 else None


def open_missing() -> None:
    """Opens /dev/null for each standard stream that the process was started without.

    Otherwise the first file that the process opens would become its standard output.
    """
    while (nowhere := os.open(os.devnull, os.O_RDWR)) <= STDERR:
        os.set_inheritable(nowhere, True)
    os.close(nowhere)
    sys.stdin = sys.stdin or os.fdopen(0)
    sys.stdout = sys.stdout or os.fdopen(STDOUT, "w")
    sys.stderr = sys.stderr or os.fdopen(STDERR, "w")


def flush() -> None:
    """Writes pending output at the end of the process; errors are ignored."""
    _call_before_note()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError):
            stream.flush()
