"""What jobs leave, kept under the fence and given back with its facts, in virtual time."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from hashlib import sha256

import pytest

from airunner.blobs.blobs import BlobMissing
from airunner.blobs.memory import MemoryBlobs
from airunner.log.log import LogDamaged
from airunner.model.artifacts import Artifact
from airunner.model.errors import (
    InvalidRequest,
    LimitReached,
    ShuttingDown,
    StaleLease,
    Stalled,
    UnknownArtifact,
    UnknownJob,
    Unreachable,
)
from airunner.model.facts import ArtifactKept, ArtifactsDropped, Event
from airunner.model.jobs import JobId, Millis, Subject, TaskToken
from airunner.model.limits import ARTIFACT_CHUNK_BYTES, TRANSFERS_MAX
from airunner.server.artifacts import ArtifactService, blob_remover
from airunner.server.broker import Broker
from airunner.server.client_calls import ClientCalls
from airunner.server.worker_calls import WorkerCalls
from airunner.store.retention import Retention
from tests.promises import holds, promise
from tests.server.broker_fixture import DONE, SlowLog, broker_over, leased, output, wish
from tests.support.loop import until_idle, virtually


class Watched(MemoryBlobs):
    """Says what it has, and loses files when told to."""

    def has(self, id: JobId) -> list[tuple[int, str]]:
        return sorted(self._files.get(id, {}))

    def lose(self, id: JobId) -> None:
        self._files.pop(id)


class Shop:
    """A broker, its archive, and what lies beneath."""

    def __init__(self, broker: Broker, log: SlowLog, blobs: Watched, told: list[Event]) -> None:
        self.broker, self.log, self.blobs, self.told = broker, log, blobs, told
        self.archive = ArtifactService(broker, blobs)

    async def put(
        self, token: TaskToken, path: str, data: bytes, *, again: bool = False
    ) -> Artifact:
        it = artifact(path, data)
        await self.archive.store(token, it, pieces(data), again=again)
        return it

    async def get(self, id: JobId, path: str, offset: int = 0) -> bytes:
        async with self.archive.opened(id, path) as kept:
            return b"".join([chunk async for chunk in kept.read(offset)])


@asynccontextmanager
async def shop(retention: Retention | None = None) -> AsyncIterator[Shop]:
    log, blobs = SlowLog(), Watched()
    told: list[Event] = []
    broker = broker_over(log, retention, (blob_remover(blobs), told.extend))
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(broker.run())
        yield Shop(broker, log, blobs, told)
        log.gate.set()
        broker.stop()


def artifact(path: str, data: bytes) -> Artifact:
    return Artifact(path=path, size=len(data), sha256=sha256(data).hexdigest())


async def pieces(*data: bytes) -> AsyncIterator[bytes]:
    for each in data:
        if each:
            yield each


async def never() -> AsyncIterator[bytes]:
    yield b"a"
    await asyncio.Event().wait()


@virtually
async def test_what_an_attempt_leaves_is_listed_by_path_and_read() -> None:
    async with shop() as it:
        await ClientCalls(it.broker).enqueue(wish())
        job, token = (granted := await leased(it.broker)).job, granted.token
        large = bytes(2 * ARTIFACT_CHUNK_BYTES)
        two = await it.put(token, "two", large)
        one = await it.put(token, "one", b"1")
        assert await it.archive.list(job.id) == [one, two]
        assert await it.get(job.id, "two") == large
        assert await it.get(job.id, "one", 1) == b""
        await WorkerCalls(it.broker).publish(token, [(1, output("said"))])
        await WorkerCalls(it.broker).complete(token, DONE)
        assert await it.archive.list(job.id) == [one, two]
        kept = [event.fact for event in it.told if isinstance(event.fact, ArtifactKept)]
        assert kept == [ArtifactKept(job.id, 1, two), ArtifactKept(job.id, 1, one)]


@virtually
async def test_of_one_path_the_newest_counts() -> None:
    async with shop() as it:
        await ClientCalls(it.broker).enqueue(wish())
        granted = await leased(it.broker)
        await it.put(granted.token, "it", b"old")
        new = await it.put(granted.token, "it", b"new")
        assert await it.archive.list(granted.job.id) == [new]
        assert await it.get(granted.job.id, "it") == b"new"


@virtually
async def test_the_log_of_a_job_is_read_once_for_all_of_its_files() -> None:
    async with shop() as it:
        await ClientCalls(it.broker).enqueue(wish())
        granted = await leased(it.broker)
        id = granted.job.id
        one = await it.put(granted.token, "one", b"1")
        assert await it.archive.list(id) == [one]
        two = await it.put(granted.token, "two", b"2")
        before = it.log.reads
        assert await it.archive.list(id) == [one, two]
        assert (await it.get(id, "one"), await it.get(id, "two")) == (b"1", b"2")
        assert it.log.reads == before + 1
        await WorkerCalls(it.broker).complete(granted.token, DONE)
        assert await it.archive.list(id) == [one, two]


@holds("results/upload-survives-server-death")
@virtually
async def test_what_is_said_again_is_kept_once() -> None:
    async with shop() as it:
        await ClientCalls(it.broker).enqueue(wish())
        granted = await leased(it.broker)
        await it.put(granted.token, "it", b"data", again=True)
        await it.put(granted.token, "it", b"data", again=True)
        assert (await ClientCalls(it.broker).get(granted.job.id)).artifacts == 1
        await it.put(granted.token, "it", b"other", again=True)
        assert (await ClientCalls(it.broker).get(granted.job.id)).artifacts == 2


@holds("results/acknowledged-artifact-survives")
@virtually
async def test_an_answer_comes_when_the_log_has_it() -> None:
    async with shop() as it, asyncio.TaskGroup() as tasks:
        await ClientCalls(it.broker).enqueue(wish())
        granted = await leased(it.broker)
        it.log.gate.clear()
        putting = tasks.create_task(it.put(granted.token, "it", b"data"))
        await asyncio.sleep(1)
        assert it.blobs.has(granted.job.id)
        assert not putting.done()
        it.log.gate.set()
        await putting


@virtually
async def test_what_is_not_there_has_a_name() -> None:
    async with shop() as it:
        job = await ClientCalls(it.broker).enqueue(wish())
        assert await it.archive.list(job.id) == []
        with pytest.raises(UnknownArtifact, match="job job-1 has no artifact it"):
            await it.get(job.id, "it")
        with pytest.raises(UnknownJob):
            await it.archive.list(JobId("nobody"))
        with pytest.raises(UnknownJob):
            await it.get(JobId("nobody"), "it")
        granted = await leased(it.broker)
        await it.put(granted.token, "it", b"data")
        for offset in (-1, 5):
            with pytest.raises(InvalidRequest, match="not within 0 to the 4 bytes"):
                await it.get(job.id, "it", offset)


@virtually
async def test_nothing_is_kept_for_a_lease_that_is_over() -> None:
    async with shop() as it:
        await ClientCalls(it.broker).enqueue(wish())
        granted = await leased(it.broker)
        with pytest.raises(StaleLease):
            await it.put(TaskToken("nobody's"), "it", b"data")
        await WorkerCalls(it.broker).complete(granted.token, DONE)
        with pytest.raises(StaleLease):
            await it.put(granted.token, "it", b"data")
        assert it.blobs.size == 0


@holds("results/bytes-before-facts")
@virtually
async def test_a_lease_that_ends_while_the_bytes_come_keeps_none_of_them() -> None:
    async with shop() as it:
        await ClientCalls(it.broker).enqueue(wish())
        granted = await leased(it.broker)
        before = await it.put(granted.token, "before", b"same")

        async def data() -> AsyncIterator[bytes]:
            yield b"half"
            await WorkerCalls(it.broker).complete(granted.token, DONE)
            yield b"half"

        with pytest.raises(StaleLease):
            await it.archive.store(granted.token, artifact("it", b"halfhalf"), data())

        assert it.blobs.has(granted.job.id) == [(1, before.sha256)]
        assert it.blobs.size == 4


@virtually
async def test_what_another_fact_names_stays_though_its_double_is_refused() -> None:
    async with shop() as it:
        await ClientCalls(it.broker).enqueue(wish())
        granted = await leased(it.broker)
        await it.put(granted.token, "one", b"same")

        async def data() -> AsyncIterator[bytes]:
            yield b"same"
            await WorkerCalls(it.broker).complete(granted.token, DONE)

        with pytest.raises(StaleLease):
            await it.archive.store(granted.token, artifact("two", b"same"), data())
        assert await it.get(granted.job.id, "one") == b"same"


@virtually
async def test_a_cancel_that_was_asked_for_stops_no_upload() -> None:
    async with shop() as it:
        job = await ClientCalls(it.broker).enqueue(wish())
        granted = await leased(it.broker)
        await ClientCalls(it.broker).cancel(job.id, Subject("sue"))
        kept = await it.put(granted.token, "it", b"data")
        assert await it.archive.list(job.id) == [kept]


@promise(
    "results/bytes-before-facts",
    "Bytes are stored before their fact and removed with it. The next start removes or names "
    "whatever a crash left of either.",
)
@virtually
async def test_what_an_attempt_has_left_goes_with_it() -> None:
    async with shop() as it:
        job = await ClientCalls(it.broker).enqueue(wish())
        granted = await leased(it.broker)
        await it.put(granted.token, "it", b"first")
        async with it.archive.opened(job.id, "it") as kept:
            await WorkerCalls(it.broker).release(granted.token)
            assert await it.archive.list(job.id) == []
            await until_idle()
            assert it.blobs.size == 0
            with pytest.raises(UnknownArtifact):
                await anext(kept.read())
        granted = await leased(it.broker)
        assert await it.archive.list(job.id) == []
        second = await it.put(granted.token, "it", b"second")
        assert await it.archive.list(job.id) == [second]


@holds("results/bytes-before-facts")
@virtually
async def test_room_is_made_before_the_bytes_come_and_of_what_nobody_reads() -> None:
    keep = Retention(spared=Millis(0), artifact_bytes_per_job=10, artifact_bytes_total=10)
    async with shop(keep) as it:
        ids: list[JobId] = []
        for _ in range(3):
            await ClientCalls(it.broker).enqueue(wish())
            granted = await leased(it.broker)
            if len(ids) < 2:
                await it.put(granted.token, "it", b"12345")
                await WorkerCalls(it.broker).complete(granted.token, DONE)
            ids.append(granted.job.id)
        with pytest.raises(InvalidRequest, match="10 B that this server keeps of one job"):
            await it.put(granted.token, "it", b"12345678901")
        async with it.archive.opened(ids[0], "it") as kept:
            await it.put(granted.token, "it", b"1")
            assert [chunk async for chunk in kept.read()] == [b"12345"]
            with pytest.raises(LimitReached, match="try again later"):
                await it.put(granted.token, "it", b"123456")
        assert [await it.archive.list(id) == [] for id in ids] == [False, True, False]
        assert it.blobs.size == 6
        dropped = [event.fact for event in it.told if isinstance(event.fact, ArtifactsDropped)]
        assert dropped == [ArtifactsDropped(ids[1])]


@virtually
async def test_what_a_forgotten_job_has_left_is_forgotten() -> None:
    keep = Retention(spared=Millis(0), jobs_max=1)
    async with shop(keep) as it:
        await ClientCalls(it.broker).enqueue(wish())
        granted = await leased(it.broker)
        await it.put(granted.token, "it", b"data")
        await WorkerCalls(it.broker).complete(granted.token, DONE)
        await ClientCalls(it.broker).enqueue(wish())
        await until_idle()
        assert it.blobs.size == 0
        with pytest.raises(UnknownJob):
            await it.archive.list(granted.job.id)


@virtually
async def test_a_full_log_keeps_nothing() -> None:
    async with shop() as it:
        await ClientCalls(it.broker).enqueue(wish())
        granted = await leased(it.broker)

        async def data() -> AsyncIterator[bytes]:
            yield b"data"
            it.log.full = True
            with pytest.raises(Stalled):
                await ClientCalls(it.broker).enqueue(wish())

        for _ in range(2):
            with pytest.raises(Stalled):
                await it.archive.store(granted.token, artifact("it", b"data"), data())
            assert it.blobs.size == 0
        it.log.full = False
        await asyncio.sleep(2)
        await it.put(granted.token, "it", b"data", again=True)
        assert await it.get(granted.job.id, "it") == b"data"


@virtually
async def test_two_that_bring_the_same_at_once_leave_it_for_each_other() -> None:
    async with shop() as it, asyncio.TaskGroup() as tasks:
        await ClientCalls(it.broker).enqueue(wish())
        granted = await leased(it.broker)
        putting = [tasks.create_task(it.put(granted.token, name, b"same")) for name in "ab"]
        kept = [await each for each in putting]
        assert await it.archive.list(granted.job.id) == kept
        assert await it.get(granted.job.id, "a") == b"same"


@holds("results/transfers-are-bounded")
@virtually
async def test_one_whose_bytes_do_not_come_ends_in_a_minute_and_leaves_nothing() -> None:
    async with shop() as it:
        await ClientCalls(it.broker).enqueue(wish())
        granted = await leased(it.broker)
        with pytest.raises(Unreachable, match=r"TRANSFER_SILENT_SECONDS_MAX \(60 s\)"):
            await it.archive.store(granted.token, artifact("it", b"ab"), never())
        assert it.blobs.size == 0


@virtually
async def test_one_who_goes_away_leaves_nothing() -> None:
    async with shop() as it, asyncio.TaskGroup() as tasks:
        await ClientCalls(it.broker).enqueue(wish())
        granted = await leased(it.broker)
        putting = tasks.create_task(it.archive.store(granted.token, artifact("it", b"ab"), never()))
        await asyncio.sleep(1)
        assert it.blobs.size == 2
        putting.cancel()
        await asyncio.wait([putting])
        assert it.blobs.size == 0


@promise(
    "results/transfers-are-bounded",
    "Transfers are bounded. A fixed number run at once, each holds one chunk in memory, and a "
    "transfer ends when its other end is silent for a minute. The memory store counts transfers in "
    "progress.",
)
@virtually
async def test_so_many_at_once_and_the_next_ones_get_their_turn() -> None:
    async with shop() as it, asyncio.TaskGroup() as tasks:
        await ClientCalls(it.broker).enqueue(wish())
        granted = await leased(it.broker)
        await it.put(granted.token, "there", b"there")
        go = asyncio.Event()

        async def data() -> AsyncIterator[bytes]:
            await go.wait()
            yield b"x"

        putting = [
            tasks.create_task(
                it.archive.store(granted.token, artifact(f"{number:02}", b"x"), data())
            )
            for number in range(TRANSFERS_MAX + 2)
        ]
        await until_idle()
        assert it.blobs.size == TRANSFERS_MAX + len(b"there")
        assert await it.get(granted.job.id, "there") == b"there"  # whoever fetches waits for none
        go.set()
        await asyncio.wait(putting)
        assert len(await it.archive.list(granted.job.id)) == TRANSFERS_MAX + 3


@virtually
async def test_a_server_that_stops_waits_for_no_transfer() -> None:
    async with shop() as it, asyncio.TaskGroup() as tasks:
        await ClientCalls(it.broker).enqueue(wish())
        granted = await leased(it.broker)
        await it.put(granted.token, "there", b"data")

        async def refused() -> None:
            with pytest.raises(ShuttingDown):
                await it.archive.store(granted.token, artifact("it", b"ab"), never())

        async def cut() -> None:
            with pytest.raises(ShuttingDown):
                async with it.archive.opened(granted.job.id, "there"):
                    await asyncio.Event().wait()

        tasks.create_task(refused())
        tasks.create_task(cut())
        await asyncio.sleep(1)
        it.broker.stop()


@virtually
async def test_a_file_that_is_lost_is_damage() -> None:
    async with shop() as it:
        await ClientCalls(it.broker).enqueue(wish())
        granted = await leased(it.broker)
        await it.put(granted.token, "it", b"data")
        it.blobs.lose(granted.job.id)
        with pytest.raises(LogDamaged, match="an artifact of job job-1; `airunner log check`"):
            await it.get(granted.job.id, "it")
        with pytest.raises(BlobMissing):
            await anext(it.blobs.read(granted.job.id, 1, artifact("it", b"data")))
