"""Lines of a log on standard error, whose reader may be slow, stopped or gone.

Rules

1. The event loop never waits for the reader. A line is written when poll() reports room, in pieces
   of at most PIPE_BUF bytes, which a pipe with room takes without blocking.
2. Lines that wait for room are kept in order, up to UNWRITTEN_BYTES_MAX. Later lines are dropped and
   counted, and a line with the count follows once there is room again.
3. A line that cannot be written at all, because the reader has closed its end or the disk is full, is
   dropped: a failing log ends no job and no server.
4. Each write wakes the reader, which then takes the processor: four lines took 0.3 of the 1.7 ms that
   a worker needs for a /bin/true job. So within an event loop, lines are gathered for
   GATHER_SECONDS. A warning or worse is written at once.

Rejected: O_NONBLOCK on the descriptor, since it would hold for every process that shares the pipe.
Two processes that write into one pipe may each see the last room; the later one then blocks.
"""

import asyncio
import atexit
import os
import select
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Final

from airunner.cli.render.streams import STDERR, before_notes
from airunner.model.limits import MIB

GATHER_SECONDS: Final = 0.01  # a line waits so long for further lines
RETRY_SECONDS: Final = 0.1  # between two looks for room
PATIENCE_SECONDS: Final = 1.0  # for room, outside an event loop and at the end of the process
UNWRITTEN_BYTES_MAX: Final = 1 * MIB  # log lines that wait for a slow reader


class StderrLines:
    """Writes lines to standard error without waiting for their reader."""

    def __init__(self) -> None:
        self.on_dropped: Callable[[int], None] = lambda count: None  # called with a number of lines
        self._gathered: list[str] = []
        self._gathering: asyncio.AbstractEventLoop | None = None  # that will write these lines
        self._lock = threading.Lock()  # of the members below
        self._unwritten: deque[bytes] = deque()
        self._unwritten_bytes = 0
        self._dropped = 0
        self._retrying: asyncio.AbstractEventLoop | None = None  # that will look for room again
        atexit.register(self._flush)
        before_notes(self._flush)

    def info(self, line: str) -> None:
        loop = _running_loop()
        if loop is None:  # in this thread; the loop's thread writes the gathered lines
            if self._gathering and self._gathering.is_closed():
                self._flush()
            self._write([line])
            return
        self._gathered.append(line)
        if self._gathering is not loop:
            self._gathering = loop
            loop.call_later(GATHER_SECONDS, self._flush)

    def warning(self, line: str) -> None:
        self._flush()
        self._write([line])

    error = critical = warning

    def _flush(self) -> None:
        lines, self._gathered, self._gathering = self._gathered, [], None
        self._write(lines)

    def _write(self, lines: Iterable[str]) -> None:
        loop = _running_loop()
        with self._lock:
            for piece in pipe_sized(lines):
                self._keep(f"{piece}\n".encode(errors="backslashreplace"))
        self._drain(0.0 if loop or self._retrying else PATIENCE_SECONDS)
        if not self._unwritten:
            with self._lock:
                dropped, self._dropped = self._dropped, 0
            if dropped:
                self.on_dropped(dropped)
        elif loop and self._retrying is not loop:
            self._retrying = loop
            loop.call_later(RETRY_SECONDS, self._retry)

    def _retry(self) -> None:
        self._retrying = None
        self._write(())

    def _keep(self, data: bytes) -> None:
        if self._unwritten and self._unwritten_bytes + len(data) > UNWRITTEN_BYTES_MAX:
            self._dropped += data.count(b"\n")
            return
        self._unwritten.extend(
            data[at : at + select.PIPE_BUF] for at in range(0, len(data), select.PIPE_BUF)
        )
        self._unwritten_bytes += len(data)

    def _drain(self, patience: float) -> None:
        """Writes what there is room for; `patience`: seconds to wait for room in all."""
        until = time.monotonic() + patience
        poll = select.poll()
        poll.register(STDERR, select.POLLOUT)
        while self._unwritten:
            with self._lock:
                self._write_with_room(poll)
            left = until - time.monotonic()
            if self._unwritten and (left <= 0 or not poll.poll(left * 1000)):
                return

    def _write_with_room(self, poll: select.poll) -> None:
        while self._unwritten and poll.poll(0):
            data = self._unwritten[0]
            try:
                written = os.write(STDERR, data)
            except BlockingIOError:  # another process has made the pipe non-blocking
                return
            except OSError:
                written = len(data)
            self._unwritten_bytes -= written
            if written == len(data):
                self._unwritten.popleft()
            else:
                self._unwritten[0] = data[written:]


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


def pipe_sized(lines: Iterable[str]) -> Iterator[str]:
    """Joins lines into pieces of at most PIPE_BUF bytes, which a shared pipe keeps together."""
    piece, size = list[str](), 0
    for line in lines:
        more = len(line.encode(errors="backslashreplace")) + 1
        if piece and size + more > select.PIPE_BUF:
            yield "\n".join(piece)
            piece, size = [], 0
        piece.append(line)
        size += more
    if piece:
        yield "\n".join(piece)
