"""The target folder of `airunner artifacts get`.

Rules

1. A file appears under its name only when it is complete, even if the download is killed.
2. No write follows a symbolic link below the folder, even a link that another process puts there
   during the download.
3. An existing file is replaced only with --force. A file that already has the artifact's bytes is
   not downloaded again, so an interrupted download resumes with the missing files.
"""

import errno
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from hashlib import file_digest
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from airunner.cli.exit_codes import CommandFailed
from airunner.model.artifacts import Artifact
from airunner.system.atomic import atomic_write, write_all
from airunner.system.descent import Descent

_READ: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_HINT: Final = "name another folder with --output, or replace existing files with --force"


class DownloadFolder:
    """A folder that artifacts are downloaded into, made if it does not exist. A context manager.

    Its methods raise CommandFailed if the folder or a file cannot be used.
    """

    def __init__(self, path: Path, *, replace: bool) -> None:
        self._path = path
        self._replace = replace

    def __enter__(self) -> Self:
        try:
            self._path.mkdir(parents=True, exist_ok=True)
            self._top = os.open(self._path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            why = "it is a file" if isinstance(error, FileExistsError) else error.strerror
            raise CommandFailed(f"cannot use the folder {self._path}: {why}") from None
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        os.close(self._top)

    def missing(self, artifacts: Sequence[Artifact]) -> list[Artifact]:
        """The artifacts that the folder does not have yet with the same bytes."""
        return [each for each in artifacts if not self._is_complete(each)]

    def check(self, artifacts: Sequence[Artifact]) -> None:
        """Raises CommandFailed if a file of one of the artifacts exists and must not be replaced."""
        if self._replace:
            return
        there = [each.path for each in artifacts if self._has(each.path)]
        if there:
            raise self._exists(there[0], len(there) - 1)

    @contextmanager
    def create(self, artifact: Artifact) -> Iterator["Downloaded"]:
        """Creates the file of an artifact. If the context ends with an error, no file is left."""
        above, _, name = artifact.path.rpartition("/")
        mode = 0o777 if artifact.executable else 0o666
        with self._file_errors(artifact.path), Descent(self._top) as way:
            way.follow(above, make=True)
            with atomic_write(name, mode, folder=way.here, replace=self._replace) as file:
                yield Downloaded(file)

    def _is_complete(self, artifact: Artifact) -> bool:
        above, _, name = artifact.path.rpartition("/")
        try:
            with Descent(self._top) as way:
                way.follow(above)
                with os.fdopen(os.open(name, _READ, dir_fd=way.here), "rb") as file:
                    state = os.fstat(file.fileno())
                    if not stat.S_ISREG(state.st_mode) or state.st_size != artifact.size:
                        return False
                    return file_digest(file, "sha256").hexdigest() == artifact.sha256
        except OSError:
            return False  # check() or create() reports a file that is in the way

    def _has(self, path: str) -> bool:
        above, _, name = path.rpartition("/")
        try:
            with Descent(self._top) as way:
                way.follow(above)
                os.stat(name, dir_fd=way.here, follow_symlinks=False)
        except OSError:
            return False  # create() reports anything else that is in the way
        return True

    @contextmanager
    def _file_errors(self, path: str) -> Iterator[None]:
        try:
            yield
        except FileExistsError:
            raise self._exists(path) from None
        except OSError as error:
            why = error.strerror or str(error)
            if error.errno in (errno.ELOOP, errno.ENOTDIR):
                why = "a folder above it is a link or a file"
            elif error.errno in (errno.EISDIR, errno.ENOTEMPTY):
                why = "a folder has its name"
            raise CommandFailed(f"cannot write {self._full_path(path)}: {why}") from None

    def _exists(self, path: str, more: int = 0) -> CommandFailed:
        exist = f"and {more} more files exist" if more else "exists"
        return CommandFailed(f"{self._full_path(path)} {exist} already: {_HINT}")

    def _full_path(self, path: str) -> str:
        return str(self._path / path)


class Downloaded:
    """A file that is being downloaded."""

    def __init__(self, file: int) -> None:
        self._file = file

    def write(self, data: bytes) -> None:
        """Appends all of the data."""
        write_all(self._file, data)
