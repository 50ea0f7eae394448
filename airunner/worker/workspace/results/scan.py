"""The scan of a workspace for artifacts.

Rules

1. With patterns, the artifacts are the matching entries (patterns.py). Without patterns, in a
   workspace with a copy of a source, the artifacts are the new and the changed entries. Deleted
   files are no artifacts.
2. Artifacts are files, symbolic links, and empty folders. Pipes, sockets and devices are not.
3. `.git` is no artifact, at any depth, unless a pattern names it. Neither is the `job.json` of a
   source, if the job has not changed it.
4. An entry that should be an artifact and cannot be one is an error, in a sentence: a name that is
   not UTF-8, a path that is too long, a folder that cannot be read, a file beyond ARTIFACTS_MAX,
   or a pipe, socket or device whose path is a pattern.
5. The scan walks by descriptors and never through a link, to any depth. Its memory holds only the
   names in the current folder and the folders above.
"""

import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum, auto

from airunner.model.limits import ARTIFACT_PATH_BYTES_MAX, ARTIFACTS_MAX
from airunner.system.descent import Descent
from airunner.worker.workspace.results.errors import Errors
from airunner.worker.workspace.results.patterns import Patterns
from airunner.worker.workspace.sources.snapshot import StagedSnapshot
from airunner.worker.workspace.sources.source_names import JOB, printable_path

_GIT = ".git"
_SHORT_CHARS = 200


class Kind(Enum):
    FILE = auto()
    LINK = auto()
    FOLDER = auto()  # empty


@dataclass(frozen=True, slots=True)
class Candidate:
    """An entry of the workspace that is to be stored as an artifact."""

    path: str
    kind: Kind
    target: str = ""  # of a link


class Scan:
    """One scan of a workspace."""

    def __init__(
        self,
        patterns: Patterns,
        snapshot: StagedSnapshot | None,
        errors: Errors,
        stopped: Callable[[], bool],
    ) -> None:
        """`stopped` returns True to end the scan early."""
        self._patterns = patterns
        self._snapshot = snapshot
        self._errors = errors
        self._stopped = stopped

    def run(self, top: int) -> list[Candidate]:
        """Lists the artifacts below the folder with the descriptor `top`. Raises OSError."""
        candidates: list[Candidate] = []
        with Descent(top) as walk:
            for path, state in self._entries(walk):
                if self._stopped():
                    break
                if not self._is_selected(path, state) or not self._is_possible(path, state):
                    continue
                if len(candidates) == ARTIFACTS_MAX:
                    self._errors.add(
                        f"there are more than ARTIFACTS_MAX ({ARTIFACTS_MAX}) artifacts: {path!r} "
                        "and all later paths are left out"
                    )
                    break
                try:
                    candidates.append(_candidate(walk.here, path, state))
                except OSError as error:
                    self._errors.add(f"artifact {path!r} cannot be read: {error.strerror}")
        return candidates

    def _entries(self, walk: Descent) -> Iterator[tuple[str, os.stat_result]]:
        """Yields the entries in order of their paths, except folders that are not empty.

        At a yield, `walk` is in the folder of the entry, or in the empty folder itself.
        """
        above: list[str] = []
        levels = [_names(walk.here)]
        while levels:
            if not levels[-1]:
                levels.pop()
                if levels:
                    walk.up()
                    above.pop()
                continue
            name = levels[-1].pop()
            path = "/".join((*above, name))
            try:
                state = os.lstat(name, dir_fd=walk.here)
            except FileNotFoundError:
                continue
            if not stat.S_ISDIR(state.st_mode):
                yield path, state
            elif self._enters(path):
                try:
                    walk.down(name)
                except OSError as error:
                    self._errors.add(f"the folder {path!r} cannot be read: {error.strerror}")
                    continue
                above.append(name)
                levels.append(_names(walk.here))
                if not levels[-1]:
                    yield path, state

    def _enters(self, path: str) -> bool:
        """Whether the scan enters a folder; adds an error if the paths below would be too long."""
        if path.rpartition("/")[2] == _GIT and not self._patterns.match_git:
            return False
        if len(os.fsencode(path)) < ARTIFACT_PATH_BYTES_MAX:
            return True
        self._errors.add(f"the files in the folder {_short(path)} cannot be stored: {_TOO_LONG}")
        return False

    def _is_selected(self, path: str, state: os.stat_result) -> bool:
        """Whether rules 1 and 3 select an entry."""
        if self._patterns:
            if path == JOB and self._snapshot and self._snapshot.unchanged(path, state):
                return False
            folder = stat.S_ISDIR(state.st_mode)
            return self._patterns.match(f"{path}/" if folder else path)
        if self._snapshot is None or path.rpartition("/")[2] == _GIT:
            return False
        return not self._snapshot.unchanged(path, state)

    def _is_possible(self, path: str, state: os.stat_result) -> bool:
        """Whether a selected entry can be an artifact; adds the errors of rule 4."""
        if not any(kind(state.st_mode) for kind in (stat.S_ISREG, stat.S_ISLNK, stat.S_ISDIR)):
            if self._patterns.name(path):
                self._errors.add(f"artifact {path!r} is neither a file nor a link")
            return False
        try:
            size = len(path.encode())
        except UnicodeEncodeError:
            self._errors.add(f"artifact {_short(path)} has a name that is not UTF-8")
            return False
        if size > ARTIFACT_PATH_BYTES_MAX:
            self._errors.add(f"artifact {_short(path)} cannot be stored: {_TOO_LONG}")
        return size <= ARTIFACT_PATH_BYTES_MAX


_TOO_LONG = f"its path is longer than ARTIFACT_PATH_BYTES_MAX ({ARTIFACT_PATH_BYTES_MAX} bytes)"


def _names(folder: int) -> list[str]:
    """The names in a folder in reverse order, so that pop() returns the first name."""
    return sorted(os.listdir(folder), reverse=True)


def _candidate(here: int, path: str, state: os.stat_result) -> Candidate:
    if stat.S_ISLNK(state.st_mode):
        return Candidate(path, Kind.LINK, os.readlink(path.rpartition("/")[2], dir_fd=here))
    return Candidate(path, Kind.FOLDER if stat.S_ISDIR(state.st_mode) else Kind.FILE)


def _short(path: str) -> str:
    """A printable and shortened form of a path, in quotes, for a sentence."""
    text = printable_path(path)
    return f"'{text if len(text) <= _SHORT_CHARS else f'{text[:_SHORT_CHARS]}…'}'"
