"""A way down into a folder, name by name, that cannot be led astray.

Each folder is opened from the one above it, by a descriptor and never through a link: whatever is
swapped meanwhile, the way stays below its top. It goes as deep as folders do and holds few
descriptors: the highest are closed, and opened again from below, where they must be the same.
"""

import errno
import os
from contextlib import suppress
from types import TracebackType
from typing import Final, Self

FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_OPEN_MAX: Final = 32  # folders above the one that we are in


class Descent:
    """Where we are below a folder; a context that closes what is open."""

    def __init__(self, top: int) -> None:
        """`top` is a descriptor of the folder, which stays the caller's."""
        self._open = [os.dup(top)]  # the lowest folders of the way
        self._closed: list[tuple[int, int]] = []  # device and inode of those above them

    @property
    def here(self) -> int:
        """A descriptor of the folder that we are in; good until the next move."""
        return self._open[-1]

    @property
    def depth(self) -> int:
        """How many folders we are below the top."""
        return len(self._closed) + len(self._open) - 1

    def down(self, name: str) -> None:
        """Go into a folder of this one. Raises OSError: ELOOP or ENOTDIR if it is a link."""
        below = os.open(name, FOLDER, dir_fd=self.here)
        if len(self._open) > _OPEN_MAX:
            highest = self._open.pop(0)
            try:
                self._closed.append(_identity(highest))
            finally:
                os.close(highest)
        self._open.append(below)

    def follow(self, path: str, *, make: bool = False) -> None:
        """Go down a whole path, whose names have / between them; "" stays here. Raises OSError.

        `make` those of its folders that are not there.
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
        """Go back to the folder above. Raises OSError (ESTALE) if we were moved meanwhile."""
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
