"""What was put into a workspace before its job ran, to tell what the job has made or changed.

A file is known by its place, inode, size and time of change. Of each no more is kept than eight
bytes, a keyed digest of these: a million files take 8 MB. Two that differ share a digest once
in 10^19 times, and as nobody knows the key, nobody can look for one.

Rejected: the time at which the inode changed, which a job cannot set: `chmod -R` would make every
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
    """The entries that were staged; paths are relative to the workspace, with / between names."""

    def __init__(self) -> None:
        self._key = os.urandom(_KEY_BYTES)
        self._digests = array("Q")
        self._sorted = True

    @property
    def size(self) -> int:
        """Bytes that are kept."""
        return len(self._digests) * self._digests.itemsize

    def add(self, path: str, state: os.stat_result) -> None:
        """Take in the copy of a file, a symbolic link or a folder, as lstat tells of it."""
        self._digests.append(self._digest(path, state))
        self._sorted = False

    def unchanged(self, path: str, state: os.stat_result) -> bool:
        """Whether this was staged and is as it was; of a folder, whether one was staged here."""
        if not self._sorted:
            self._digests = array("Q", sorted(self._digests))
            self._sorted = True
        digest = self._digest(path, state)
        place = bisect_left(self._digests, digest)
        return place < len(self._digests) and self._digests[place] == digest

    def _digest(self, path: str, state: os.stat_result) -> int:
        kind = stat.S_IFMT(state.st_mode)
        known = (
            "" if kind == stat.S_IFDIR else f"{state.st_ino} {state.st_size} {state.st_mtime_ns}"
        )
        text = os.fsencode(path) + f"\0{kind} {known}".encode()
        return int.from_bytes(blake2b(text, key=self._key, digest_size=_DIGEST_BYTES).digest())
