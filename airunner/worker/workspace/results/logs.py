"""The log files of an attempt's steps in its results folder, readable while the steps run.

Rules

1. The bytes that arrive during a write are the next write, which follows at once.
2. A file is closed after each write, because a network drive sends the written bytes when the file
   is closed, and buffers them until then.
3. At most RESULTS_PENDING_BYTES_MAX wait in memory; beyond that, write() waits.
4. A failed write ends the log of its step, and no job. A drive that accepts no bytes for
   RESULTS_STALL_SECONDS_MAX ends all logs of the attempt.
"""

import asyncio
import errno
import os
import stat
from collections import deque
from contextlib import suppress
from functools import partial
from itertools import groupby
from operator import itemgetter
from threading import Lock
from typing import Final

from airunner.model.limits import RESULTS_PENDING_BYTES_MAX, RESULTS_STALL_SECONDS_MAX
from airunner.system.atomic import write_all
from airunner.system.serial_thread import SerialThread

# O_NONBLOCK: a named pipe in the place of the log must not block the thread
_APPEND: Final = (
    os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
)

STALLED: Final = f"the folder accepted no bytes for {RESULTS_STALL_SECONDS_MAX} s"


def log_name(index: int) -> str:
    """The file name of a step's log."""
    return f"step_{index}.log"


class Logs:
    """The step logs in one results folder."""

    def __init__(self, thread: SerialThread) -> None:
        self._thread = thread
        self._folder = -1
        self._lock = Lock()  # guards _pending, _bytes and _busy, which two threads change
        self._pending: deque[tuple[int, bytes]] = deque()
        self._bytes = 0  # pending bytes, and the bytes of the current write
        self._busy = False  # True: a call in the serial thread writes the pending bytes
        self._room = asyncio.Event()
        self._begun: set[int] = set()  # indexes of the steps whose log exists
        self._failed: dict[int, str] = {}  # the error of each failed log
        self._stalled = False

    def begin(self, folder: int) -> None:
        """Sets the folder's descriptor, which the caller closes. Runs in the serial thread."""
        self._folder = folder

    async def write(self, index: int, data: bytes) -> None:
        """Queues bytes for the log of a step; see Results.write."""
        if self._stalled:
            return
        with self._lock:
            self._pending.append((index, data))
            self._bytes += len(data)
            busy, self._busy = self._busy, True
        if not busy:
            self._thread.submit(partial(self._drain, asyncio.get_running_loop()))
        if self._bytes > RESULTS_PENDING_BYTES_MAX:
            await self._wait_for_room()

    def ensure(self, index: int) -> None:
        """Creates the log of a step without output. Runs in the serial thread."""
        if index not in self._begun:
            self._append(index, b"")

    def has(self, index: int) -> bool:
        """Whether a step has a log. Runs in the serial thread."""
        return index in self._begun

    def errors(self) -> tuple[str, ...]:
        """A sentence if a log is incomplete.

        Runs in the serial thread, or in the caller's thread after give_up().
        """
        if self._stalled:
            return (f"the logs in results end early: {STALLED}",)
        if not self._failed:
            return ()
        index, why = next(iter(self._failed.items()))
        others = len(self._failed) - 1
        more = f", and so do {others} more" if others else ""
        return (f"{log_name(index)} in results ends early: {why}{more}",)

    @property
    def given_up(self) -> bool:
        """Whether the logs are given up because the drive stalled."""
        return self._stalled

    def give_up(self) -> None:
        """Drops the pending bytes, and ignores all later writes."""
        self._stalled = True
        with self._lock:
            self._pending.clear()

    async def _wait_for_room(self) -> None:
        try:
            async with asyncio.timeout(RESULTS_STALL_SECONDS_MAX):
                while self._bytes > RESULTS_PENDING_BYTES_MAX:
                    self._room.clear()
                    await self._room.wait()
        except TimeoutError:
            self.give_up()

    def _drain(self, loop: asyncio.AbstractEventLoop) -> None:
        """Writes batches of pending bytes until no byte is pending."""
        while True:
            with self._lock:
                batch = list(self._pending)
                self._pending.clear()
                if not batch:
                    self._busy = False
                    return
            for index, pieces in groupby(batch, key=itemgetter(0)):
                self._append(index, b"".join(data for _, data in pieces))
            with self._lock:
                full = self._bytes > RESULTS_PENDING_BYTES_MAX
                self._bytes -= sum(len(data) for _, data in batch)
            if full:
                with suppress(RuntimeError):  # the loop is closed
                    loop.call_soon_threadsafe(self._room.set)

    def _append(self, index: int, data: bytes) -> None:
        if index in self._failed or self._stalled:
            return
        try:
            file = os.open(log_name(index), _APPEND, 0o666, dir_fd=self._folder)
            self._begun.add(index)
            try:
                if not stat.S_ISREG(os.fstat(file).st_mode):
                    raise OSError(errno.EINVAL, "its name belongs to no regular file")
                write_all(file, data)
            finally:
                os.close(file)
        except OSError as error:
            self._failed[index] = error.strerror or str(error)
