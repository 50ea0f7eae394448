"""The upload of an attempt's artifacts to the server that leased the job."""

import io
from math import inf
from typing import BinaryIO

from airunner.model.artifacts import Artifact
from airunner.model.errors import InvalidRequest, Refused
from airunner.model.jobs import TaskToken
from airunner.wire.client.artifacts_client import ArtifactsClient
from airunner.wire.client.endpoint import Endpoint
from airunner.worker.workspace.workspace import NotStored


class Uploads:
    """A worker's connection for artifacts, opened for the first job that has artifacts."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._client: ArtifactsClient | None = None

    def __call__(self, token: TaskToken) -> "UploadSink":
        """Creates the artifact sink of the attempt that holds the lease with this token."""
        if self._client is None:
            # An unreachable server may come back while the lease lasts
            self._client = ArtifactsClient(self._endpoint, patience=inf)
        return UploadSink(self._client, token)

    async def close(self) -> None:
        if self._client:
            await self._client.close()


class UploadSink:
    """The artifacts of one attempt on the server; implements ArtifactSink.

    A put survives lost connections and restarts of the server, until it is cancelled.
    """

    def __init__(self, client: ArtifactsClient, token: TaskToken) -> None:
        self._client = client
        self._token = token

    async def put(self, artifact: Artifact, data: BinaryIO) -> None:
        """Uploads a file; see ArtifactSink.put."""
        content = io.BufferedReader(_Prefix(data, artifact.size))
        try:
            await self._client.upload(self._token, artifact, content)
        except Refused as refusal:
            why = refusal.why if isinstance(refusal, InvalidRequest) else refusal
            raise NotStored(
                f"artifact {artifact.path!r} was not stored by the server: {why}"
            ) from None
        except OSError as error:
            raise NotStored(
                f"artifact {artifact.path!r} cannot be read: {error.strerror}"
            ) from None

    async def folder(self, path: str) -> None:
        """Does nothing: a server stores files only. See ArtifactSink.folder."""

    async def link(self, path: str, target: str) -> bool:
        """Returns False: a server stores files only. See ArtifactSink.link."""
        return False


class _Prefix(io.RawIOBase):
    """The first `size` bytes of a file that may have grown; close() leaves the file open."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        super().__init__()
        self._file = file
        self._size = size
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        assert whence == io.SEEK_SET
        self._at = self._file.seek(offset)
        return self._at

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]  # BufferedReader passes a memoryview
        data = self._file.read(min(len(buffer), self._size - self._at))
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)
