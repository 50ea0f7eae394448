"""The blob store: the interface of the storage of artifacts' bytes.

The log is the authority: an artifact exists once its fact is in the log, and its blob is committed
before that. So a crash may leave a blob without a fact, which the next start collects as garbage,
but never a fact without its blob.
"""

from collections.abc import AsyncGenerator, Mapping
from hashlib import sha256
from typing import Protocol

from airunner.model.artifacts import Artifact
from airunner.model.errors import InvalidRequest
from airunner.model.jobs import JobId


class BlobMissing(Exception):
    """The blob store has no such blob; the message names the blob."""


class BlobCorrupted(Exception):
    """A blob is unreadable, or its size or digest is not the artifact's; the message says which."""


class BlobWriter(Protocol):
    """A blob in upload. It is invisible to readers until commit() returns."""

    async def write(self, data: bytes) -> None:
        """Append bytes. Raises InvalidRequest above the artifact's size, LimitReached if full."""
        ...

    async def commit(self) -> bool:
        """Store the blob; returns whether it is new (False: the same blob was stored before).

        Raises InvalidRequest if the size or the digest is not the artifact's, LimitReached
        if the store is full.
        """
        ...

    def close(self) -> None:
        """Close the writer; without a commit() the written bytes are discarded. Idempotent."""
        ...


class BlobStore(Protocol):
    """Immutable blobs, addressed by job, attempt and digest."""

    async def create(self, id: JobId, attempt: int, artifact: Artifact) -> BlobWriter:
        """Begin the upload of an artifact; the caller closes the writer.

        Raises LimitReached if the store has no room for the artifact's size.
        """
        ...

    def read(
        self, id: JobId, attempt: int, artifact: Artifact, offset: int = 0
    ) -> AsyncGenerator[bytes, None]:
        """The bytes of a blob from an offset on, in chunks of at most ARTIFACT_CHUNK_BYTES.

        Raises BlobMissing; BlobCorrupted if the size differs, or, in a read from offset 0, if the
        digest differs, which shows at the end.
        """
        ...

    def delete(self, id: JobId, attempt: int, artifact: Artifact) -> None:
        """Delete one blob in the background."""
        ...

    def delete_job(self, id: JobId, attempt: int | None = None) -> None:
        """Delete all blobs of a job, or of one of its attempts, in the background."""
        ...

    async def collect_garbage(self, known: Mapping[JobId, int]) -> int:
        """Delete every blob but those of the known jobs' attempts. The first call after a start.

        Returns the number of known jobs without a blob: each has lost its artifacts.
        """
        ...

    async def close(self) -> None:
        """Finish the running operations and release the store."""
        ...


class DigestChecker:
    """Compares the bytes of an upload with the size and the digest of its artifact."""

    def __init__(self, artifact: Artifact) -> None:
        self._artifact = artifact
        self._digest = sha256()
        self.size = 0

    @property
    def missing(self) -> int:
        """The number of bytes that have not arrived yet."""
        return self._artifact.size - self.size

    def add(self, data: bytes) -> None:
        """Add bytes. Raises InvalidRequest above the artifact's size."""
        if len(data) > self.missing:
            raise InvalidRequest(
                "data", f"{self._artifact.path} has more than the {self._artifact.size} bytes said"
            )
        self._digest.update(data)
        self.size += len(data)

    def check(self) -> None:
        """Raise InvalidRequest unless the size and the digest are the artifact's."""
        if self.missing:
            raise InvalidRequest(
                "data",
                f"{self._artifact.path} ends after {self.size} of {self._artifact.size} bytes",
            )
        if not self.matches:
            raise InvalidRequest(
                "artifact.sha256", f"the bytes of {self._artifact.path} have another digest"
            )

    @property
    def matches(self) -> bool:
        """Whether the digest of the bytes so far is the artifact's."""
        return self._digest.hexdigest() == self._artifact.sha256
