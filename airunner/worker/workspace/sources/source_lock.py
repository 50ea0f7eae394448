"""A job's claim to its source: one job at a time reads a source and leaves its results there.

    SOURCE/.airunner-lock       locked by the worker whose job has the source; says which that is

Rules

1. What counts is the lock (flock), which ends with its process, however that ends. A file that nobody
   has locked belongs to nobody; whoever locks it makes sure that the name still means it.
2. The name only ever gets a file that is locked and written already, by renaming: nobody reads half
   a claim, and nothing is written to a file that somebody else has put there.
3. A later attempt of the same job does not wait for an earlier one, whose worker may be frozen or
   out of touch, and whose lease is over: it takes the name over. The earlier one finds that the name
   is not its own any more, and leaves it.
4. A file, because network drives lock files and not folders.
"""

import errno
import fcntl
import os
import re
import stat
from contextlib import suppress
from typing import Final

from airunner.worker.workspace.sources.source_names import LOCK
from airunner.worker.workspace.workspace import SetupFailed

_TRIALS_MAX: Final = 100  # each is another who was quicker
_TEXT: Final = re.compile(r"([A-Za-z0-9_.-]{1,64}) (\d{1,9})\n")
_TEXT_BYTES_MAX: Final = 128
_OPEN: Final = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_MAKE: Final = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_LOCKED: Final = (errno.EAGAIN, errno.EACCES)  # by somebody else


class SourceLock:
    """The right to one source."""

    def __init__(self, source: int, job: str, attempt: int) -> None:
        """Take it. `source` is an open folder, and stays so for as long as this is held.

        Raises SetupFailed if another job has it, and OSError if there can be no lock.
        """
        self._source = source
        self._job, self._attempt = job, attempt
        self._file = self._take()

    def release(self) -> None:
        """Give it up, and remove the file unless somebody has taken over. Raises no OSError."""
        with suppress(OSError):
            if self._named(self._file):
                os.unlink(LOCK, dir_fd=self._source)
        os.close(self._file)

    def _take(self) -> int:
        for _ in range(_TRIALS_MAX):
            there = os.open(LOCK, _OPEN, 0o644, dir_fd=self._source)
            try:
                if self._may_replace(there):
                    mine = self._replace()
                    if self._named(mine):
                        return mine
                    os.close(mine)
            finally:
                os.close(there)
        raise SetupFailed("the source is busy: too many jobs ask for it at once")

    def _may_replace(self, there: int) -> bool:
        """Whether the file that has the name may be replaced; then it has it still, and is locked."""
        if not stat.S_ISREG(os.fstat(there).st_mode):
            raise OSError(errno.EINVAL, "it is no regular file")
        try:
            fcntl.flock(there, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in _LOCKED:
                raise
            said = _TEXT.fullmatch(os.pread(there, _TEXT_BYTES_MAX, 0).decode(errors="replace"))
            job, attempt = (said[1], int(said[2])) if said else ("another job", 0)
            if job != self._job or attempt >= self._attempt:
                name = f"job {job}" if said else job
                raise SetupFailed(f"the source is busy with {name}: try again later") from None
        return self._named(there)

    def _replace(self) -> int:
        """Put a new file in the place of the one that has the name."""
        name = f"{LOCK}-{os.urandom(4).hex()}"
        mine = os.open(name, _MAKE, 0o644, dir_fd=self._source)
        try:
            fcntl.flock(mine, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.write(mine, f"{self._job} {self._attempt}\n".encode())
            os.rename(name, LOCK, src_dir_fd=self._source, dst_dir_fd=self._source)
        except BaseException:
            with suppress(OSError):
                os.unlink(name, dir_fd=self._source)
            os.close(mine)
            raise
        return mine

    def _named(self, file: int) -> bool:
        """Whether the name means this file."""
        try:
            named = os.stat(LOCK, dir_fd=self._source, follow_symlinks=False)
        except FileNotFoundError:
            return False
        return os.path.samestat(named, os.fstat(file))
