"""Artifacts of jobs: facts in the log, bytes in a blob store, and the order between the two.

An upload has five steps. The lease is looked up and room is made. The bytes arrive in a nameless file.
Size and digest are compared with the claim, and the file is synced. The file gets its name. The fact
enters the log, under the same fence as every report of a worker. An answered upload therefore survives
a crash, and no reader sees a partial file.

Bytes are removed after the fact that voids them is durable: the return of an attempt, the removal of
a job, the eviction of artifacts.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Hashable, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager, closing
from typing import Final, TypeVar

from airunner.blobs.blobs import BlobCorrupted, BlobMissing, BlobStore
from airunner.log.log import LogDamaged
from airunner.model.artifacts import Artifact
from airunner.model.errors import (
    InvalidRequest,
    Refused,
    ShuttingDown,
    UnknownArtifact,
    Unreachable,
)
from airunner.model.facts import (
    ArtifactKept,
    ArtifactsDropped,
    Event,
    Forgotten,
    Leased,
    Returned,
)
from airunner.model.jobs import JobId, TaskToken
from airunner.model.jobs import Sequence as EventSequence
from airunner.model.limits import (
    TRANSFER_SILENT_SECONDS_MAX,
    TRANSFER_WAIT_SECONDS_MAX,
    TRANSFERS_MAX,
)
from airunner.server.broker import Broker
from airunner.server.client_calls import ClientCalls
from airunner.server.fairness.transfers import FairTransfers, Transfer
from airunner.server.outbox import EventListener
from airunner.server.worker_calls import WorkerCalls

T = TypeVar("T")

Name = tuple[JobId, int, str]
Left = tuple[int, Mapping[str, Artifact]]

_END: Final = b""  # no more bytes: no chunk is empty


class ArtifactService:
    """Stores, lists and reads the artifacts of one server's jobs.

    `wait` is the time in seconds for which a transfer waits before slow transfers end for it.
    """

    def __init__(
        self, broker: Broker, blobs: BlobStore, *, wait: float = TRANSFER_WAIT_SECONDS_MAX
    ) -> None:
        self._broker = broker
        self._clients = ClientCalls(broker)
        self._calls = WorkerCalls(broker)
        self._blobs = blobs
        # Separate limits, so that a slow download blocks no upload of a worker.
        self._bringing = FairTransfers(TRANSFERS_MAX, wait=wait)
        self._fetching = FairTransfers(TRANSFERS_MAX, wait=wait)
        self._naming: Counter[Name] = Counter()  # files with a name and without a fact
        self._read: tuple[tuple[JobId, EventSequence], Left] | None = (
            None  # the last list of a job, and the sequence that it is of
        )

    async def store(
        self,
        token: TaskToken,
        artifact: Artifact,
        data: AsyncIterator[bytes],
        *,
        holder: Hashable = None,
        again: bool = False,
    ) -> None:
        """Stores a file of the attempt that has this token; returns once the file is durable.

        `again` says that an earlier call, whose answer was lost, may have stored it. Raises
        StaleLease, LimitReached, InvalidRequest, ShuttingDown, and Unreachable if no byte arrives
        for TRANSFER_SILENT_SECONDS_MAX, or too few while other holders wait.
        """
        async with self._turn(self._bringing, holder) as transfer:
            job = self._calls.held_by(token)
            if again and artifact in await self.list(job.id):
                return
            await self._calls.make_artifact_room(token, artifact.size)
            with closing(await self._blobs.create(job.id, job.attempt, artifact)) as deposit:
                while chunk := await in_time(_next(data), transfer):
                    transfer.moved += len(chunk)
                    await deposit.write(chunk)
                name = (job.id, job.attempt, artifact.sha256)
                self._naming[name] += 1
                try:
                    new = await deposit.commit()
                    self._record(token, artifact, name, new=new)
                finally:
                    self._naming -= Counter([name])
            await self._broker.after_durable(None)

    async def list(self, id: JobId) -> list[Artifact]:
        """The artifacts of a job's latest attempt, by path. Raises UnknownJob."""
        _, left = await self._left(id)
        return [left[path] for path in sorted(left)]

    @asynccontextmanager
    async def opened(
        self, id: JobId, path: str, *, holder: Hashable = None
    ) -> AsyncIterator["OpenArtifact"]:
        """One artifact of a job's latest attempt; retention spares the job within the block.

        Raises UnknownJob, UnknownArtifact, ShuttingDown.
        """
        async with self._turn(self._fetching, holder) as transfer:
            with self._broker.pins.pin(id):
                attempt, left = await self._left(id)
                if path not in left:
                    raise UnknownArtifact(id, path)
                yield OpenArtifact(self._clients, self._blobs, id, attempt, left[path], transfer)

    async def _left(self, id: JobId) -> Left:
        """The latest attempt and its artifacts by path, the newest of each path.

        A client that fetches one file of a job usually fetches all of them. The job's log is read
        once for all: with a read for each, 10,000 files would cost 10,000 times 10,000 facts.
        """
        job = self._clients.job(id)
        left: dict[str, Artifact] = {}
        if not job.artifacts:
            return job.attempt, left
        asked = (id, job.sequence)
        if self._read is not None and self._read[0] == asked:
            return self._read[1]
        attempt = 0
        for fact in await self._clients.history(id):
            match fact:
                case Leased() | Returned():
                    left.clear()
                case ArtifactKept(_, attempt, artifact):
                    left[artifact.path] = artifact
                case _:
                    pass
        self._read = asked, (attempt, left)
        return attempt, left

    @asynccontextmanager
    async def _turn(self, turns: FairTransfers, holder: Hashable) -> AsyncIterator[Transfer]:
        """Holds one of TRANSFERS_MAX transfers; the block ends with ShuttingDown on a stop."""
        try:
            async with asyncio.TaskGroup() as tasks:
                ending = tasks.create_task(self._end_when_stopping())
                async with turns.hold(holder) as transfer:
                    yield transfer
                ending.cancel()
        except BaseExceptionGroup as group:
            raise group.exceptions[0] from None

    async def _end_when_stopping(self) -> None:
        await self._broker.stopped()
        raise ShuttingDown

    def _record(self, token: TaskToken, artifact: Artifact, name: Name, *, new: bool) -> None:
        """Records an artifact whose bytes are stored; removes the bytes if that is refused."""
        id, attempt, _ = name
        try:
            self._calls.store_artifact_decided(token, artifact)
        except Refused:
            if new and self._naming[name] == 1:  # else another fact names the file, or is about to
                self._blobs.delete(id, attempt, artifact)
            raise


