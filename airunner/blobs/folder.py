"""A blob store in a folder next to the log's file. Only the owner of the log may access it.

    partial/RANDOM          an upload in progress
    JOB/ATTEMPT/SHA256      a blob: synced as partial/RANDOM, then renamed, then the folder synced
    trash/RANDOM            a folder to be removed

Rules
- The event loop never waits for the disk. A few threads read and write files. A single thread
  creates and removes names, so that no folder is removed while a file is moved into it.
- No file stays open between two calls. So a caller may be cancelled at any moment, a thread that
  still works for it does no harm, and the number of open files is independent of the callers.
- A path is made of a job's id, a number and a digest, each validated: no text of a client becomes
  a path here. Symbolic links are not followed below the folder; the folder itself, or one above it,
  may be a link to another disk.
- A folder is removed by a rename into the trash, which takes no time. A thread of its own deletes
  the files in the trash one by one; the next start deletes the rest. Only folders that are named
  like a job's id are ever removed.
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
_DISK_FULL: Final = (errno.ENOSPC, errno.EDQUOT)
_JOB: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def blobs_folder(path: Path) -> Path:
    """The folder of the blobs that belong to the log at `path`."""
    return path.with_name(f"{path.name}-artifacts")


def blob_path(folder: Path, id: str, attempt: int, artifact: Artifact) -> Path:
    """The path of a blob in the folder of a blob store."""
    assert id not in ("", ".", "..", PARTIAL, TRASH)
    assert "/" not in id
    return folder / id / str(attempt) / artifact.sha256


class FolderBlobs:
    """The blob store in one folder. Nothing else may write to the folder until close().

    Create it with open(). `sync`: a committed blob survives a power cut, not only a kill of the
    process. `check_space` raises LimitReached if the disk has no room for that many more bytes.
    """

    def __init__(
        self,
        folder: Path,
        *,
        sync: bool = True,
        check_space: Callable[[int], None] = lambda size: None,
    ) -> None:
        self.folder = folder
        self._sync = sync
        self._check_space = check_space
        self._reserved = 0  # bytes of the uploads in progress that have not arrived yet
        self._jobs: set[JobId] = set()  # jobs with a folder here
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
        check_space: Callable[[int], None] = lambda size: None,
    ) -> Self:
        """Open the blob store in a folder; creates the folder if it is missing. Raises OSError.

        Removes the unfinished uploads of an earlier server.
        """
        for each in (folder, folder / PARTIAL, folder / TRASH):
            each.mkdir(0o700, exist_ok=True)
            each.chmod(0o700)
        folder = folder.resolve()  # sync_folder() opens no link
        _move_to_trash(folder, PARTIAL)
        (folder / PARTIAL).mkdir(0o700)
        if sync:
            sync_folder(folder)
            sync_folder(folder.parent)
        return cls(folder, sync=sync, check_space=check_space)

    async def create(self, id: JobId, attempt: int, artifact: Artifact) -> "_FileWriter":
        self._check_space(self._reserved + artifact.size)
        writer = _FileWriter(self, id, attempt, artifact)
        await writer.begin()
        return writer

    async def read(
        self, id: JobId, attempt: int, artifact: Artifact, offset: int = 0
    ) -> AsyncGenerator[bytes, None]:
        path, digest, at = blob_path(self.folder, id, attempt, artifact), sha256(), offset
        while chunk := await asyncio.wrap_future(self.submit(_read_chunk, path, artifact, at)):
            at += len(chunk)
            if not offset:
                await asyncio.wrap_future(self.submit(digest.update, chunk))
                if at == artifact.size and digest.hexdigest() != artifact.sha256:
                    raise BlobCorrupted(f"{path} has another digest than its artifact")
            yield chunk

    def delete(self, id: JobId, attempt: int, artifact: Artifact) -> None:
        self._names.submit(_delete, blob_path(self.folder, id, attempt, artifact))

    def delete_job(self, id: JobId, attempt: int | None = None) -> None:
        if id not in self._jobs:
            return
        if attempt is None:
            self._jobs.discard(id)
        self._names.submit(self._delete_job, id, attempt)

    async def collect_garbage(self, known: Mapping[JobId, int]) -> int:
        self._jobs = await _run_on(self._names, _collect_garbage, self.folder, known)
        self._trash.submit(self._empty)
        return len(known.keys() - self._jobs)

    async def wait_for_removals(self) -> None:
        """Wait until the deletions so far are complete on the disk."""
        await _run_on(self._names, bool)
        await _run_on(self._trash, self._empty)

    async def close(self) -> None:
        for pool in (self._data, self._names):
            await asyncio.to_thread(pool.shutdown)
        self._closing = True
        await asyncio.to_thread(self._trash.shutdown)

    def submit(self, work: Callable[..., T], *args: object) -> "Future[T]":
        """Run a function that reads or writes a file's bytes on one of the data threads."""
        return self._data.submit(work, *args)

    async def publish(self, partial: Path, id: JobId, attempt: int, artifact: Artifact) -> bool:
        """Rename a complete upload to its blob's path; returns whether the blob is new."""
        self._jobs.add(id)
        path = blob_path(self.folder, id, attempt, artifact)
        return await _run_on(self._names, _publish, partial, path, self._sync)

    def delete_partial(self, partial: Path) -> None:
        """Remove an unfinished upload in the background."""
        self._names.submit(_delete, partial)

    def reserve(self, size: int) -> None:
        """Reserve disk space for bytes to come; a negative size releases a reservation."""
        self._reserved += size

    # On threads

    def _delete_job(self, id: JobId, attempt: int | None) -> None:
        _move_to_trash(self.folder, id if attempt is None else f"{id}/{attempt}")
        with suppress(OSError):
            (self.folder / id).rmdir()
        self._trash.submit(self._empty)

    def _empty(self) -> None:
        """Delete the files and folders in the trash, until the blob store is closed."""
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
        self._checker = DigestChecker(artifact)
        self._partial = blobs.folder / PARTIAL / secrets.token_hex(16)
        self._expected = artifact.size
        self._open = True
        self._last: Future[None] | None = None  # the last operation on the file
        blobs.reserve(self._expected)

    async def begin(self) -> None:
        try:
            with disk_full_as_refusal():
                await self._do(_create, self._partial)
        except BaseException:
            self.close()
            raise

    async def write(self, data: bytes) -> None:
        at = self._checker.size
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
            if self._last is not None:  # may still be running, if the caller was cancelled
                self._last.add_done_callback(lambda _: self._blobs.delete_partial(self._partial))

    async def _do(self, work: Callable[..., None], *args: object) -> None:
        self._last = self._blobs.submit(work, *args)
        await asyncio.wrap_future(self._last)

    def _expect_less(self, size: int) -> None:
        self._expected -= size
        self._blobs.reserve(-size)

    # On a thread

    def _put(self, data: bytes, at: int) -> None:
        self._checker.add(data)
        with _opened(self._partial, os.O_WRONLY) as file:
            while data:
                written = os.pwrite(file, data, at)
                data, at = data[written:], at + written

    def _finish(self) -> None:
        self._checker.check()
        if self._blobs.syncs:
            with _opened(self._partial, os.O_WRONLY) as file:
                os.fsync(file)


