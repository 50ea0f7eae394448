"""The scenario `restart`: a server that goes away with jobs in line and jobs that run."""

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
START_BAR: Final = Bar(4, most=True)  # of a new server's first answer
LOST_BAR: Final = Bar(0, most=True)  # attempts
LOOK_SECONDS: Final = 0.05  # between two looks at what the worker does
PATIENCE_SECONDS: Final = 60.0


async def restart(setting: Setting) -> list[Figure]:
    """From exec of a server to its first answered call, with jobs in line and 100 that run.

    A real durable server is killed, or stopped in order, and started on the same file; a real
    worker keeps its 100 processes meanwhile and comes back. Beside it: the start of a server
    whose log is new. An attempt is lost if its job runs in another one or in none once the
    worker is back. Leaves out output that is on its way; tests cover it.
    """
    async with AsyncExitStack() as stack:
        site = Setup(setting, setting.sqlite("restart"))
        stack.push_async_callback(site.leave)
        await site.start()
        address = site.served.address
        await stack.enter_async_context(worker(setting, address, slots=RUNNING))
        async with setting.client(address) as client:
            await fill(client, SLEEP, RUNNING)
            await _until_running(client)
            site.job = await fill(client, WAITING, setting.jobs)
        loaded = f"{setting.jobs:,} in line, {RUNNING} running"
        new = Contender(
            name="a new server's first answer", unit="s", run=site.try_new, baseline=True
        )
        figures = await compare(
            "restart",
            [
                new,
                Contender(
                    name=f"first answer after kill -9, {loaded}",
                    unit="s",
                    run=partial(site.restart, signal.SIGKILL),
                    against={new.name: START_BAR},
                ),
                Contender(
                    name=f"first answer after SIGTERM, {loaded}",
                    unit="s",
                    run=partial(site.restart, signal.SIGTERM),
                    against={new.name: START_BAR},
                ),
            ],
            rounds=setting.rounds,
            seconds=setting.seconds,
            dice=setting.dice("restart"),
            warm=False,
        )
        return [*figures, _lost(site)]


class Setup:
    """A server on one file and one address, which is started again and again."""

    def __init__(self, setting: Setting, store: Store) -> None:
        self._setting = setting
        self._store = store
        self._stack = AsyncExitStack()  # of the server that runs now
        self._news = 0  # servers with a new log
        self.served: Served
        self.job: JobId  # one that is in line
        self.restarts = 0
        self.lost = 0  # attempts, over all restarts

    async def start(self, listen: str = ANY_PORT) -> None:
        self.served = await self._stack.enter_async_context(
            server(self._setting, self._store, *UNLIMITED, listen=listen)
        )

    async def leave(self) -> None:
        await self._stack.aclose()

    async def restart(self, how: signal.Signals, _seconds: float) -> Sample:
        """End the server, start it again, and see that everybody is back."""
        self.served.process.send_signal(how)
        await self.leave()
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
        """Start another server, with nothing in its log, and ask it something."""
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
    """Return once a worker holds as many jobs as there are; how many are in their first attempt."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            found = await client.statistics(QUEUE)
            if found and found[0].busy == RUNNING:
                break
            await asyncio.sleep(LOOK_SECONDS)
    page = await client.list(JobQuery(queue=QUEUE, state=JobState.RUNNING, page_size=RUNNING))
    return sum(job.attempt == 1 and job.failures == 0 for job in page.jobs)


def _lost(site: Setup) -> Figure:
    name = f"attempts lost of {RUNNING * site.restarts:,}"
    return figure("restart", name, [site.lost], "attempts", bar=LOST_BAR)
