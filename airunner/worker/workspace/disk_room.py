"""The room that a worker needs on the disk of its workspaces before it takes a job.

A worker without room, or on a disk that fails, gives its next jobs back and asks for no other job
until it can make a workspace again. The alternative was that each job fails: one full disk then
fails a whole queue within seconds.
"""

import errno
import os
from pathlib import Path
from typing import Final

from airunner.model.limits import MIB

FREE_BYTES_MIN: Final = 64 * MIB  # free on the disk of the workspaces, or no job is taken
FREE_FILES_MIN: Final = 1_000  # free inodes of the disk of the workspaces, or no job is taken
NO_ROOM: Final = (errno.ENOSPC, errno.EDQUOT)
_SHARE_MAX: Final = 20  # a small disk needs 1 / 20 of its size


def missing_room(folder: Path, factor: int = 1) -> str:
    """A sentence on the missing room, or "" if there is room.

    `factor`: a disk that was full needs more, so that a worker does not stop and go on by turns.
    """
    try:
        disk = os.statvfs(folder)
    except OSError:
        return ""  # the making of a workspace raises the cause
    free = disk.f_bavail * disk.f_frsize
    bytes_min = factor * min(FREE_BYTES_MIN, disk.f_blocks * disk.f_frsize // _SHARE_MAX)
    if free < bytes_min:
        return f"the disk of {folder} has {free:,} free bytes, and a job needs {bytes_min:,}"
    files_min = factor * min(FREE_FILES_MIN, disk.f_files // _SHARE_MAX)
    if disk.f_files and disk.f_favail < files_min:
        return f"the disk of {folder} has room for {disk.f_favail} more files, of {files_min}"
    return ""
