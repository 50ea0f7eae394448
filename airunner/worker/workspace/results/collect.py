"""Bringing the artifacts of a workspace to a shelf, once no process of its job is left.

Rules

1. What cannot be read or kept is an error in a sentence, and the others go on.
2. A file is as large as it is when it is opened: what is written behind that is none of it.
3. A link is brought as it is to a shelf that keeps links. To one that keeps files alone it is brought
   as the file that it leads to, if that is a file of the workspace; else it is left out, and that
   is an error if a pattern names it.
4. All that is read is read in one thread, a piece at a time, in bounded memory; if this is
   cancelled, the thread ends after a piece.
5. A few files (AT_ONCE) are on their way at a time: a shelf far away takes its time with each, and of many
   small ones most of that is waiting.
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
from airunner.worker.files.descent import Descent
from airunner.worker.files.serial_thread import SerialThread
from airunner.worker.workspace.results.errors import Errors
from airunner.worker.workspace.results.folder_sink import PIECE_BYTES
from airunner.worker.workspace.results.patterns import Patterns
from airunner.worker.workspace.results.scan import Found, Kind, Scan
from airunner.worker.workspace.sources.snapshot import StagedSnapshot
from airunner.worker.workspace.workspace import ArtifactSink, Collected, NotStored

AT_ONCE: Final = 4
NO_FILE: Final = "no file matches the job's patterns of artifacts"

# A named pipe that was a file a moment ago must not block us
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


async def collect(
    top: int,
    sink: ArtifactSink,
    patterns: Patterns,
    staged: StagedSnapshot | None = None,
    *,
    at_once: int = AT_ONCE,
) -> Collected:
    """Bring what scan.py finds below a workspace, of which this is a descriptor.

    Without patterns and without a record of what was staged, nothing is an artifact.
    """
    if not patterns and staged is None:
        return Collected()
    thread, crop = SerialThread("harvest"), WorkspaceReader(os.dup(top), patterns, staged)
    try:
        waiting = deque(await thread.run(crop.look))
        async with asyncio.TaskGroup() as tasks:
            for _ in range(min(at_once, len(waiting))):
                tasks.create_task(_bring_all(waiting, sink, crop, thread))
        artifacts = sorted(crop.artifacts, key=lambda each: each.path)
        errors = crop.errors.told()
        nothing = patterns and not (artifacts or crop.links or errors)
        return Collected(tuple(artifacts), errors, NO_FILE if nothing else "")
    finally:
        crop.stop.set()
        thread.submit(crop.close)
        thread.close()


async def _bring_all(
    waiting: deque[Found], sink: ArtifactSink, crop: "WorkspaceReader", thread: SerialThread
) -> None:
    while waiting:
        try:
            await _bring(waiting.popleft(), sink, crop, thread)
        except NotStored as why:
            crop.errors.add(str(why))


async def _bring(
    found: Found, sink: ArtifactSink, crop: "WorkspaceReader", thread: SerialThread
) -> None:
    if found.kind is Kind.FOLDER:
        await sink.folder(found.path)
        return
    place = found.path
    if found.kind is Kind.LINK:
        if await sink.link(found.path, found.target):
            crop.links += 1
            return
        place = await thread.run(partial(crop.resolve, found.path))
    if place:
        data = await thread.run(partial(crop.open, found.path, place))
        try:
            artifact = await thread.run(partial(crop.read, found.path, data))
            await sink.put(artifact, data)
        finally:
            thread.submit(partial(crop.shut, data))
        crop.artifacts.append(artifact)


class WorkspaceReader:
    """What is read of a workspace, in the thread of the errands."""

    def __init__(self, top: int, patterns: Patterns, staged: StagedSnapshot | None) -> None:
        self._top = top
        self._patterns = patterns
        self._staged = staged
        self._buffer = memoryview(bytearray(PIECE_BYTES))
        self._files: set[BinaryIO] = (
            set()
        )  # that are open, also for one who was cancelled meanwhile
        self.stop = Event()
        self.errors = Errors()
        self.artifacts: list[Artifact] = []
        self.links = 0  # that were kept as they are

    def look(self) -> list[Found]:
        """What is to be brought."""
        try:
            return Scan(self._patterns, self._staged, self.errors, self.stop.is_set).run(self._top)
        except OSError as error:
            self.errors.add(f"the workspace cannot be searched for artifacts: {error.strerror}")
            return []

    def resolve(self, path: str) -> str:
        """The path of the file in the workspace to which a link leads; "" if it leads to none."""
        with suppress(OSError):
            top = os.readlink(f"/proc/self/fd/{self._top}")
            real = os.path.realpath(f"{top}/{path}")
            if real.startswith(f"{top}/") and stat.S_ISREG(os.lstat(real).st_mode):
                return real.removeprefix(f"{top}/")
        if self._patterns.name(path):
            self.errors.add(f"artifact {path!r} is a link that leads to no file of the workspace")
        return ""

    def open(self, path: str, place: str) -> BinaryIO:
        """The file of an artifact, which the caller shuts. Raises NotKept."""
        above, _, name = place.rpartition("/")
        try:
            with Descent(self._top) as way:
                way.follow(above)
                data = open(name, "rb", opener=partial(_open, way.here))  # noqa: SIM115  # for shut()
        except OSError as error:
            raise _unreadable(path, error) from None
        self._files.add(data)
        return data

    def shut(self, data: BinaryIO) -> None:
        """Close a file."""
        self._files.discard(data)
        data.close()

    def read(self, path: str, data: BinaryIO) -> Artifact:
        """What is in a file, which is then at its beginning again. Raises NotKept."""
        try:
            state = os.fstat(data.fileno())
            if not stat.S_ISREG(state.st_mode):
                raise NotStored(f"artifact {path!r} is no file any more")
            return Artifact(
                path=path,
                size=state.st_size,
                sha256=self._digest(path, data, state.st_size),
                executable=bool(state.st_mode & stat.S_IXUSR),
            )
        except OSError as error:
            raise _unreadable(path, error) from None

    def close(self) -> None:
        """Close what is open."""
        while self._files:
            self._files.pop().close()
        os.close(self._top)

    def _digest(self, path: str, data: BinaryIO, size: int) -> str:
        """Of so many bytes; leaves the file at its beginning."""
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
