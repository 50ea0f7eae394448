"""The scenario `restart`: a server restart with queued and running jobs."""

import asyncio
import signal
from contextlib import AsyncExitStack
from functools import partial
from time import perf_counter
from typing import Final

from airunner.bench.load.job_filler import UNLIMITED, fill
from airunner.bench.load.processes import ANY_PORT, Served, server, worker
from airunner.bench.report.figures import Bar, Figure, Sample, figure
from airunner.bench.report.rounds import Contender, compare
from airunner.bench.setting import Setting, Store
from airunner.model.job_query import JobQuery
from airunner.model.jobs import JobId, JobState
from airunner.model.spec import JobSpec
from airunner.wire.client.jobs_client import JobsClient

RUNNING: Final = 100  # jobs
QUEUE: Final = "default"  # of the jobs that run
SLEEP: Final = JobSpec(command="sleep", args=("86400",), queue=QUEUE)
WAITING: Final = JobSpec(command="make", args=("test",), queue="bench-waiting")
START_BAR: Final = Bar(4, most=True)  # times a new server's first answer
LOST_BAR: Final = Bar(0, most=True)  # attempts
LOOK_SECONDS: Final = 0.05  # between two looks at the number of running jobs
PATIENCE_SECONDS: Final = 60.0


async def restart(setting: Setting) -> list[Figure]:
    """Seconds from exec of a server to its first answered call, with queued and 100 running jobs.

    A real durable server is killed, or stopped in order, and started on the same file; a real
    worker keeps its 100 processes meanwhile and reconnects. Baseline: the start of a server with a
    new log. An attempt is lost if, after the worker has reconnected, its job runs in another
    attempt or does not run. Leaves out output in flight; tests cover it.
    """
    async with AsyncExitStack() as stack:
        setup = Setup(setting, setting.sqlite("restart"))
        stack.push_async_callback(setup.close)
        await setup.start()
        address = setup.served.address
        await stack.enter_async_context(worker(setting, address, slots=RUNNING))
        async with setting.client(address) as client:
            await fill(client, SLEEP, RUNNING)
            await _until_running(client)
            setup.job = await fill(client, WAITING, setting.jobs)
        loaded = f"{setting.jobs:,} in line, {RUNNING} running"
        new = Contender(
            name="a new server's first answer", unit="s", run=setup.try_new, baseline=True
        )
        figures = await compare(
            "restart",
            [
                new,
                Contender(
                    name=f"first answer after kill -9, {loaded}",
                    unit="s",
                    run=partial(setup.restart, signal.SIGKILL),
                    against={new.name: START_BAR},
                ),
                Contender(
                    name=f"first answer after SIGTERM, {loaded}",
                    unit="s",
                    run=partial(setup.restart, signal.SIGTERM),
                    against={new.name: START_BAR},
                ),
            ],
            rounds=setting.rounds,
            seconds=setting.seconds,
            dice=setting.dice("restart"),
            warm=False,
        )
        return [*figures, _lost(setup)]


class Setup:
    """A server that restarts on the same file and the same address."""

    def __init__(self, setting: Setting, store: Store) -> None:
        self._setting = setting
        self._store = store
        self._stack = AsyncExitStack()  # ends the running server
        self._news = 0  # servers with a new log
        self.served: Served
        self.job: JobId  # a queued job
        self.restarts = 0
        self.lost = 0  # attempts, over all restarts

    async def start(self, listen: str = ANY_PORT) -> None:
        self.served = await self._stack.enter_async_context(
            server(self._setting, self._store, *UNLIMITED, listen=listen)
        )

    async def close(self) -> None:
        await self._stack.aclose()

    async def restart(self, how: signal.Signals, _seconds: float) -> Sample:
        """Restarts the server, times its first answer, and counts the attempts that were lost."""
        self.served.process.send_signal(how)
        await self.close()
        start = perf_counter()
        await self.start(self.served.address)
        async with self._setting.client(self.served.address) as client:
            job, _ = await client.get(self.job)
            elapsed = perf_counter() - start
            assert job.state is JobState.SCHEDULED
            self.restarts += 1
            self.lost += RUNNING - await _until_running(client)
        return Sample(value=elapsed, count=1)

    async def try_new(self, _seconds: float) -> Sample:
        """Times a server with a new log from exec to its first answer."""
        self._news += 1
        store = self._setting.sqlite(f"restart-new-{self._news}")
        start = perf_counter()
        async with (
            server(self._setting, store) as served,
            self._setting.client(served.address) as client,
        ):
            await client.statistics()
            return Sample(value=perf_counter() - start, count=1)


async def _until_running(client: JobsClient) -> int:
    """Waits until all RUNNING jobs run; returns the number of jobs in their first attempt."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            found = await client.statistics(QUEUE)
            if found and found[0].busy == RUNNING:
                break
            await asyncio.sleep(LOOK_SECONDS)
    page = await client.list(JobQuery(queue=QUEUE, state=JobState.RUNNING, page_size=RUNNING))
    return sum(job.attempt == 1 and job.failures == 0 for job in page.jobs)


def _lost(setup: Setup) -> Figure:
    name = f"attempts lost of {RUNNING * setup.restarts:,}"
    return figure("restart", name, [setup.lost], "attempts", bar=LOST_BAR)
