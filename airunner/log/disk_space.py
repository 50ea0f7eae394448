"""Whether the disk that a log is on has room for more.

A log that fills its disk can take nothing at all, not even the end of a job. So new jobs and
output are refused sooner, and what is left is for what ends, renews or returns a job, and
for whatever else lives on that disk.

The disk is asked each time, which takes some two microseconds: a figure that is kept would be wrong
as soon as another process writes, and a job that was just deleted should help at once.
"""

import os
from pathlib import Path

from airunner.model.errors import LimitReached
from airunner.model.limits import FREE_BYTES_MIN, MIB


class FreeSpaceCheck:
    """The room left to whoever is not root, on the disk of one folder."""

    def __init__(self, folder: Path, free_bytes_min: int = FREE_BYTES_MIN) -> None:
        self._folder = folder
        self._free_bytes_min = free_bytes_min

    def check(self, more: int = 0) -> None:
        """Raise LimitReached if less than `free_bytes_min` bytes are free besides `more` of them."""
        disk = os.statvfs(self._folder)
        free = disk.f_bavail * disk.f_frsize
        if free - more < self._free_bytes_min:
            asked = f", of which {more / MIB:,.0f} MiB are spoken for" if more else ""
            raise LimitReached(
                f"the server's disk is short of room: {free / MIB:,.0f} MiB are free at "
                f"{self._folder}{asked}, and it takes jobs, output and artifacts while there are "
                f"FREE_BYTES_MIN ({self._free_bytes_min / MIB:,.0f} MiB); make room there, or try again later"
            )
