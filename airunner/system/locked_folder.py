"""One locked folder for each living worker below a work root, and the folders of dead workers.

A worker that is killed removes nothing. So each worker has its own folder and holds a lock on it
(lock.py). A folder without a lock is abandoned: the next worker that starts below the same root
removes it.

Rejected: process ids in names. The kernel reuses them, and they mean nothing in another
container that shares the disk.
"""

import os
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Final

from airunner.system.lock import is_named, try_lock

PREFIX: Final = "worker-"  # names of removable folders; all other names below the root are kept


class LockedFolder:
    """One worker's folder, and the locks that the worker holds below the root."""

    def __init__(self, root: Path, prefix: str = PREFIX) -> None:
        """`prefix` begins the names of the folders of one purpose; other folders are not touched."""
        self._root = root
        self._prefix = prefix
        self._folder: Path | None = None
        self._locks: list[int] = []

    def folder(self) -> Path:
        """This worker's folder, created and locked by the first call. Raises OSError."""
        if self._folder is None:
            self._root.mkdir(mode=0o700, parents=True, exist_ok=True)
            while self._folder is None:
                made = Path(tempfile.mkdtemp(prefix=self._prefix, dir=self._root)).resolve()
                if self._lock(made):  # else another worker took it for abandoned, and removes it
                    self._folder = made
        return self._folder

    def abandoned(self) -> list[Path]:
        """Locks and returns the folders of dead workers; close() releases the locks."""
        try:
            found = sorted(self._root.glob(f"{self._prefix}*"))
        except OSError:
            return []
        return [each for each in found if each != self._folder and self._lock(each)]

    def close(self) -> None:
        """Releases all locks, and removes this worker's folder if it is empty."""
        if self._folder is not None:
            with suppress(OSError):
                self._folder.rmdir()
            self._folder = None
        while self._locks:
            os.close(self._locks.pop())

    def _lock(self, folder: Path) -> bool:
        """Locks a folder. Returns False if it is gone or another process holds its lock."""
        try:
            descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        except OSError:
            return False
        try:
            locked = try_lock(descriptor) and is_named(str(folder), descriptor)
        except OSError:
            locked = False
        if locked:
            self._locks.append(descriptor)
        else:
            os.close(descriptor)
        return locked
