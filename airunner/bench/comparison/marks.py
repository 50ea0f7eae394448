"""The named pipe in which jobs leave marks: the times of day of their runs."""

import asyncio
import fcntl
import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

LOOK_SECONDS: Final = 0.005  # long, to leave the processor to the measured queue: marks have times
PIPE_BYTES: Final = 1024 * 1024
PATIENCE_SECONDS: Final = 60.0
_READ_BYTES: Final = 1024 * 1024


class Marks:
    """A named pipe with a line for each job: the time of day in seconds."""

    def __init__(self, path: Path) -> None:
        os.mkfifo(path, 0o600)
        self.path = path
        # Open for reading and writing: no open() blocks, and no read sees the end of the file.
        self._file = os.open(path, os.O_RDWR | os.O_NONBLOCK)
        fcntl.fcntl(self._file, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        self._rest = b""

    def close(self) -> None:
        os.close(self._file)

    async def read(self, count: int, alive: Callable[[], None] = lambda: None) -> list[float]:
        """Waits for the marks of `count` jobs; returns their times in order.

        Raises TimeoutError after a minute without a mark. `alive` raises if the worker has ended.
        """
        times = list[float]()
        deadline = asyncio.get_running_loop().time() + PATIENCE_SECONDS
        while len(times) < count:
            if more := self._read():
                times += more
                deadline = asyncio.get_running_loop().time() + PATIENCE_SECONDS
                continue
            alive()
            if asyncio.get_running_loop().time() > deadline:
                raise TimeoutError(f"{len(times)} of {count} jobs ran")
            await asyncio.sleep(LOOK_SECONDS)
        assert len(times) == count, f"{len(times)} jobs ran where {count} were to"
        return sorted(times)

    def _read(self) -> list[float]:
        try:
            text = self._rest + os.read(self._file, _READ_BYTES)
        except BlockingIOError:
            return []
        *lines, self._rest = text.split(b"\n")
        return [float(line) for line in lines]
