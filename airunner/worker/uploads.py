"""Artifacts on their way from an attempt to the server that leased it."""

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
    """A worker's connection for artifacts, made when the first job has some."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._client: ArtifactsClient | None = None

    def __call__(self, token: TaskToken) -> "UploadSink":
        """The shelf of the attempt whose lease this token stands for."""
        if self._client is None:
            # A server that is away may come back for as long as the lease holds
            self._client = ArtifactsClient(self._endpoint, patience=inf)
        return UploadSink(self._client, token)

    async def close(self) -> None:
        if self._client:
            await self._client.close()


class UploadSink:
    """What the server keeps of one attempt; Shelf.

    A put goes on over lost connections and restarts of the server, until it is cancelled.
    """

    def __init__(self, client: ArtifactsClient, token: TaskToken) -> None:
        self._client = client
        self._token = token

    async def put(self, artifact: Artifact, data: BinaryIO) -> None:
        """As Shelf.put."""
        said = io.BufferedReader(_Beginning(data, artifact.size))
        try:
            await self._client.upload(self._token, artifact, said)
        except Refused as refusal:
            why = refusal.why if isinstance(refusal, InvalidRequest) else refusal
            raise NotStored(
                f"artifact {artifact.path!r} was not kept by the server: {why}"
            ) from None
        except OSError as error:
            raise NotStored(
                f"artifact {artifact.path!r} cannot be read: {error.strerror}"
            ) from None

    async def folder(self, path: str) -> None:
        """As Shelf.folder: a server keeps files."""

    async def link(self, path: str, target: str) -> bool:
        """As Shelf.link."""
        return False


class _Beginning(io.RawIOBase):
    """The first bytes of a file that may have grown; closing it leaves the file open."""

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

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]  # what it is given
        data = self._file.read(min(len(buffer), self._size - self._at))
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)
