"""The snapshot of a staged source, which shows the files that the job has created or changed.

A file is identified by its path, inode, size and modification time. The snapshot holds eight
bytes for each file, a keyed digest of these values: a million files take 8 MB. Two different files
share a digest once in 10^19 times, and a job cannot search for such files without the key.

Rejected: the change time of the inode (ctime), which a job cannot set: `chmod -R` would make every
file of the source an artifact.
"""

import os
import stat
from array import array
from bisect import bisect_left
from hashlib import blake2b
from typing import Final

_DIGEST_BYTES: Final = 8
_KEY_BYTES: Final = 16


class StagedSnapshot:
    """The staged entries; paths are relative to the checkout, with / between names."""

    def __init__(self) -> None:
        self._key = os.urandom(_KEY_BYTES)
        self._digests = array("Q")
        self._sorted = True

    @property
    def size(self) -> int:
        """The size of the digests in bytes."""
        return len(self._digests) * self._digests.itemsize

    def add(self, path: str, state: os.stat_result) -> None:
        """Adds the copy of a file, a symbolic link or a folder; `state` is its lstat result."""
        self._digests.append(self._digest(path, state))
        self._sorted = False

    def unchanged(self, path: str, state: os.stat_result) -> bool:
        """Whether an entry was staged and is unchanged; a folder counts as unchanged."""
        if not self._sorted:
            self._digests = array("Q", sorted(self._digests))
            self._sorted = True
        digest = self._digest(path, state)
        index = bisect_left(self._digests, digest)
        return index < len(self._digests) and self._digests[index] == digest

    def _digest(self, path: str, state: os.stat_result) -> int:
        kind = stat.S_IFMT(state.st_mode)
        values = (
            "" if kind == stat.S_IFDIR else f"{state.st_ino} {state.st_size} {state.st_mtime_ns}"
        )
        text = os.fsencode(path) + f"\0{kind} {values}".encode()
        return int.from_bytes(blake2b(text, key=self._key, digest_size=_DIGEST_BYTES).digest())
