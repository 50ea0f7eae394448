"""The fingerprint of a workspace, which shows whether a job has changed its folders."""

import os
from contextlib import suppress
from typing import Final

from airunner.worker.workspace.temporary import TMP

FOLDERS: Final = ("", "/checkout", "/home", f"/{TMP}")


class Fingerprint:
    """The state of a workspace's folders at one moment."""

    def __init__(self, path: str) -> None:
        """Records the state of an existing workspace. Raises OSError."""
        self._path = path
        self._recorded = _state(path)

    def same(self) -> bool:
        """Whether the folders are as recorded."""
        with suppress(OSError):
            return _state(self._path) == self._recorded
        return False

    def renew(self) -> None:
        """Records the current state. Raises OSError."""
        self._recorded = _state(self._path)


def _state(path: str) -> list[object]:
    """Inode, mode, owner, change time and names of each of the workspace's folders."""
    found: list[object] = []
    for folder in FOLDERS:
        state = os.lstat(f"{path}{folder}")
        owner = (state.st_uid, state.st_gid)
        found += (state.st_ino, state.st_mode, owner, state.st_ctime_ns)
        found += sorted(os.listdir(f"{path}{folder}"))
    return found
