"""The collection of a workspace's artifacts into a sink, once the job has no process left.

Rules

1. An artifact that cannot be read or stored is an error in a sentence, and the others are stored.
2. The size of a file is its size when it is opened: bytes that are appended later are ignored.
3. A sink that stores links gets a link as a link. A sink that stores files only gets the file that
   the link leads to, if that file is in the workspace. Otherwise the link is left out, which is an
   error if its path is a pattern.
4. One thread reads all files, a piece at a time, in bounded memory. After a cancel, the thread
   ends with its current piece.
5. Up to AT_ONCE files are stored concurrently, because a remote sink answers each put after a round
   trip, which is most of the time of a small file.
"""

import asyncio
import hashlib
import os
import stat
from collections import deque
from contextlib import suppress
from functools import partial
from threading import Event
from typing import BinaryIO, Final

from airunner.model.artifacts import Artifact
from airunner.system.descent import Descent
from airunner.system.serial_thread import SerialThread
from airunner.worker.workspace.results.errors import Errors
from airunner.worker.workspace.results.folder_sink import PIECE_BYTES
from airunner.worker.workspace.results.patterns import Patterns
from airunner.worker.workspace.results.scan import Candidate, Kind, Scan
from airunner.worker.workspace.sources.snapshot import StagedSnapshot
from airunner.worker.workspace.workspace import ArtifactSink, Collected, NotStored

AT_ONCE: Final = 4
NO_FILE: Final = "no file matches the job's patterns of artifacts"

# O_NONBLOCK: a named pipe in the place of a scanned file must not block the thread
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


async def collect(
    top: int,
    sink: ArtifactSink,
    patterns: Patterns,
    snapshot: StagedSnapshot | None = None,
    *,
    at_once: int = AT_ONCE,
) -> Collected:
    """Stores the artifacts of the workspace with the descriptor `top` (scan.py) in a sink.

    Without patterns and without a snapshot of a staged source, a workspace has no artifacts.
    """
    if not patterns and snapshot is None:
        return Collected()
    thread, reader = SerialThread("collect"), WorkspaceReader(os.dup(top), patterns, snapshot)
    try:
        candidates = deque(await thread.run(reader.scan))
        async with asyncio.TaskGroup() as tasks:
            for _ in range(min(at_once, len(candidates))):
                tasks.create_task(_store_all(candidates, sink, reader, thread))
        artifacts = sorted(reader.artifacts, key=lambda each: each.path)
        errors = reader.errors.sentences()
        no_file = patterns and not (artifacts or reader.links or errors)
        return Collected(tuple(artifacts), errors, NO_FILE if no_file else "")
    finally:
        reader.stop.set()
        thread.submit(reader.close)
        thread.close()


async def _store_all(
    candidates: deque[Candidate],
    sink: ArtifactSink,
    reader: "WorkspaceReader",
    thread: SerialThread,
) -> None:
    """Stores candidates until the queue is empty."""
    while candidates:
        try:
            await _store(candidates.popleft(), sink, reader, thread)
        except NotStored as error:
            reader.errors.add(str(error))


async def _store(
    candidate: Candidate, sink: ArtifactSink, reader: "WorkspaceReader", thread: SerialThread
) -> None:
    if candidate.kind is Kind.FOLDER:
        await sink.folder(candidate.path)
        return
    real_path = candidate.path
    if candidate.kind is Kind.LINK:
        if await sink.link(candidate.path, candidate.target):
            reader.links += 1
            return
        real_path = await thread.run(partial(reader.resolve, candidate.path))
    if real_path:
        data = await thread.run(partial(reader.open, candidate.path, real_path))
        try:
            artifact = await thread.run(partial(reader.read, candidate.path, data))
            await sink.put(artifact, data)
        finally:
            thread.submit(partial(reader.close_file, data))
        reader.artifacts.append(artifact)


class WorkspaceReader:
    """The reads of a workspace, which run in the serial thread of a collection."""

    def __init__(self, top: int, patterns: Patterns, snapshot: StagedSnapshot | None) -> None:
        self._top = top
        self._patterns = patterns
        self._snapshot = snapshot
        self._buffer = memoryview(bytearray(PIECE_BYTES))
        self._files: set[BinaryIO] = set()  # open files, also of a cancelled task
        self.stop = Event()
        self.errors = Errors()
        self.artifacts: list[Artifact] = []
        self.links = 0  # the number of stored links

    def scan(self) -> list[Candidate]:
        """Lists the artifacts to store."""
        try:
            return Scan(self._patterns, self._snapshot, self.errors, self.stop.is_set).run(
                self._top
            )
        except OSError as error:
            self.errors.add(f"the workspace cannot be searched for artifacts: {error.strerror}")
            return []

    def resolve(self, path: str) -> str:
        """The path of the workspace's file to which a link leads; "" if there is no such file."""
        with suppress(OSError):
            top = os.readlink(f"/proc/self/fd/{self._top}")
            real = os.path.realpath(f"{top}/{path}")
            if real.startswith(f"{top}/") and stat.S_ISREG(os.lstat(real).st_mode):
                return real.removeprefix(f"{top}/")
        if self._patterns.name(path):
            self.errors.add(f"artifact {path!r} is a link that leads to no file of the workspace")
        return ""

    def open(self, path: str, real_path: str) -> BinaryIO:
        """Opens the file of the artifact `path` at `real_path`, for close_file(). Raises NotStored."""
        above, _, name = real_path.rpartition("/")
        try:
            with Descent(self._top) as walk:
                walk.follow(above)
                data = open(name, "rb", opener=partial(_open, walk.here))  # noqa: SIM115  # close_file
        except OSError as error:
            raise _unreadable(path, error) from None
        self._files.add(data)
        return data

    def close_file(self, data: BinaryIO) -> None:
        """Closes a file of open()."""
        self._files.discard(data)
        data.close()

    def read(self, path: str, data: BinaryIO) -> Artifact:
        """Reads size, digest and mode of a file, and seeks back to its start. Raises NotStored."""
        try:
            state = os.fstat(data.fileno())
            if not stat.S_ISREG(state.st_mode):
                raise NotStored(f"artifact {path!r} is no longer a file")
            return Artifact(
                path=path,
                size=state.st_size,
                sha256=self._digest(path, data, state.st_size),
                executable=bool(state.st_mode & stat.S_IXUSR),
            )
        except OSError as error:
            raise _unreadable(path, error) from None

    def close(self) -> None:
        """Closes the workspace and all open files."""
        while self._files:
            self._files.pop().close()
        os.close(self._top)

    def _digest(self, path: str, data: BinaryIO, size: int) -> str:
        """The SHA-256 of the first `size` bytes; seeks back to the start of the file."""
        digest = hashlib.sha256()
        while size and not self.stop.is_set():
            count = os.readv(data.fileno(), [self._buffer[:size]])
            if not count:
                raise NotStored(f"artifact {path!r} was changed while it was read")
            digest.update(self._buffer[:count])
            size -= count
        data.seek(0)
        return digest.hexdigest()


def _open(folder: int, name: str, _flags: int) -> int:
    return os.open(name, _FILE, dir_fd=folder)


def _unreadable(path: str, error: OSError) -> NotStored:
    return NotStored(f"artifact {path!r} cannot be read: {error.strerror}")
