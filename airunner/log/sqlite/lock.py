"""One server to a log: an flock on a file beside it.

The lock ends with the process that holds it, however that ends, because the kernel keeps it; so
there is no stale lock, and nobody ever has to remove one. The file stays: to remove it
would let two servers lock two files of one name. It says who holds it, for whoever is refused.

What was rejected: SQLite's own locks (they are for a transaction, and two servers would take
turns); a pid file alone (the pid of a dead server may be another process's by now).
"""

import os
from contextlib import suppress
from pathlib import Path
from typing import Final

from airunner.log.log import LogRefused
from airunner.system.lock import try_lock

_PID_BYTES_MAX: Final = 32


class LogInUse(LogRefused):
    """Another process serves this log."""


class FileLock:
    """The right to write to one log, for as long as this object is not released."""

    def __init__(self, path: Path) -> None:
        """Take the lock of the log at `path`; its folder exists.

        Raises LogInUse, which names the process that has it; OSError if the lock's file cannot
        be opened.
        """
        self.path = path.with_name(f"{path.name}.lock")
        self._file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        if not try_lock(self._file):
            holder = holder_of(self._file)
            os.close(self._file)
            raise LogInUse(
                f"{path} is in use by {holder}: a log has one server; stop that one first, or give "
                "this one a file of its own"
            )
        os.ftruncate(self._file, 0)
        os.pwrite(self._file, f"{os.getpid()}\n".encode(), 0)

    def release(self) -> None:
        """Let the next server have it; once is enough."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


def is_served(path: Path) -> bool:
    """Whether a process holds the lock of the log at `path` now."""
    with suppress(FileNotFoundError):
        file = os.open(path.with_name(f"{path.name}.lock"), os.O_RDONLY | os.O_CLOEXEC)
        try:
            return not try_lock(file, shared=True)
        finally:
            os.close(file)
    return False


def holder_of(file: int) -> str:
    """Who has written their pid into a lock's open file."""
    said = os.pread(file, _PID_BYTES_MAX, 0).decode(errors="replace").strip()
    return f"process {said}" if said.isdecimal() else "another process"
