"""A blob store in a folder next to the log's file, for the log's owner alone.

    partial/RANDOM          on its way in
    JOB/ATTEMPT/SHA256      kept: synced under the first name, then renamed, then the folder synced
    trash/RANDOM            on its way out

Rules
- The event loop never waits for the disk. A few threads read and write; one thread alone makes and
  removes names, so that no folder goes while a file is put into it.
- No file stays open between two calls. So a caller may go away at any moment, a thread that is still at
  work for it does no harm, and how many files are open does not depend on how many callers there are.
- A name is made from a job's id, a number and a digest, each checked before: nothing that a client
  says is a path here. Symbolic links are not followed.
- To remove folders is to rename them into the trash, which takes no time; a thread of its own empties it,
  one file after the other, and the next start goes on with what is left. Only what has a job's id for its
  name is ever removed.
"""

import asyncio
import errno
import os
import re
import secrets
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from hashlib import sha256
from pathlib import Path
from typing import Final, Self, TypeVar

from airunner.blobs.blobs import BlobCorrupted, BlobMissing, DigestChecker
from airunner.model.artifacts import Artifact
from airunner.model.errors import LimitReached
from airunner.model.jobs import JobId
from airunner.model.limits import ARTIFACT_CHUNK_BYTES

T = TypeVar("T")

PARTIAL: Final = "partial"
TRASH: Final = "trash"
_THREADS: Final = 4
_NO_ROOM: Final = (errno.ENOSPC, errno.EDQUOT)
_JOB: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def blobs_folder(path: Path) -> Path:
    """The folder of the artifacts of the log at this path."""
    return path.with_name(f"{path.name}-artifacts")


def blob_path(folder: Path, id: str, attempt: int, artifact: Artifact) -> Path:
    """Where a blob store's folder has a file."""
    assert id not in ("", ".", "..", PARTIAL, TRASH)
    assert "/" not in id
    return folder / id / str(attempt) / artifact.sha256


