"""The artifact sink that copies artifacts into the results folder, at their workspace paths.

A file is compared with its digest while it is written, and gets its name once it is complete. No
path is followed through a link, so no file outside the folder is read or written, even if another
process puts links into the folder meanwhile.
"""

import hashlib
import os
import re
from functools import partial
from threading import Event
from typing import BinaryIO, Final

from airunner.model.artifacts import Artifact
from airunner.system.atomic import atomic_write, write_all
from airunner.system.descent import Descent
from airunner.system.serial_thread import SerialThread
from airunner.worker.workspace.workspace import NotStored

PIECE_BYTES: Final = 1 << 20
_RESERVED: Final = re.compile(r"result\.json|step_\d+\.log")  # airunner's own names at the top


class FolderSink:
    """The artifacts of one attempt in a folder; implements ArtifactSink."""

    def __init__(self, thread: SerialThread) -> None:
        self._thread = thread
        self._folder = -1

    def begin(self, folder: int) -> None:
        """Sets the folder's descriptor, which the caller closes. Runs in the serial thread."""
        self._folder = folder

    async def put(self, artifact: Artifact, data: BinaryIO) -> None:
        """Copies a file; see ArtifactSink.put."""
        _check(artifact.path)
        stop, source = Event(), os.dup(data.fileno())  # `data` may be closed while the drive hangs
        try:
            await self._thread.run(partial(self._put, artifact, source, stop))
        finally:
            stop.set()
            self._thread.submit(partial(os.close, source))

    async def folder(self, path: str) -> None:
        """Creates an empty folder; see ArtifactSink.folder."""
        _check(path)
        await self._thread.run(partial(self._make, path))

    async def link(self, path: str, target: str) -> bool:
        """Creates a symbolic link; see ArtifactSink.link."""
        _check(path)
        await self._thread.run(partial(self._link, path, target))
        return True

    def _put(self, artifact: Artifact, source: int, stop: Event) -> None:
        above, _, name = artifact.path.rpartition("/")
        mode = 0o777 if artifact.executable else 0o666
        try:
            with Descent(self._folder) as walk:
                walk.follow(above, make=True)
                with atomic_write(name, mode, folder=walk.here) as file:
                    _copy(artifact, source, file, stop)
        except OSError as error:
            raise _not_stored(artifact.path, error) from None

    def _make(self, path: str) -> None:
        try:
            with Descent(self._folder) as walk:
                walk.follow(path, make=True)
        except OSError as error:
            raise _not_stored(path, error) from None

    def _link(self, path: str, target: str) -> None:
        above, _, name = path.rpartition("/")
        temporary = f".partial-{os.urandom(4).hex()}"
        try:
            with Descent(self._folder) as walk:
                walk.follow(above, make=True)
                os.symlink(target, temporary, dir_fd=walk.here)
                try:
                    os.rename(temporary, name, src_dir_fd=walk.here, dst_dir_fd=walk.here)
                except OSError:
                    os.unlink(temporary, dir_fd=walk.here)
                    raise
        except OSError as error:
            raise _not_stored(path, error) from None


def _check(path: str) -> None:
    if _RESERVED.fullmatch(path.partition("/")[0]):
        raise NotStored(f"artifact {path!r} cannot be stored in results: airunner uses this name")


def _not_stored(path: str, error: OSError) -> NotStored:
    return NotStored(f"artifact {path!r} cannot be stored in results: {error.strerror or error}")


def _copy(artifact: Artifact, source: int, file: int, stop: Event) -> None:
    """Copies the artifact's bytes. Raises NotStored if their count or digest is another.

    Pieces of zeros become holes, if the source file has holes.
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
