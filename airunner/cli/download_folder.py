"""The folder into which artifacts are fetched.

Rules

1. Whatever ends the fetching, a file is there as it was kept, or not at all.
2. Nothing is written through a link below the folder, whoever puts it there meanwhile.
3. What is there already is replaced only if that is asked for. A file that is as it was kept need not
   be fetched: so what was interrupted goes on where it was.
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
from airunner.cli.render.streams import printable
from airunner.model.artifacts import Artifact
from airunner.worker.files.atomic import atomic_write, write_all
from airunner.worker.files.descent import Descent

_READ: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_HINT: Final = "name another folder with --output, or replace what is there with --force"


class DownloadFolder:
    """A folder of the caller's, made if it is not there. A context; CommandFailed says what is wrong."""

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
        """Those of which there is no file here with the same bytes."""
        return [each for each in artifacts if not self._is_complete(each)]

    def check(self, artifacts: Sequence[Artifact]) -> None:
        """Raise CommandFailed if one of them is there already and may not be replaced."""
        if self._replace:
            return
        there = [each.path for each in artifacts if self._has(each.path)]
        if there:
            raise self._exists(there[0], len(there) - 1)

    @contextmanager
    def create(self, artifact: Artifact) -> Iterator["Downloaded"]:
        """A file to be written and kept; what was not kept is gone when the context ends."""
        above, _, name = artifact.path.rpartition("/")
        mode = 0o777 if artifact.executable else 0o666
        with self._file_errors(artifact.path), Descent(self._top) as way:
            way.follow(above, make=True)
            with atomic_write(way.here, name, mode, replace=self._replace) as file:
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
            return False  # if it is in the way, check() or writing tells

    def _has(self, path: str) -> bool:
        above, _, name = path.rpartition("/")
        try:
            with Descent(self._top) as way:
                way.follow(above)
                os.stat(name, dir_fd=way.here, follow_symlinks=False)
        except OSError:
            return False  # if something else is in the way, writing tells
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
                why = "a link or a file is in the place of a folder above it"
            elif error.errno in (errno.EISDIR, errno.ENOTEMPTY):
                why = "a folder is in its place"
            raise CommandFailed(f"cannot write {self._full_path(path)}: {why}") from None

    def _exists(self, path: str, more: int = 0) -> CommandFailed:
        are = f"and {more} more are" if more else "is"
        return CommandFailed(f"{self._full_path(path)} {are} there already: {_HINT}")

    def _full_path(self, path: str) -> str:
        return printable(str(self._path / path))


class Downloaded:
    """A file on its way into the folder."""

    def __init__(self, file: int) -> None:
        self._file = file

    def write(self, data: bytes) -> None:
        """Add all of it."""
        write_all(self._file, data)
