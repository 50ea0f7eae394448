"""The logs of an attempt's steps, which people follow while they are written.

Rules

1. What has come while a piece was written is the next piece, and is written at once.
2. A file is closed after each piece: a network drive sends what was written when its file is
   closed, and keeps it until then.
3. No more than RESULTS_PENDING_BYTES_MAX wait in memory; then whoever writes waits.
4. What goes wrong ends the log of that step there, and no job. A drive that takes nothing for
   RESULTS_STALL_SECONDS_MAX ends all of them.
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
from airunner.worker.files.atomic import write_all
from airunner.worker.files.serial_thread import SerialThread

# A named pipe that somebody put there must not block us
_APPEND: Final = (
    os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
)

STALLED: Final = f"the folder took nothing for {RESULTS_STALL_SECONDS_MAX} s"


def log_name(index: int) -> str:
    """The file that has the log of a step."""
    return f"step_{index}.log"


class Logs:
    """The logs in one folder."""

    def __init__(self, thread: SerialThread) -> None:
        self._thread = thread
        self._folder = -1
        self._lock = Lock()  # over the next three, which both threads change
        self._pending: deque[tuple[int, bytes]] = deque()
        self._bytes = 0  # that are pending or being written
        self._busy = False  # an errand is on its way that writes whatever is pending
        self._room = asyncio.Event()
        self._begun: set[int] = set()
        self._failed: dict[int, str] = {}
        self._stalled = False

    def begin(self, folder: int) -> None:
        """Write into this folder, whose descriptor stays the caller's; from an errand."""
        self._folder = folder

    async def write(self, index: int, data: bytes) -> None:
        """As Results.write."""
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
        """Have a log for a step, though it said nothing; from an errand."""
        if index not in self._begun:
            self._append(index, b"")

    def has(self, index: int) -> bool:
        """Whether a step has a log; from an errand."""
        return index in self._begun

    def errors(self) -> tuple[str, ...]:
        """A sentence if a log is not whole; from an errand, or when that cannot be had."""
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
        """Whether nobody waits any more for what is written."""
        return self._stalled

    def give_up(self) -> None:
        """Write nothing any more."""
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
        """Write what is pending until nothing is."""
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
                    raise OSError(errno.EINVAL, "something that is no file has its name")
                write_all(file, data)
            finally:
                os.close(file)
        except OSError as error:
            self._failed[index] = error.strerror or str(error)
