"""Where the bytes of artifacts lie, beside the log that says which there are.

The log is the truth: an artifact exists once its fact is in the log, and its bytes are under their
name before that. So a crash may leave bytes that no fact names, which the next start sweeps away,
and never a fact without its bytes.
"""

from collections.abc import AsyncGenerator, Mapping
from hashlib import sha256
from typing import Protocol

from airunner.model.artifacts import Artifact
from airunner.model.errors import InvalidRequest
from airunner.model.jobs import JobId


class BlobMissing(Exception):
    """No such file is in the blob store; says what was looked for."""


class BlobCorrupted(Exception):
    """A file in the blob store is not what was kept; says how it differs."""


class BlobWriter(Protocol):
    """One file on its way into a blob store. Until keep() has returned, nobody sees it."""

    async def write(self, data: bytes) -> None:
        """Add to it. Raises InvalidRequest past the size that was said, LimitReached without room."""
        ...

    async def commit(self) -> bool:
        """Have it under its name for good; whether there was no file of that name yet.

        Raises InvalidRequest if size or digest are not those that were said, LimitReached
        without room.
        """
        ...

    def close(self) -> None:
        """Let go of it; what was not kept is gone. Once is enough."""
        ...


class BlobStore(Protocol):
    """Files by job, attempt and digest. A file is written once, and then stays as it is."""

    async def create(self, id: JobId, attempt: int, artifact: Artifact) -> BlobWriter:
        """Begin with a file that an attempt has left; the caller closes it.

        Raises LimitReached if there is no room for all of it.
        """
        ...

    def read(
        self, id: JobId, attempt: int, artifact: Artifact, offset: int = 0
    ) -> AsyncGenerator[bytes, None]:
        """The file from an offset on, at most ARTIFACT_CHUNK_BYTES at a time.

        Raises NotThere, or Altered if it has another size; from the beginning on also, once all of it
        was read, if it has another digest.
        """
        ...

    def delete(self, id: JobId, attempt: int, artifact: Artifact) -> None:
        """Remove one file, soon."""
        ...

    def delete_job(self, id: JobId, attempt: int | None = None) -> None:
        """Remove all that a job has left, or one attempt of it, soon."""
        ...

    async def collect_garbage(self, known: Mapping[JobId, int]) -> int:
        """Before anything else: remove all but what these attempts of these jobs have left.

        Returns how many of these jobs have nothing here, though they should.
        """
        ...

    async def close(self) -> None:
        """Finish what is under way. Nobody uses it any more."""
        ...


class DigestChecker:
    """Holds bytes as they come against what was said of them."""

    def __init__(self, artifact: Artifact) -> None:
        self._artifact = artifact
        self._digest = sha256()
        self.size = 0

    @property
    def missing(self) -> int:
        """Bytes that are yet to come."""
        return self._artifact.size - self.size

    def add(self, data: bytes) -> None:
        """Count bytes in; InvalidRequest if they are more than was said."""
        if len(data) > self.missing:
            raise InvalidRequest(
                "data", f"{self._artifact.path} has more than the {self._artifact.size} bytes said"
            )
        self._digest.update(data)
        self.size += len(data)

    def check(self) -> None:
        """Raise InvalidRequest unless all is there and is what it should be."""
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
        """Whether the digest so far is that of the whole."""
        return self._digest.hexdigest() == self._artifact.sha256
