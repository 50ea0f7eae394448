"""The shelf of a folder: artifacts are copied below `results/`, as they are in the workspace.

A file is held against its digest while it is written, and is there whole, or not at all. Nothing is read or written through a link, so nothing outside the folder is,
whoever puts links into it meanwhile.
"""

import hashlib
import os
import re
from functools import partial
from threading import Event
from typing import BinaryIO, Final

from airunner.model.artifacts import Artifact
from airunner.worker.files.atomic import atomic_write, write_all
from airunner.worker.files.descent import Descent
from airunner.worker.files.serial_thread import SerialThread
from airunner.worker.workspace.workspace import NotStored

PIECE_BYTES: Final = 1 << 20
_OURS: Final = re.compile(r"result\.json|step_\d+\.log")  # at the top


class FolderSink:
    """Brings artifacts to a folder; Shelf."""

    def __init__(self, thread: SerialThread) -> None:
        self._thread = thread
        self._folder = -1

    def begin(self, folder: int) -> None:
        """Bring them to this folder, whose descriptor stays the caller's; from an errand."""
        self._folder = folder

    async def put(self, artifact: Artifact, data: BinaryIO) -> None:
        """As Shelf.put."""
        _check(artifact.path)
        stop, source = Event(), os.dup(data.fileno())  # `data` may be closed while we hang
        try:
            await self._thread.run(partial(self._put, artifact, source, stop))
        finally:
            stop.set()
            self._thread.submit(partial(os.close, source))

    async def folder(self, path: str) -> None:
        """As Shelf.folder."""
        _check(path)
        await self._thread.run(partial(self._make, path))

    async def link(self, path: str, target: str) -> bool:
        """As Shelf.link."""
        _check(path)
        await self._thread.run(partial(self._link, path, target))
        return True

    def _put(self, artifact: Artifact, source: int, stop: Event) -> None:
        above, _, name = artifact.path.rpartition("/")
        mode = 0o777 if artifact.executable else 0o666
        try:
            with Descent(self._folder) as way:
                way.follow(above, make=True)
                with atomic_write(way.here, name, mode) as file:
                    _copy(artifact, source, file, stop)
        except OSError as error:
            raise _not_kept(artifact.path, error) from None

    def _make(self, path: str) -> None:
        try:
            with Descent(self._folder) as way:
                way.follow(path, make=True)
        except OSError as error:
            raise _not_kept(path, error) from None

    def _link(self, path: str, target: str) -> None:
        above, _, name = path.rpartition("/")
        temporary = f".partial-{os.urandom(4).hex()}"
        try:
            with Descent(self._folder) as way:
                way.follow(above, make=True)
                os.symlink(target, temporary, dir_fd=way.here)
                try:
                    os.rename(temporary, name, src_dir_fd=way.here, dst_dir_fd=way.here)
                except OSError:
                    os.unlink(temporary, dir_fd=way.here)
                    raise
        except OSError as error:
            raise _not_kept(path, error) from None


def _check(path: str) -> None:
    if _OURS.fullmatch(path.partition("/")[0]):
        raise NotStored(f"artifact {path!r} cannot be kept in results: it is a name of airunner's")


def _not_kept(path: str, error: OSError) -> NotStored:
    return NotStored(f"artifact {path!r} cannot be kept in results: {error.strerror or error}")


def _copy(artifact: Artifact, source: int, file: int, stop: Event) -> None:
    """Copy as many bytes as the artifact has. Raises NotKept if they are others than it says.

    Of a file with holes, pieces that are all zeros become holes.
    """
    digest, at = hashlib.sha256(), 0
    sparse = os.fstat(source).st_blocks * 512 < artifact.size
    while at < artifact.size and not stop.is_set():
        data = os.pread(source, min(PIECE_BYTES, artifact.size - at), at)
        if not data:
            break
        digest.update(data)
        at += len(data)
        if sparse and data == bytes(len(data)):
            os.ftruncate(file, os.lseek(file, len(data), os.SEEK_CUR))
        else:
            write_all(file, data)
    if at != artifact.size or digest.hexdigest() != artifact.sha256:
        raise NotStored(f"artifact {artifact.path!r} was changed while it was read")
