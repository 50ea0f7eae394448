"""Which entries of a workspace are artifacts.

Rules

1. With patterns: what they mean (patterns.py). Without, in a workspace that was staged: what is new,
   and what is not as it was staged. Files that are gone are no artifacts.
2. Artifacts are files, symbolic links, and folders without anything in them. Pipes, sockets and
   devices are not.
3. `.git` is none, at any depth, unless a pattern is about it. Neither is a source's `job.json` that is
   as it was.
4. What was to be an artifact and cannot be one is an error, in a sentence: a name that is not UTF-8, a
   path that is too long, a folder that cannot be read, one file too many, and what a pattern
   names that is none of the above.
5. It goes down by descriptors and never through a link, to any depth, and keeps no more than the
   names in the folders that it is in.
"""

import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum, auto

from airunner.model.limits import ARTIFACT_PATH_BYTES_MAX, ARTIFACTS_MAX
from airunner.worker.files.descent import Descent
from airunner.worker.workspace.results.errors import Errors
from airunner.worker.workspace.results.patterns import Patterns
from airunner.worker.workspace.sources.snapshot import StagedSnapshot
from airunner.worker.workspace.sources.source_names import JOB, shown

_GIT = ".git"
_SHORT_CHARS = 200


class Kind(Enum):
    FILE = auto()
    LINK = auto()
    FOLDER = auto()  # without anything in it


@dataclass(frozen=True, slots=True)
class Found:
    """An artifact to be."""

    path: str
    kind: Kind
    target: str = ""  # of a link


class Scan:
    """One look at a workspace."""

    def __init__(
        self,
        patterns: Patterns,
        staged: StagedSnapshot | None,
        errors: Errors,
        stopped: Callable[[], bool],
    ) -> None:
        """`stopped` says whether nobody waits for it any more."""
        self._patterns = patterns
        self._staged = staged
        self._errors = errors
        self._stopped = stopped

    def run(self, top: int) -> list[Found]:
        """What there is below a folder, of which this is a descriptor. Raises OSError."""
        found: list[Found] = []
        with Descent(top) as way:
            for path, state in self._entries(way):
                if self._stopped():
                    break
                if not self._wanted(path, state) or not self._possible(path, state):
                    continue
                if len(found) == ARTIFACTS_MAX:
                    self._errors.add(
                        f"there are more than ARTIFACTS_MAX ({ARTIFACTS_MAX}) artifacts: {path!r} "
                        "and what comes behind it is left out"
                    )
                    break
                try:
                    found.append(_found(way.here, path, state))
                except OSError as error:
                    self._errors.add(f"artifact {path!r} cannot be read: {error.strerror}")
        return found

    def _entries(self, way: Descent) -> Iterator[tuple[str, os.stat_result]]:
        """Every file and whatever is like one, from where it is; and folders without any, from inside."""
        above: list[str] = []
        levels = [_names(way.here)]
        while levels:
            if not levels[-1]:
                levels.pop()
                if levels:
                    way.up()
                    above.pop()
                continue
            name = levels[-1].pop()
            path = "/".join((*above, name))
            try:
                state = os.lstat(name, dir_fd=way.here)
            except FileNotFoundError:
                continue
            if not stat.S_ISDIR(state.st_mode):
                yield path, state
            elif self._goes_into(path):
                try:
                    way.down(name)
                except OSError as error:
                    self._errors.add(f"the folder {path!r} cannot be read: {error.strerror}")
                    continue
                above.append(name)
                levels.append(_names(way.here))
                if not levels[-1]:
                    yield path, state

    def _goes_into(self, path: str) -> bool:
        if path.rpartition("/")[2] == _GIT and not self._patterns.reach_git:
            return False
        if len(os.fsencode(path)) < ARTIFACT_PATH_BYTES_MAX:
            return True
        self._errors.add(f"what is in the folder {_short(path)} cannot be kept: {_TOO_LONG}")
        return False

    def _wanted(self, path: str, state: os.stat_result) -> bool:
        if self._patterns:
            if path == JOB and self._staged and self._staged.unchanged(path, state):
                return False
            folder = stat.S_ISDIR(state.st_mode)
            return self._patterns.mean(f"{path}/" if folder else path)
        if self._staged is None or path.rpartition("/")[2] == _GIT:
            return False
        return not self._staged.unchanged(path, state)

    def _possible(self, path: str, state: os.stat_result) -> bool:
        """Whether it can be an artifact; if it cannot, and that matters, that is an error."""
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
            self._errors.add(f"artifact {_short(path)} cannot be kept: {_TOO_LONG}")
        return size <= ARTIFACT_PATH_BYTES_MAX


_TOO_LONG = f"its path is longer than ARTIFACT_PATH_BYTES_MAX ({ARTIFACT_PATH_BYTES_MAX} bytes)"


def _names(folder: int) -> list[str]:
    """The first one at the end."""
    return sorted(os.listdir(folder), reverse=True)


def _found(here: int, path: str, state: os.stat_result) -> Found:
    if stat.S_ISLNK(state.st_mode):
        return Found(path, Kind.LINK, os.readlink(path.rpartition("/")[2], dir_fd=here))
    return Found(path, Kind.FOLDER if stat.S_ISDIR(state.st_mode) else Kind.FILE)


def _short(path: str) -> str:
    """A path for a sentence, whatever bytes and however many of them it has."""
    text = shown(path)
    return f"'{text if len(text) <= _SHORT_CHARS else f'{text[:_SHORT_CHARS]}…'}'"
