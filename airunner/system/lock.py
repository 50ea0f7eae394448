"""The flock primitives of airunner's locks: take a lock without waiting, and check its name.

An flock belongs to the open file. The kernel releases it when the last process that holds the file
open ends, also by SIGKILL, so no lock is ever stale. A file can lose its name before it is locked;
is_named() shows that.

The rules about names differ and stay with their owners: the server's log names the holder
(log/sqlite/lock.py), a worker's folder is removed by a later worker (system/locked_folder.py), and a
later attempt replaces the lock file of a source (worker/workspace/sources/source_lock.py). The
supervisor locks its cgroup by flock too (worker/supervisor/trees/cgroup.py), but does not use this
module: its process imports only its own folder and the standard library.
"""

import errno
import fcntl
import os
from typing import Final

_HELD: Final = (errno.EAGAIN, errno.EACCES)  # EACCES: a drive that emulates flock by fcntl


def try_lock(file: int, *, shared: bool = False) -> bool:
    """Locks an open file or folder; returns False if another open file holds the lock.

    Raises OSError if the file system has no locks.
    """
    try:
        fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno not in _HELD:
            raise
        return False
    return True


def is_named(name: str, file: int, *, folder: int | None = None) -> bool:
    """Whether a name refers to an open file, not through a link; `folder` is a descriptor.

    Raises OSError, except for a missing name.
    """
    try:
        named = os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return os.path.samestat(named, os.fstat(file))
