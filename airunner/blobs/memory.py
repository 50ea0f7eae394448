"""A blob store in memory: its blobs are lost when its process ends."""

from collections.abc import AsyncGenerator, Mapping

from airunner.blobs.blobs import BlobMissing, DigestChecker
from airunner.model.artifacts import Artifact
from airunner.model.errors import LimitReached
from airunner.model.jobs import JobId
from airunner.model.limits import ARTIFACT_CHUNK_BYTES, MEMORY_ARTIFACT_BYTES_TOTAL


class MemoryBlobs:
    """A blob store in memory with at most `size_max` bytes, uploads in progress included."""

    def __init__(self, size_max: int = MEMORY_ARTIFACT_BYTES_TOTAL) -> None:
        self.size = 0  # bytes of all blobs and of all uploads in progress
        self._size_max = size_max
        self._files: dict[JobId, dict[tuple[int, str], bytearray]] = {}

    async def create(self, id: JobId, attempt: int, artifact: Artifact) -> "_MemoryWriter":
        if self.size + artifact.size > self._size_max:
            raise LimitReached(
                f"the server has room for {self._size_max} bytes of artifacts in its memory, "
                f"uploads in progress included, and {self.size} are taken: try again later"
            )
        self.size += artifact.size
        return _MemoryWriter(self, id, attempt, artifact)

    async def read(
        self, id: JobId, attempt: int, artifact: Artifact, offset: int = 0
    ) -> AsyncGenerator[bytes, None]:
        data = self._files.get(id, {}).get((attempt, artifact.sha256))
        if data is None:
            raise BlobMissing(f"{artifact.path} of job {id} is not in memory")
        for at in range(offset, len(data), ARTIFACT_CHUNK_BYTES):
            yield bytes(memoryview(data)[at : at + ARTIFACT_CHUNK_BYTES])

    def delete(self, id: JobId, attempt: int, artifact: Artifact) -> None:
        files = self._files.get(id, {})
        self.size -= len(files.pop((attempt, artifact.sha256), b""))
        if not files:
            self._files.pop(id, None)

    def delete_job(self, id: JobId, attempt: int | None = None) -> None:
        files = self._files.pop(id, {})
        rest = {name: data for name, data in files.items() if attempt not in (None, name[0])}
        self.size -= sum(len(data) for name, data in files.items() if name not in rest)
        if rest:
            self._files[id] = rest

    async def collect_garbage(self, known: Mapping[JobId, int]) -> int:
        for id in list(self._files):
            for attempt in {attempt for attempt, _ in self._files[id]}:
                if known.get(id) != attempt:
                    self.delete_job(id, attempt)
        return sum(id not in self._files for id in known)

    async def close(self) -> None:
        self._files.clear()
        self.size = 0

    def put(self, id: JobId, attempt: int, artifact: Artifact, data: bytearray) -> bool:
        """Store a complete blob; returns whether it is new. create() has counted its size."""
        files = self._files.setdefault(id, {})
        if (attempt, artifact.sha256) in files:
            self.size -= len(data)
            return False
        files[attempt, artifact.sha256] = data
        return True


class _MemoryWriter:
    def __init__(self, blobs: MemoryBlobs, id: JobId, attempt: int, artifact: Artifact) -> None:
        self._blobs, self._id, self._attempt, self._artifact = blobs, id, attempt, artifact
        self._checker = DigestChecker(artifact)
        self._data = bytearray(artifact.size)
        self._open = True

    async def write(self, data: bytes) -> None:
        at = self._checker.size
        self._checker.add(data)
        self._data[at : at + len(data)] = data

    async def commit(self) -> bool:
        self._checker.check()
        self._open = False
        return self._blobs.put(self._id, self._attempt, self._artifact, self._data)

    def close(self) -> None:
        if self._open:
            self._open = False
            self._blobs.size -= self._artifact.size
        self._data = bytearray()
