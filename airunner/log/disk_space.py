"""The free space that a log needs on its disk.

A log on a full disk takes no event at all, not even the end of a job. So new jobs and output are
refused earlier, and the remaining space is for events that end, renew or return a job, and for other
programs on that disk.

Each check asks the disk, which takes about two microseconds. A cached number would be wrong as soon as
another process writes, and would not notice a job that was just deleted.
"""

import os
from pathlib import Path

from airunner.model.errors import LimitReached
from airunner.model.limits import FREE_BYTES_MIN, MIB


class FreeSpaceCheck:
    """Compares the space that the disk of a folder has for ordinary users with a minimum."""

    def __init__(self, folder: Path, free_bytes_min: int = FREE_BYTES_MIN) -> None:
        self._folder = folder
        self._free_bytes_min = free_bytes_min

    def check(self, more: int = 0) -> None:
        """Raises LimitReached if fewer than `free_bytes_min` bytes remain after `more` are written."""
        disk = os.statvfs(self._folder)
        free = disk.f_bavail * disk.f_frsize
        if free - more < self._free_bytes_min:
            reserved = f", of which {more / MIB:,.0f} MiB are spoken for" if more else ""
            raise LimitReached(
                f"the server's disk is short of room: {free / MIB:,.0f} MiB are free at "
                f"{self._folder}{reserved}, and it takes jobs, output and artifacts while there are "
                f"FREE_BYTES_MIN ({self._free_bytes_min / MIB:,.0f} MiB); make room there, or try again later"
            )
