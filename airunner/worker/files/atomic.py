"""Files that are there whole, or not at all."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

_NEW: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_NO_LINKS: Final = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK)  # on this disk


@contextmanager
def atomic_write(folder: int, name: str, mode: int, *, replace: bool = True) -> Iterator[int]:
    """A descriptor to write a new file with, which gets its name in an open folder at the block's end.

    It has another name until then, and is closed before: some drives say only then that they have
    no room. What the block or closing raises leaves nothing behind. The umask takes its part of
    `mode`. Without `replace`, FileExistsError if something has the name.
    """
    temporary = f".partial-{os.urandom(4).hex()}"
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
    """Write all of it where the file is."""
    left = memoryview(data)
    while left:
        left = left[os.write(file, left) :]


def _publish(temporary: str, name: str, folder: int) -> None:
    """Give a file its own name, which nobody has. Raises FileExistsError."""
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
