"""Removing a folder, whatever is in it, by descriptors and never through a link.

What lies deep is brought up first: the folders of a folder are renamed into the top one, so that
there are never more than two levels to look at, however deep it was.

Rejected: shutil.rmtree, which goes down by recursion and opens a descriptor for each level.
"""

import os
import stat
from contextlib import suppress

from airunner.worker.files.descent import FOLDER

_PATH = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def remove_tree(at: int, name: str) -> bool:
    """Remove what is called so in the folder `at`; whether it is gone."""
    try:
        os.unlink(name, dir_fd=at)
        return True
    except FileNotFoundError:
        return True
    except OSError:
        pass  # a folder, most likely
    try:
        _empty(at, name)
        os.rmdir(name, dir_fd=at)
    except OSError:
        return False
    return True


def _empty(at: int, name: str) -> None:
    top = _open(at, name)
    try:
        while names := os.listdir(top):
            for each in names:
                _remove(top, each)
    finally:
        os.close(top)


def _remove(top: int, name: str) -> None:
    """Remove an entry of the top folder; the folders in it come up into the top one."""
    with suppress(IsADirectoryError, PermissionError):  # the second is POSIX for the first
        os.unlink(name, dir_fd=top)
        return
    folder = _open(top, name)
    try:
        for each in os.listdir(folder):
            try:
                os.unlink(each, dir_fd=folder)
            except (IsADirectoryError, PermissionError):
                _open_up(folder, each)
                os.rename(each, f"{os.urandom(8).hex()}", src_dir_fd=folder, dst_dir_fd=top)
    finally:
        os.close(folder)
    os.rmdir(name, dir_fd=top)


def _open(at: int, name: str) -> int:
    """A descriptor of a folder in which its owner may do everything."""
    _open_up(at, name)
    return os.open(name, FOLDER, dir_fd=at)


def _open_up(at: int, name: str) -> None:
    handle = os.open(name, _PATH, dir_fd=at)
    try:
        mode = os.fstat(handle).st_mode
        if mode & stat.S_IRWXU != stat.S_IRWXU:
            os.chmod(f"/proc/self/fd/{handle}", stat.S_IMODE(mode) | stat.S_IRWXU)
    finally:
        os.close(handle)
