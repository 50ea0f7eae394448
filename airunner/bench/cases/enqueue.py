"""The scenario `enqueue`: the throughput of enqueue calls with one job and with many jobs."""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from functools import partial
from time import perf_counter
from typing import Final

from airunner.bench.load.bare_sqlite import BareTable, row_bytes, transactions
from airunner.bench.load.baselines import callers, echo_channels, echoes
from airunner.bench.load.job_filler import NO_KEY, UNLIMITED
from airunner.bench.load.processes import Served, server
from airunner.bench.load.procfs import Meter
from airunner.bench.report.figures import Bar, Figure, Sample, rate
from airunner.bench.report.rounds import Contender, compare
from airunner.bench.setting import MEMORY, Setting, Store
from airunner.log.sqlite.rows import fact_row
from airunner.model.facts import Enqueued
from airunner.model.jobs import Instant, JobId, RequestId, Subject
from airunner.model.spec import JobSpec
from airunner.store.engine import Engine
from airunner.wire.client.jobs_client import JobsClient

SPEC: Final = JobSpec(command="make", args=("test",), queue="bench-enqueue")
MANY: Final = 64  # clients: the bar of a durable log is for so many
BATCH: Final = 100  # jobs in one EnqueueJobs
MEMORY_BAR: Final = Bar(0.7)  # of bare echoes with as many clients
DURABLE_BAR: Final = Bar(0.7)  # of the memory log, with fsync full
BATCH_BAR: Final = Bar(8)  # times the throughput of one job in a call


async def enqueue(setting: Setting) -> list[Figure]:
    """Enqueued jobs a second, one in a call; each job is durable before the answer.

    Every client has a connection of its own to a real server and waits for each answer. All clients
    share one process; its cost is in every number. The largest number of clients also enqueues 100
    jobs in a call. Baselines: bare TLS echoes; the memory log; and transactions of bare SQLite with
    the same fsync and as many rows as the server's transactions had. Leaves out request ids,
    tokens, workers and dequeues: the queue grows.
    """
    async with AsyncExitStack() as stack:
        channels = await stack.enter_async_context(echo_channels(setting, max(setting.clients)))
        memory = await _open_load(stack, setting, MEMORY)
        durable = [
            await _open_load(stack, setting, setting.sqlite("enqueue", fsync))
            for fsync in setting.fsyncs
        ]
        contenders: list[Contender] = []
        for count in setting.clients:
            bare = echoes(channels[:count])
            contenders += [bare, *_contenders(memory, durable, Way(count), {bare.name: MEMORY_BAR})]
        most = max(setting.clients)
        one_by_one = memory.name(Way(most))
        contenders += _contenders(memory, durable, Way(most, BATCH), {one_by_one: BATCH_BAR})
        return await compare(
            "enqueue",
            contenders,
            rounds=setting.rounds,
            seconds=setting.seconds,
            dice=setting.dice("enqueue"),
        )


@dataclass(frozen=True, slots=True)
class Way:
    """A number of concurrent clients, and the number of jobs in each call."""

    clients: int
    size: int = 1

    def __str__(self) -> str:
        at_once = "" if self.size == 1 else f", {self.size} in a call"
        return f"{callers(self.clients)}{at_once}"


@dataclass(slots=True)
class Load:
    """A server, its clients, and the rows in a transaction of the latest run, by Way."""

    store: Store
    served: Served
    clients: Sequence[JobsClient]
    bare: BareTable | None
    rows: dict[Way, float] = field(default_factory=dict)

    def name(self, way: Way) -> str:
        return f"{self.store.name}, {way}"

    async def enqueue(self, way: Way, seconds: float) -> Sample:
        """Measures the jobs that the clients enqueue a second."""
        before = self._transactions()
        sample = await self._enqueue(way, seconds)
        if self.store.path:
            self.rows[way] = sample.count / max(1, self._transactions() - before)
        return sample

    async def commit(self, way: Way, seconds: float) -> Sample:
        """Measures bare SQLite with transactions of as many rows."""
        assert self.bare
        return await asyncio.to_thread(
            self.bare.commit, seconds, batch=self.rows[way], size=_row_bytes()
        )

    async def _enqueue(self, way: Way, seconds: float) -> Sample:
        times, start, meter = list[float](), perf_counter(), Meter(self.served.pid)

        async def call(client: JobsClient) -> None:
            while (now := perf_counter()) < start + seconds:
                if way.size == 1:
                    await client.enqueue(SPEC)
                else:
                    await client.enqueue_many([(SPEC, NO_KEY)] * way.size)
                times.append(perf_counter() - now)

        async with asyncio.TaskGroup() as tasks:
            for client in self.clients[: way.clients]:
                tasks.create_task(call(client))
        elapsed, jobs = perf_counter() - start, len(times) * way.size
        return rate(jobs, elapsed, times=times, busy=meter.busy, resident=meter.resident)

    def _transactions(self) -> int:
        return transactions(self.store.path) if self.store.path else 0


def _row_bytes() -> int:
    """The bytes of the log row of an enqueued SPEC."""
    id = JobId("019a9d5e-7a5c-7000-8000-000000000000")
    fact = Enqueued(id, SPEC, RequestId(""), Subject("bench"), None)
    return row_bytes(fact_row(Engine().record([fact], Instant(1))[0]))


async def _open_load(stack: AsyncExitStack, setting: Setting, store: Store) -> Load:
    served = await stack.enter_async_context(server(setting, store, *UNLIMITED))
    clients = [
        await stack.enter_async_context(setting.client(served.address))
        for _ in range(max(setting.clients))
    ]
    bare = None
    if store.path:
        bare = BareTable(setting.folder / f"bare-{store.fsync}.db", fsync=store.fsync)
        stack.callback(bare.close)
    return Load(store, served, clients, bare)


def _contenders(
    memory: Load, durable: Sequence[Load], way: Way, against: Mapping[str, Bar | None]
) -> list[Contender]:
    """The memory log against `against`, and each durable log against the memory log."""
    volatile = Contender(
        name=memory.name(way), unit="jobs/s", run=partial(memory.enqueue, way), against=against
    )
    return [volatile, *(each for load in durable for each in _durable(load, way, volatile.name))]


def _durable(load: Load, way: Way, memory: str) -> list[Contender]:
    bare = Contender(
        name=f"bare group commit, {load.store.fsync}, {way}",
        unit="rows/s",
        run=partial(load.commit, way),
        baseline=True,
    )
    durable = Contender(
        name=load.name(way),
        unit="jobs/s",
        run=partial(load.enqueue, way),
        against={memory: DURABLE_BAR if way == Way(MANY) else None, bare.name: None},
    )
    # In this order: the first run of the durable log sets the size of the bare transactions.
    return [durable, bare]
