"""Removal of a folder tree of any depth and mode, by descriptors and never through a link.

The tree is flattened while it is removed: the subfolders of each folder are renamed into the top
folder, so that the removal never looks at more than two levels.

Rejected: shutil.rmtree, which recurses and opens a descriptor for each level.
"""

import os
import stat
from contextlib import suppress

from airunner.system.descent import FOLDER

_PATH = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def remove_tree(at: int, name: str) -> bool:
    """Removes the entry `name` of the folder `at`; returns whether the entry is gone."""
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
    """Removes an entry of the top folder, and moves the entry's subfolders into the top folder."""
    with suppress(IsADirectoryError, PermissionError):  # POSIX says EPERM where Linux says EISDIR
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
    """Opens a folder, and first gives its owner all rights in it."""
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
