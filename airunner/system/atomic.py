"""Atomic writes: a file gets its name once it is complete."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

_NEW: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_NO_LINKS: Final = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK)  # no hard links here


@contextmanager
def atomic_write(
    name: str, mode: int, *, folder: int | None = None, replace: bool = True
) -> Iterator[int]:
    """Writes a file and names it when the block ends; yields its descriptor.

    `name` is a path, or a name in the open `folder`. Until the block ends, the file has a temporary
    name in the same folder. It is closed before it is renamed, because some drives report a full
    disk only on close. An exception of the block or of the close leaves no file behind. The umask
    applies to `mode`. Without `replace`, an existing name raises FileExistsError. A block that must
    survive a power cut calls fsync itself.
    """
    temporary = os.path.join(os.path.dirname(name), f".partial-{os.urandom(4).hex()}")
    file = os.open(temporary, _NEW, mode, dir_fd=folder)
    try:
        try:
            yield file
        finally:
            os.close(file)
        if replace:
            os.rename(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
        else:
            _publish(temporary, name, folder)
    except BaseException:
        with suppress(OSError):
            os.unlink(temporary, dir_fd=folder)
        raise


def write_all(file: int, data: bytes | memoryview) -> None:
    """Writes all of the data at the file's offset, also after a short write."""
    left = memoryview(data)
    while left:
        left = left[os.write(file, left) :]


def _publish(temporary: str, name: str, folder: int | None) -> None:
    """Renames a file to a free name. Raises FileExistsError if the name is taken."""
    try:
        os.link(temporary, name, src_dir_fd=folder, dst_dir_fd=folder, follow_symlinks=False)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        with suppress(FileNotFoundError):
            os.stat(name, dir_fd=folder, follow_symlinks=False)
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST)) from None
        os.rename(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
    else:
        os.unlink(temporary, dir_fd=folder)
