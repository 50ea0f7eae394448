"""A walk down into a folder by descriptors, which symbolic links cannot lead out of it.

Each folder is opened from its parent's descriptor and never through a link, so the walk stays
below its top even if another process swaps folders for links meanwhile. The depth is unlimited,
and the number of open descriptors is not: the highest folders are closed, opened again through
".." on the way up, and compared by device and inode.
"""

import errno
import os
from contextlib import suppress
from types import TracebackType
from typing import Final, Self

FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_OPEN_MAX: Final = 32  # open folders above the current folder


class Descent:
    """The current folder of a walk below a top folder; a context that closes its descriptors."""

    def __init__(self, top: int) -> None:
        """`top` is a descriptor of the top folder; the caller closes it."""
        self._open = [os.dup(top)]  # the lowest folders of the path
        self._closed: list[tuple[int, int]] = []  # device and inode of the folders above these

    @property
    def here(self) -> int:
        """A descriptor of the current folder; valid until the next move."""
        return self._open[-1]

    @property
    def depth(self) -> int:
        """The number of folders from the top to the current folder."""
        return len(self._closed) + len(self._open) - 1

    def down(self, name: str) -> None:
        """Enters a subfolder. Raises OSError: ELOOP or ENOTDIR if the name is a link."""
        below = os.open(name, FOLDER, dir_fd=self.here)
        if len(self._open) > _OPEN_MAX:
            highest = self._open.pop(0)
            try:
                self._closed.append(_identity(highest))
            finally:
                os.close(highest)
        self._open.append(below)

    def follow(self, path: str, *, make: bool = False) -> None:
        """Enters each folder of a path with / between its names; "" is the current folder.

        `make` creates the missing folders. Raises OSError.
        """
        for name in path.split("/") if path else ():
            try:
                self.down(name)
            except FileNotFoundError:
                if not make:
                    raise
                with suppress(FileExistsError):
                    os.mkdir(name, dir_fd=self.here)
                self.down(name)

    def up(self) -> None:
        """Returns to the parent. Raises OSError (ESTALE) if the folder was moved meanwhile."""
        assert self.depth
        if len(self._open) == 1:
            above = os.open("..", FOLDER, dir_fd=self.here)
            if _identity(above) != self._closed.pop():
                os.close(above)
                raise OSError(errno.ESTALE, "the folder was moved while it was read")
            self._open.insert(0, above)
        os.close(self._open.pop())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        while self._open:
            os.close(self._open.pop())


def _identity(folder: int) -> tuple[int, int]:
    state = os.fstat(folder)
    return state.st_dev, state.st_ino
