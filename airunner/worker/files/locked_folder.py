"""One folder for each living worker below a work root, and what dead ones have left there.

A worker that is killed removes nothing. So each has a folder of its own, and a lock on it that
the kernel gives up with the process, however that ends. A folder that nobody has locked
belongs to nobody: the next worker that starts below the same root removes it.

Rejected: process ids in names. They are given out again, and mean nothing in another
container that shares the disk.
"""

import fcntl
import os
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Final

PREFIX: Final = "worker-"  # of folders that may be removed; nothing else below the root is touched


class LockedFolder:
    """One worker's folder."""

    def __init__(self, root: Path, prefix: str = PREFIX) -> None:
        """`prefix` begins the names of folders of one purpose; others are not touched."""
        self._root = root
        self._prefix = prefix
        self._folder: Path | None = None
        self._locks: list[int] = []

    def folder(self) -> Path:
        """This worker's folder, made and locked when it is first asked for. Raises OSError."""
        if self._folder is None:
            self._root.mkdir(mode=0o700, parents=True, exist_ok=True)
            while self._folder is None:
                made = Path(tempfile.mkdtemp(prefix=self._prefix, dir=self._root)).resolve()
                if self._lock(made):  # else somebody took it for a dead one's, and removes it
                    self._folder = made
        return self._folder

    def abandoned(self) -> list[Path]:
        """The folders of dead workers, which are locked now until this is closed."""
        try:
            found = sorted(self._root.glob(f"{self._prefix}*"))
        except OSError:
            return []
        return [each for each in found if each != self._folder and self._lock(each)]

    def close(self) -> None:
        """Give up the folder, and remove it if nothing is kept in it."""
        if self._folder is not None:
            with suppress(OSError):
                self._folder.rmdir()
            self._folder = None
        while self._locks:
            os.close(self._locks.pop())

    def _lock(self, folder: Path) -> bool:
        """Whether the folder is there and nobody else has it; then it is ours."""
        try:
            descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        except OSError:
            return False
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            there = os.path.samestat(os.stat(folder), os.fstat(descriptor))
        except OSError:
            there = False
        if there:
            self._locks.append(descriptor)
        else:
            os.close(descriptor)
        return there