async def _run_on(pool: ThreadPoolExecutor, work: Callable[..., T], *args: object) -> T:
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
    """Turn the OSError of a full disk or quota into LimitReached."""
    try:
        yield
    except OSError as error:
        if error.errno not in _DISK_FULL:
            raise
        raise LimitReached(
            "the server's disk has no room for the artifact: try again later"
        ) from error


def _create(partial: Path) -> None:
    with _opened(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL):
        pass


def _read_chunk(path: Path, artifact: Artifact, at: int) -> bytes:
    """One chunk of a blob from an offset on; b"": the end of the blob."""
    try:
        with _opened(path, os.O_RDONLY) as file:
            if (size := os.fstat(file).st_size) != artifact.size:
                raise BlobCorrupted(f"{path} has {size} bytes instead of {artifact.size}")
            return os.pread(file, ARTIFACT_CHUNK_BYTES, at)
    except FileNotFoundError:
        raise BlobMissing(f"{path} does not exist") from None
    except OSError as error:
        raise BlobCorrupted(f"{path} cannot be read: {error.strerror}") from error


def _publish(partial: Path, path: Path, sync: bool) -> bool:
    attempt, job = path.parent, path.parent.parent
    for folder in (job, attempt):
        with suppress(FileExistsError):
            folder.mkdir(0o700)
            if sync:
                sync_folder(folder.parent)
    new = not path.exists()
    partial.rename(path)
    if sync:
        sync_folder(attempt)
    return new


def sync_folder(folder: Path) -> None:
    """Sync a folder, so that the names in it survive a power cut. Raises OSError for a link."""
    with _opened(folder, os.O_RDONLY | os.O_DIRECTORY) as file:
        os.fsync(file)


def _delete(file: Path) -> None:
    """Remove a file, then its attempt's and its job's folder if they are empty."""
    with suppress(OSError):
        file.unlink()
    if file.parent.name != PARTIAL:
        with suppress(OSError):
            file.parent.rmdir()
            file.parent.parent.rmdir()


def _move_to_trash(folder: Path, name: str) -> None:
    """Move a folder of the blob store into the trash, if it exists."""
    with suppress(FileNotFoundError):
        (folder / name).rename(folder / TRASH / secrets.token_hex(16))


def _collect_garbage(folder: Path, known: Mapping[JobId, int]) -> set[JobId]:
    """Move all folders but those of the known attempts into the trash; returns the jobs left."""
    jobs: set[JobId] = set()
    with os.scandir(folder) as entries:
        found = [
            each.path
            for each in entries
            if _JOB.fullmatch(each.name) and each.is_dir(follow_symlinks=False)
        ]
    for job in found:
        id = JobId(os.path.basename(job))
        latest = str(known.get(id, ""))
        attempts = os.listdir(job) if latest else ()
        if latest not in attempts:
            _move_to_trash(folder, id)
            continue
        jobs.add(id)
        for attempt in attempts:
            if attempt != latest:
                _move_to_trash(folder, f"{id}/{attempt}")
    return jobs
