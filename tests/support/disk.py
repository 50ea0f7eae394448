"""A disk of the server's own: an ext4 file system that loses its power, dies, fails or fills up.

    tmpfs "medium"     holds the image, a sparse file: new blocks need room on the tmpfs
    ext4 "disk"        the image on a loop device: holds the log and the artifacts of the server

The kernel does the harm. FS_IOC_SHUTDOWN cuts the file system off from its image: all later
reads and writes fail, and without a flush of the journal the image has exactly the data that was
synchronized or happened to be written. A medium without room fails each write of a new block, which
the writer learns from fsync() alone. All of this needs the right to mount and a loop device;
device-mapper targets (dm-error, dm-flakey) need a kernel module that few machines have.
"""

import ctypes
import errno
import fcntl
import os
import struct
import subprocess
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Final

from airunner.model.limits import MIB

SIZE: Final = 1024 * MIB
JOURNAL_MIB: Final = 8
_SHUTDOWN: Final = 0x8004587D  # FS_IOC_SHUTDOWN of ext4 and XFS
_FLUSH_JOURNAL, _NO_FLUSH = 1, 2
_CLONE_NEWNS: Final = 0x00020000


class Disk:
    """An ext4 file system at `path`; `close()` removes it."""

    def __init__(self, folder: Path) -> None:
        """Makes and mounts the disk in a folder. Raises CalledProcessError where that is forbidden."""
        self.path = folder / "disk"
        self._medium = folder / "medium"
        self._image = self._medium / "image"
        self._filler = self.path / "filler"
        self.path.mkdir(parents=True)
        self._medium.mkdir()
        _do("mount", "-t", "tmpfs", "-o", f"size={2 * SIZE}", "tmpfs", str(self._medium))
        try:
            with self._image.open("wb") as image:
                image.truncate(SIZE)
            options = (
                f"lazy_itable_init=0,lazy_journal_init=0,root_owner={os.geteuid()}:{os.getegid()}"
            )
            _do(
                "mkfs.ext4",
                "-q",
                "-m",
                "0",
                "-J",
                f"size={JOURNAL_MIB}",
                "-E",
                options,
                str(self._image),
            )
            self._mount()
        except BaseException:
            _do("umount", str(self._medium))
            raise

    def close(self) -> None:
        _do("umount", str(self.path))
        _do("umount", str(self._medium))

    def cut(self, *, flush: bool = False) -> None:
        """Cuts the file system off from its image; only `flush` writes the journal before."""
        folder = os.open(self.path, os.O_RDONLY)
        try:
            flags = struct.pack("I", _FLUSH_JOURNAL if flush else _NO_FLUSH)
            fcntl.ioctl(folder, _SHUTDOWN, flags)
        finally:
            os.close(folder)

    def lose_medium(self) -> None:
        """Leaves the medium without room: writes of new blocks fail, rewrites of old ones do not."""
        medium = os.statvfs(self._medium)
        used = (medium.f_blocks - medium.f_bfree) * medium.f_frsize
        _do("mount", "-o", f"remount,size={used}", str(self._medium))

    def renew(self) -> None:
        """Gives the medium room and mounts the file system again, after any of these; no file is open."""
        _do("mount", "-o", f"remount,size={2 * SIZE}", str(self._medium))
        _do("umount", str(self.path))
        self._mount()

    def fill(self, left: int) -> None:
        """Fills the file system until `left` bytes are free."""
        with self._filler.open("wb") as filler:
            size, piece = 0, SIZE
            while piece >= 4096:
                disk = os.statvfs(self.path)
                piece = min(piece, disk.f_bavail * disk.f_frsize - left)
                try:
                    if piece > 0:
                        os.posix_fallocate(filler.fileno(), size, piece)
                        size += piece
                except OSError as error:
                    if error.errno != errno.ENOSPC:
                        raise
                    piece //= 2

    def free(self) -> None:
        """Removes all that fill() has written."""
        self._filler.unlink(missing_ok=True)

    def _mount(self) -> None:
        _do("mount", "-t", "ext4", "-o", "loop", str(self._image), str(self.path))


def obstacle() -> str:
    """The reason why no disk can be made here; empty if one can."""
    with tempfile.TemporaryDirectory(prefix="disk-") as folder:
        try:
            disk = Disk(Path(folder) / "trial")
        except FileNotFoundError as error:
            return f"{error.filename} is not installed"
        except subprocess.CalledProcessError as error:
            return str(error.stderr).strip().splitlines()[0]
        try:
            disk.cut()
        except OSError as error:
            return f"FS_IOC_SHUTDOWN: {error.strerror}"
        finally:
            disk.close()
    return ""


def hide_mounts() -> None:
    """Hides later mounts of this process and its children from others; they end with the last of them.

    Without the right to do that there are no mounts either. No thread may run yet.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_CLONE_NEWNS) == 0:
        with suppress(subprocess.CalledProcessError):
            _do("mount", "--make-rprivate", "/")


def _do(*words: str) -> None:
    subprocess.run(words, check=True, capture_output=True, text=True)
