"""What a workspace has in it, and all that the system notes of a change to its folders."""

import os
from contextlib import suppress
from typing import Final

FOLDERS: Final = ("", "/checkout", "/home")


class Fingerprint:
    """How a workspace looked at a moment."""

    def __init__(self, path: str) -> None:
        """It is there now. Raises OSError."""
        self._path = path
        self._seen = _looks(path)

    def same(self) -> bool:
        """Whether it looks so still."""
        with suppress(OSError):
            return _looks(self._path) == self._seen
        return False

    def renew(self) -> None:
        """Take it as it looks now. Raises OSError."""
        self._seen = _looks(self._path)


def _looks(path: str) -> list[object]:
    found: list[object] = []
    for folder in FOLDERS:
        state = os.lstat(f"{path}{folder}")
        owner = (state.st_uid, state.st_gid)
        found += (state.st_ino, state.st_mode, owner, state.st_ctime_ns)
        found += sorted(os.listdir(f"{path}{folder}"))
    return found
