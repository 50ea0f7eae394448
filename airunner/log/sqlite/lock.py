"""One server for each log: an flock on a file beside the log.

The kernel holds the lock and releases it when the process ends, however it ends. So no lock is stale
and none is ever removed by hand. The file stays: if it were removed, two servers could lock two files
of one name. It contains the pid of the holder, for the message to a server that is refused.

Rejected: SQLite's own locks (each lasts for a transaction, so two servers would take turns);
a pid file alone (another process may have the pid of a dead server).
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
    """The exclusive right to write to one log, until release()."""

    def __init__(self, path: Path) -> None:
        """Takes the lock of the log at `path`, in an existing folder.

        Raises LogInUse with the name of the holder, and OSError if the file of the lock cannot be opened.
        """
        self.path = path.with_name(f"{path.name}.lock")
        self._file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        if not try_lock(self._file):
            holder = holder_of(self._file)
            os.close(self._file)
            raise LogInUse(
                f"{path} is in use by {holder}: a log has one server; stop that server first, or use "
                "another file"
            )
        os.ftruncate(self._file, 0)
        os.pwrite(self._file, f"{os.getpid()}\n".encode(), 0)

    def release(self) -> None:
        """Releases the lock. A second call has no effect."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


def is_served(path: Path) -> bool:
    """True if a process holds the lock of the log at `path` now."""
    with suppress(FileNotFoundError):
        file = os.open(path.with_name(f"{path.name}.lock"), os.O_RDONLY | os.O_CLOEXEC)
        try:
            return not try_lock(file, shared=True)
        finally:
            os.close(file)
    return False


def holder_of(file: int) -> str:
    """The process whose pid is in the open file of a lock, in words."""
    pid = os.pread(file, _PID_BYTES_MAX, 0).decode(errors="replace").strip()
    return f"process {pid}" if pid.isdecimal() else "another process"
