"""Artifacts of simulated jobs: their content, their uploads, and the blob store on the disk.

A job with artifacts makes them at its end. Their content follows from the job's id and attempt, so
a reader can check every byte. All of it runs in virtual time.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from io import BytesIO
from random import Random
from typing import TYPE_CHECKING, BinaryIO, Final

from airunner.blobs.blobs import BlobWriter
from airunner.model.artifacts import Artifact
from airunner.model.errors import Refused, Unreachable
from airunner.model.jobs import Job, JobId, TaskToken
from airunner.server.artifacts import ArtifactService
from airunner.worker.workspace.workspace import ArtifactSink, Collected, NotStored
from tests.simulation.observations import Testimony
from tests.support.fake_commands import Room, Rooms

if TYPE_CHECKING:
    from tests.simulation.disk import Disk

BYTES_PER_JOB: Final = 30_000  # the server's limit: some jobs exceed it

Made = tuple[Artifact, bytes]
Ask = Callable[[Callable[[ArtifactService], Awaitable[None]]], Awaitable[None]]


def made_by(id: JobId, attempt: int) -> list[Made]:
    """The artifacts of an attempt that reaches its end."""
    dice, made = Random(f"{id} {attempt}"), list[Made]()
    for number in range(dice.choice([0, 1, 1, 2, 3, 5])):
        head = f"{id}.{attempt}.{number};".encode()
        data = head + b"x" * dice.choice([0, 10, 9_000, 16_000])
        digest = sha256(data).hexdigest()
        path = f"out/{dice.randrange(9)}/{number}"
        made.append((Artifact(path=path, size=len(data), sha256=digest), data))
    return made


class MakersRooms(Rooms):
    """Workspaces of jobs with artifacts."""

    def __init__(self, testimony: Testimony) -> None:
        super().__init__()
        self._testimony = testimony

    def make(self, job: Job) -> "MakersRoom":
        room = MakersRoom(self, job, self._testimony)
        self.open.append(room)
        return room


class MakersRoom(Room):
    def __init__(self, rooms: Rooms, job: Job, testimony: Testimony) -> None:
        super().__init__(rooms, job)
        self._attempt = job.id, job.attempt
        self._testimony = testimony

    async def collect(self, sink: ArtifactSink) -> Collected:
        kept, errors = list[Artifact](), list[str]()
        for artifact, data in made_by(*self._attempt):
            try:
                await sink.put(artifact, BytesIO(data))
            except NotStored as error:
                errors.append(str(error))
            else:
                kept.append(artifact)
                self._testimony.kept.append((self._attempt, artifact))
        return Collected(tuple(kept), tuple(errors))


class CallsShelf:
    """Uploads artifacts to the server; repeats an upload until the server answers."""

    def __init__(self, ask: Ask, token: TaskToken, dice: Random) -> None:
        self._ask, self._token, self._dice = ask, token, dice

    async def put(self, artifact: Artifact, data: BinaryIO) -> None:
        whole, again = data.read(), False
        while True:
            try:
                await self._ask(
                    lambda archive, again=again: archive.store(  # type: ignore[misc]  # bound now
                        self._token, artifact, self._chunks(whole), again=again
                    )
                )
                return
            except Unreachable:
                again = True
            except Refused as refusal:
                if refusal.status != "UNAVAILABLE":
                    raise NotStored(str(refusal)) from None
            await asyncio.sleep(self._dice.uniform(0.1, 2))

    async def folder(self, path: str) -> None:
        pass

    async def link(self, path: str, target: str) -> bool:
        return False

    async def _chunks(self, whole: bytes) -> AsyncIterator[bytes]:
        for at in range(0, len(whole), 4_000):
            await asyncio.sleep(self._dice.choice([0, 0.001, 0.02]))
            yield whole[at : at + 4_000]


class DiskDepot:
    """The blob store of a server life: the artifacts on the disk, until the server dies."""

    def __init__(self, disk: "Disk") -> None:
        self._disk = disk
        self._kept = disk.artifacts
        self._dead = False

    def die(self) -> None:
        self._dead = True

    async def create(self, id: JobId, attempt: int, artifact: Artifact) -> BlobWriter:
        return _SlowDeposit(self, await self._kept.create(id, attempt, artifact))

    def read(
        self, id: JobId, attempt: int, artifact: Artifact, offset: int = 0
    ) -> AsyncGenerator[bytes, None]:
        return self._kept.read(id, attempt, artifact, offset)

    def delete(self, id: JobId, attempt: int, artifact: Artifact) -> None:
        if not self._dead:
            self._kept.delete(id, attempt, artifact)

    def delete_job(self, id: JobId, attempt: int | None = None) -> None:
        if not self._dead:
            self._kept.delete_job(id, attempt)

    async def collect_garbage(self, known: Mapping[JobId, int]) -> int:
        missing = await self._kept.collect_garbage(known)
        assert not missing, f"{missing} jobs miss all of their artifacts"
        return missing

    async def close(self) -> None:
        pass

    async def pause(self) -> None:
        await asyncio.sleep(self._disk.pause())
        if self._dead:
            await asyncio.Event().wait()


class _SlowDeposit:
    def __init__(self, blobs: DiskDepot, inner: BlobWriter) -> None:
        self._blobs, self._inner = blobs, inner

    async def write(self, data: bytes) -> None:
        await self._blobs.pause()
        await self._inner.write(data)

    async def commit(self) -> bool:
        await self._blobs.pause()
        return await self._inner.commit()

    def close(self) -> None:
        self._inner.close()


@dataclass(frozen=True, slots=True)
class Leaving:
    """The workspaces of a worker's jobs, and the uploads of their artifacts."""

    rooms: Rooms
    uploads: Callable[[TaskToken], ArtifactSink]