class FolderBlobs:
    """The blob store in one folder, which is this object's alone until close().

    Use open(). `sync`: what keep() has returned for outlives a power cut, not only a kill. `room`
    raises LimitReached if there is none on the disk for so many more bytes.
    """

    def __init__(
        self, folder: Path, *, sync: bool = True, room: Callable[[int], None] = lambda size: None
    ) -> None:
        self.folder = folder
        self._sync = sync
        self._room = room
        self._coming = 0  # bytes that were said and have not come yet
        self._jobs: set[JobId] = set()  # that have a folder
        self._data = ThreadPoolExecutor(_THREADS, "blobs-data")
        self._names = ThreadPoolExecutor(1, "blobs-names")
        self._trash = ThreadPoolExecutor(1, "blobs-trash")
        self._closing = False

    @classmethod
    def open(
        cls,
        folder: Path,
        *,
        sync: bool = True,
        room: Callable[[int], None] = lambda size: None,
    ) -> Self:
        """The blob store in this folder, which is made if it is not there; OSError if it cannot be.

        What was on its way in when a server ended is removed.
        """
        for each in (folder, folder / PARTIAL, folder / TRASH):
            each.mkdir(0o700, exist_ok=True)
            each.chmod(0o700)
        _throw_away(folder, PARTIAL)
        (folder / PARTIAL).mkdir(0o700)
        if sync:
            sync_folder(folder)
            sync_folder(folder.parent)
        return cls(folder, sync=sync, room=room)

    async def create(self, id: JobId, attempt: int, artifact: Artifact) -> "_FileWriter":
        self._room(self._coming + artifact.size)
        incoming = _FileWriter(self, id, attempt, artifact)
        await incoming.begin()
        return incoming

    async def read(
        self, id: JobId, attempt: int, artifact: Artifact, offset: int = 0
    ) -> AsyncGenerator[bytes, None]:
        place, digest, at = blob_path(self.folder, id, attempt, artifact), sha256(), offset
        while chunk := await asyncio.wrap_future(self.submit(_chunk, place, artifact, at)):
            at += len(chunk)
            if not offset:
                await asyncio.wrap_future(self.submit(digest.update, chunk))
                if at == artifact.size and digest.hexdigest() != artifact.sha256:
                    raise BlobCorrupted(f"{place} has another digest than what was kept")
            yield chunk

    def delete(self, id: JobId, attempt: int, artifact: Artifact) -> None:
        self._names.submit(_unlink, blob_path(self.folder, id, attempt, artifact))

    def delete_job(self, id: JobId, attempt: int | None = None) -> None:
        if id not in self._jobs:
            return
        if attempt is None:
            self._jobs.discard(id)
        self._names.submit(self._delete_job, id, attempt)

    async def collect_garbage(self, known: Mapping[JobId, int]) -> int:
        self._jobs = await _on(self._names, _sweep, self.folder, known)
        self._trash.submit(self._empty)
        return len(known.keys() - self._jobs)

    async def wait_for_removals(self) -> None:
        """Return when what was to be removed is gone."""
        await _on(self._names, bool)
        await _on(self._trash, self._empty)

    async def close(self) -> None:
        for pool in (self._data, self._names):
            await asyncio.to_thread(pool.shutdown)
        self._closing = True
        await asyncio.to_thread(self._trash.shutdown)

    def submit(self, work: Callable[..., T], *args: object) -> "Future[T]":
        """Begin something with a file's bytes, on a thread."""
        return self._data.submit(work, *args)

    async def publish(self, partial: Path, id: JobId, attempt: int, artifact: Artifact) -> bool:
        """Give a whole file its name for good; whether there was none of that name."""
        self._jobs.add(id)
        place = blob_path(self.folder, id, attempt, artifact)
        return await _on(self._names, _name, partial, place, self._sync)

    def delete_partial(self, partial: Path) -> None:
        """Remove what has not come whole, soon."""
        self._names.submit(_unlink, partial)

    def reserve(self, size: int) -> None:
        """So many more bytes are to come, or fewer."""
        self._coming += size

    # On threads

    def _delete_job(self, id: JobId, attempt: int | None) -> None:
        _throw_away(self.folder, id if attempt is None else f"{id}/{attempt}")
        with suppress(OSError):
            (self.folder / id).rmdir()
        self._trash.submit(self._empty)

    def _empty(self) -> None:
        """Remove what is in the trash, until the blob store is closed."""
        for folder, folders, files in os.walk(self.folder / TRASH, topdown=False):
            for remove, names in ((os.unlink, files), (os.rmdir, folders)):
                for name in names:
                    if self._closing:
                        return
                    with suppress(OSError):
                        remove(os.path.join(folder, name))

    @property
    def syncs(self) -> bool:
        return self._sync


class _FileWriter:
    def __init__(self, blobs: FolderBlobs, id: JobId, attempt: int, artifact: Artifact) -> None:
        self._blobs, self._id, self._attempt, self._artifact = blobs, id, attempt, artifact
        self._tally = DigestChecker(artifact)
        self._partial = blobs.folder / PARTIAL / secrets.token_hex(16)
        self._expected = artifact.size
        self._open = True
        self._last: Future[None] | None = None  # of what was begun with the file
        blobs.reserve(self._expected)

    async def begin(self) -> None:
        try:
            with disk_full_as_refusal():
                await self._do(_create, self._partial)
        except BaseException:
            self.close()
            raise

    async def write(self, data: bytes) -> None:
        at = self._tally.size
        with disk_full_as_refusal():
            await self._do(self._put, data, at)
        self._expect_less(len(data))

    async def commit(self) -> bool:
        with disk_full_as_refusal():
            await self._do(self._finish)
            new = await self._blobs.publish(self._partial, self._id, self._attempt, self._artifact)
        self._open = False
        return new

    def close(self) -> None:
        self._expect_less(self._expected)
        if self._open:
            self._open = False
            if self._last is not None:  # which a caller who went away has left at work, perhaps
                self._last.add_done_callback(lambda _: self._blobs.delete_partial(self._partial))

    async def _do(self, work: Callable[..., None], *args: object) -> None:
        self._last = self._blobs.submit(work, *args)
        await asyncio.wrap_future(self._last)

    def _expect_less(self, size: int) -> None:
        self._expected -= size
        self._blobs.reserve(-size)

    # On a thread

    def _put(self, data: bytes, at: int) -> None:
        self._tally.add(data)
        with _opened(self._partial, os.O_WRONLY) as file:
            while data:
                written = os.pwrite(file, data, at)
                data, at = data[written:], at + written

    def _finish(self) -> None:
        self._tally.check()
        if self._blobs.syncs:
            with _opened(self._partial, os.O_WRONLY) as file:
                os.fsync(file)