class OpenArtifact:
    """An artifact that is open for reading."""

    def __init__(
        self,
        clients: ClientCalls,
        blobs: BlobStore,
        id: JobId,
        attempt: int,
        artifact: Artifact,
        transfer: Transfer,
    ) -> None:
        self.artifact = artifact
        self._clients = clients
        self._blobs = blobs
        self._id = id
        self._attempt = attempt
        self.transfer = transfer

    async def read(self, offset: int = 0) -> AsyncGenerator[bytes, None]:
        """The bytes from an offset on.

        Raises UnknownArtifact if the attempt is given back meanwhile, LogDamaged if the bytes are not
        those that were stored.
        """
        if not 0 <= offset <= self.artifact.size:
            raise InvalidRequest(
                "offset", f"{offset} is not within 0 to the {self.artifact.size} bytes of the file"
            )
        chunks = self._blobs.read(self._id, self._attempt, self.artifact, offset)
        try:
            async with aclosing(chunks):
                async for chunk in chunks:
                    yield chunk
                    self.transfer.moved += len(chunk)
        except (BlobMissing, BlobCorrupted) as wrong:
            job = self._clients.find(self._id)
            if job is None or not job.artifacts or job.attempt != self._attempt:
                raise UnknownArtifact(self._id, self.artifact.path) from None
            raise LogDamaged(
                f"{wrong}: an artifact of job {self._id}; `airunner log check` names all that differ"
            ) from wrong


def blob_remover(blobs: BlobStore) -> EventListener:
    """A listener that removes the bytes of void artifacts: the only place that removes them."""

    def remove(events: Sequence[Event]) -> None:
        for event in events:
            match event.fact:
                case Forgotten(id) | ArtifactsDropped(id):
                    blobs.delete_job(id)
                case Returned(id, attempt):
                    blobs.delete_job(id, attempt)
                case _:
                    pass

    return remove


async def _next(data: AsyncIterator[bytes]) -> bytes:
    return await anext(data, _END)


async def in_time(step: Awaitable[T], transfer: Transfer) -> T:
    """The next step of a transfer. Raises Unreachable if the other end is silent for too long."""
    transfer.waits = True
    try:
        async with asyncio.timeout(TRANSFER_SILENT_SECONDS_MAX):
            return await step
    except TimeoutError:
        raise Unreachable(
            "the other end of the transfer was silent for TRANSFER_SILENT_SECONDS_MAX "
            f"({TRANSFER_SILENT_SECONDS_MAX} s), so it has ended: try again"
        ) from None
    finally:
        transfer.waits = False
