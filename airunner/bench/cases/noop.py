"""The scenario `noop`: the throughput of jobs that run no process."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from time import perf_counter
from typing import Final

from airunner.bench.cases.enqueue import BATCH, DURABLE_BAR
from airunner.bench.load.baselines import callers, echo_channels, echoes
from airunner.bench.load.job_filler import NO_KEY, UNLIMITED
from airunner.bench.load.noop_worker import PROTOCOL_QUEUE, NoopWorker
from airunner.bench.load.processes import Served, server
from airunner.bench.load.procfs import Meter
from airunner.bench.report.figures import Bar, Figure, Sample, rate
from airunner.bench.report.rounds import Contender, compare
from airunner.bench.setting import MEMORY, Setting, Store
from airunner.model.protocol.channel import Channel
from airunner.model.protocol.worker_protocol import FromServer, FromWorker
from airunner.model.spec import JobSpec
from airunner.wire.client.jobs_client import JobsClient

SLOTS: Final = 256  # of the worker; with 64, all slots wait for one fsync, then for each other
AHEAD: Final = 500  # enqueued jobs that have not ended, at most
CLIENTS: Final = 32  # concurrent clients that enqueue one job in a call
ONE_BY_ONE_BAR: Final = Bar(0.4)  # of bare echoes with as many clients
NOTHING: Final = JobSpec(command="true", queue=PROTOCOL_QUEUE)


async def noop(setting: Setting) -> list[Figure]:
    """Jobs that run nothing: enqueued, leased, completed and recorded, each with its own lease.

    One client enqueues 100 jobs in a call, or 32 clients enqueue one job in a call. The stream of a
    worker with 256 slots completes each job on receipt. Clients and worker share one process; its
    cost is in every number. Baseline: bare TLS echoes. Leaves out the process, the workspace and
    the output.
    """
    async with AsyncExitStack() as stack:
        channels = await stack.enter_async_context(echo_channels(setting, CLIENTS))
        bare = echoes(channels)
        contenders = [bare]
        stores = [MEMORY, *(setting.sqlite("noop", fsync) for fsync in setting.fsyncs)]
        for store in stores:
            setup = await _open_setup(stack, setting, store)
            contenders += setup.contenders(bare.name)
        return await compare(
            "noop",
            contenders,
            rounds=setting.rounds,
            seconds=setting.seconds,
            dice=setting.dice("noop"),
        )


async def _open_setup(stack: AsyncExitStack, setting: Setting, store: Store) -> "Setup":
    served = await stack.enter_async_context(server(setting, store, *UNLIMITED))
    clients = [
        await stack.enter_async_context(setting.client(served.address)) for _ in range(CLIENTS)
    ]
    return Setup(store, served, clients, partial(setting.connect, served.address))


@dataclass(frozen=True, slots=True)
class Setup:
    """A server, its clients, and the connector of its worker."""

    store: Store
    served: Served
    clients: Sequence[JobsClient]
    connect: Callable[[], Awaitable[Channel[FromWorker, FromServer]]]

    def contenders(self, bare: str) -> list[Contender]:
        memory, name = f"{MEMORY.name}, {BATCH} in a call", self.store.name
        against: dict[str, Bar | None] = {bare: None}
        if self.store.path:
            against[memory] = DURABLE_BAR
        one_by_one = f"{name}, one in a call, {callers(CLIENTS)}"
        return [
            Contender(
                name=f"{name}, {BATCH} in a call",
                unit="jobs/s",
                run=partial(self.run, self.clients[:1], BATCH),
                against=against,
            ),
            Contender(
                name=one_by_one,
                unit="jobs/s",
                run=partial(self.run, self.clients, 1),
                against={bare: None if self.store.path else ONE_BY_ONE_BAR},
            ),
        ]

    async def run(self, clients: Sequence[JobsClient], size: int, seconds: float) -> Sample:
        """Measures ended jobs a second: clients enqueue `size` in a call, one worker ends them."""
        session = NoopWorker(await self.connect())
        await session.hello(SLOTS)
        flow = JobFlow(session, size, perf_counter() + seconds)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(flow.work())
            async with asyncio.TaskGroup() as feeding:
                for client in clients:
                    feeding.create_task(flow.feed(client))
                start, meter = perf_counter(), Meter(self.served.pid)
                await asyncio.sleep(seconds)
                elapsed, busy, ended = perf_counter() - start, meter.busy, session.settled
            await flow.close(clients[0])
        await session.close()
        return rate(ended, elapsed, busy=busy, resident=meter.resident)


class JobFlow:
    """A bounded flow of jobs from clients to a worker; it is empty when the worker leaves."""

    def __init__(self, session: NoopWorker, size: int, end: float) -> None:
        self._session = session
        self._size = size  # jobs in a call
        self._end = end  # no client enqueues after this time
        self._room = asyncio.Semaphore(AHEAD // size)  # calls
        self._made = 0  # jobs that were enqueued, or are in a call
        self._last: int | None = None  # the final number of jobs, once close() has set it

    async def feed(self, client: JobsClient) -> None:
        """Enqueues jobs from a client until the end, at most AHEAD of the worker."""
        while perf_counter() < self._end:
            await self._room.acquire()
            await self._enqueue(client, self._size)

    async def work(self) -> None:
        """Completes every job, until the flow is closed and empty."""
        made = 0
        while self._session.settled != self._last:
            await self._session.step()
            while made + self._size <= self._session.settled:
                made += self._size
                self._room.release()

    async def close(self, client: JobsClient) -> None:
        """Enqueues the last job; work() returns when that job has ended."""
        self._last = self._made + 1
        await self._enqueue(client, 1)

    async def _enqueue(self, client: JobsClient, jobs: int) -> None:
        self._made += jobs
        if jobs == 1:
            await client.enqueue(NOTHING)
        else:
            await client.enqueue_many([(NOTHING, NO_KEY)] * jobs)