async def _on(pool: ThreadPoolExecutor, work: Callable[..., T], *args: object) -> T:
    return await asyncio.get_running_loop().run_in_executor(pool, work, *args)


# On a thread


@contextmanager
def _opened(path: Path, flags: int) -> Iterator[int]:
    file = os.open(path, flags | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        yield file
    finally:
        os.close(file)


@contextmanager
def disk_full_as_refusal() -> Iterator[None]:
    """LimitReached where the disk has no room."""
    try:
        yield
    except OSError as error:
        if error.errno not in _NO_ROOM:
            raise
        raise LimitReached(
            "the server's disk has no room for the artifact: try again later"
        ) from error


def _create(partial: Path) -> None:
    with _opened(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL):
        pass


def _chunk(place: Path, artifact: Artifact, at: int) -> bytes:
    """The bytes from an offset on; b"": there are no more."""
    try:
        with _opened(place, os.O_RDONLY) as file:
            if (size := os.fstat(file).st_size) != artifact.size:
                raise BlobCorrupted(f"{place} has {size} bytes, and {artifact.size} were kept")
            return os.pread(file, ARTIFACT_CHUNK_BYTES, at)
    except FileNotFoundError:
        raise BlobMissing(f"{place} is not there") from None
    except OSError as error:
        raise BlobCorrupted(f"{place} cannot be read: {error.strerror}") from error


def _name(partial: Path, place: Path, sync: bool) -> bool:
    attempt, job = place.parent, place.parent.parent
    for folder in (job, attempt):
        with suppress(FileExistsError):
            folder.mkdir(0o700)
            if sync:
                sync_folder(folder.parent)
    new = not place.exists()
    partial.rename(place)
    if sync:
        sync_folder(attempt)
    return new


def sync_folder(folder: Path) -> None:
    """Make the names in a folder outlive a power cut."""
    with _opened(folder, os.O_RDONLY | os.O_DIRECTORY) as file:
        os.fsync(file)


def _unlink(file: Path) -> None:
    """Remove a file, and the folders that are empty without it."""
    with suppress(OSError):
        file.unlink()
    if file.parent.name != PARTIAL:
        with suppress(OSError):
            file.parent.rmdir()
            file.parent.parent.rmdir()


def _throw_away(folder: Path, name: str) -> None:
    """Have a folder of the blob store be in the trash, if it is there."""
    with suppress(FileNotFoundError):
        (folder / name).rename(folder / TRASH / secrets.token_hex(16))


def _sweep(folder: Path, known: Mapping[JobId, int]) -> set[JobId]:
    """Remove all that is not of these attempts; which jobs have something left."""
    jobs: set[JobId] = set()
    with os.scandir(folder) as entries:
        there = [
            each.path
            for each in entries
            if _JOB.fullmatch(each.name) and each.is_dir(follow_symlinks=False)
        ]
    for job in there:
        id = JobId(os.path.basename(job))
        latest = str(known.get(id, ""))
        attempts = os.listdir(job) if latest else ()
        if latest not in attempts:
            _throw_away(folder, id)
            continue
        jobs.add(id)
        for attempt in attempts:
            if attempt != latest:
                _throw_away(folder, f"{id}/{attempt}")
    return jobs
