"""The lock of a source: one job at a time uses a source and writes its results there.

    SOURCE/.airunner-lock       locked by the worker of the running job; holds job id and attempt

Rules

1. The lock (flock) counts, not the file. The kernel releases it when the process ends, also by
   SIGKILL. A file without a lock is stale. After locking a file, a worker checks that the name
   still refers to it.
2. The name is only given to a file that is already locked and written, by a rename. So no reader
   sees a partial file, and no worker writes to a file that another process created.
3. A later attempt of the same job does not wait for an earlier attempt, whose worker may be frozen
   or disconnected, and whose lease is over: it renames its own file over the name. The earlier
   attempt finds that the name refers to another file, and leaves it.
4. The lock is on a file, because network drives lock files and not folders.
"""

import errno
import os
import re
import stat
from contextlib import suppress
from typing import Final

from airunner.system.lock import is_named, try_lock
from airunner.worker.workspace.sources.source_names import LOCK
from airunner.worker.workspace.workspace import SetupFailed

_TRIES_MAX: Final = 100  # each failed try lost a race against another worker
_TEXT: Final = re.compile(r"([A-Za-z0-9_.-]{1,64}) (\d{1,9})\n")
_TEXT_BYTES_MAX: Final = 128
_OPEN: Final = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_MAKE: Final = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class SourceLock:
    """The lock of one source, held by one attempt."""

    def __init__(self, source: int, job: str, attempt: int) -> None:
        """Takes the lock. `source` is a descriptor of the folder, open until release().

        Raises SetupFailed if another job holds the lock, and OSError if the folder cannot be locked.
        """
        self._source = source
        self._job, self._attempt = job, attempt
        self._file = self._take()

    def release(self) -> None:
        """Releases the lock, and removes the file unless a later attempt has replaced it.

        Ignores errors of the drive.
        """
        with suppress(OSError):
            if is_named(LOCK, self._file, folder=self._source):
                os.unlink(LOCK, dir_fd=self._source)
        os.close(self._file)

    def _take(self) -> int:
        for _ in range(_TRIES_MAX):
            current = os.open(LOCK, _OPEN, 0o644, dir_fd=self._source)
            try:
                if self._may_replace(current):
                    locked = self._replace()
                    if is_named(LOCK, locked, folder=self._source):
                        return locked
                    os.close(locked)
            finally:
                os.close(current)
        raise SetupFailed("the source is busy: too many jobs ask for it at once")

    def _may_replace(self, current: int) -> bool:
        """Whether the name's file may be replaced: it is stale, or of an earlier attempt.

        Raises SetupFailed if another job holds its lock. False if the file has lost the name.
        """
        if not stat.S_ISREG(os.fstat(current).st_mode):
            raise OSError(errno.EINVAL, "it is no regular file")
        if not try_lock(current):
            text = os.pread(current, _TEXT_BYTES_MAX, 0).decode(errors="replace")
            holder = _TEXT.fullmatch(text)
            job, attempt = (holder[1], int(holder[2])) if holder else ("another job", 0)
            if job != self._job or attempt >= self._attempt:
                name = f"job {job}" if holder else job
                raise SetupFailed(f"the source is busy with {name}: try again later")
        return is_named(LOCK, current, folder=self._source)

    def _replace(self) -> int:
        """Renames a new locked file over the name, and returns its descriptor."""
        name = f"{LOCK}-{os.urandom(4).hex()}"
        new = os.open(name, _MAKE, 0o644, dir_fd=self._source)
        try:
            locked = try_lock(new)
            assert locked, "no other process knows the name of the file"
            os.write(new, f"{self._job} {self._attempt}\n".encode())
            os.rename(name, LOCK, src_dir_fd=self._source, dst_dir_fd=self._source)
        except BaseException:
            with suppress(OSError):
                os.unlink(name, dir_fd=self._source)
            os.close(new)
            raise
        return new
