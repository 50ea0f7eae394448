"""The scenario `list`: the latency of a page of jobs from a server with many finished jobs."""

from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from time import perf_counter, time_ns
from typing import Final

from airunner.bench.load.baselines import echo_channels, round_trip
from airunner.bench.load.history import queue_of, write
from airunner.bench.load.job_filler import UNLIMITED
from airunner.bench.load.processes import Served, server
from airunner.bench.load.procfs import Meter
from airunner.bench.report.figures import Bar, Figure, Sample, latency
from airunner.bench.report.rounds import Contender, compare
from airunner.bench.setting import Setting
from airunner.log.log import Fsync
from airunner.log.sqlite.log import SqliteLog
from airunner.model.job_query import JobQuery
from airunner.model.jobs import Instant, JobState
from airunner.wire.client.jobs_client import JobsClient

PAGE: Final = 100  # jobs
QUEUES: Final = 10  # the jobs go to these queues in turn
P99_BAR: Final = Bar(80, most=True)  # times the p99 of bare round trips


async def listing(setting: Setting) -> list[Figure]:
    """Milliseconds of a page of 100 finished jobs out of `--jobs`.

    The jobs belong to ten queues, and were in the log of a real server when the server started. A
    client asks for the first page, for a page in the middle by its token, and for the first page of
    a queue and state, one call after the other. The client decodes the pages; its cost is in the
    numbers. Baseline: a bare TLS round trip of a few bytes. The bar is meant for 100,000 jobs.
    Leaves out jobs with large parameters.
    """
    async with AsyncExitStack() as stack:
        (channel,) = await stack.enter_async_context(echo_channels(setting))
        store = setting.sqlite("list")
        assert store.path
        log = SqliteLog.open(store.path, fsync=Fsync.NORMAL)
        try:
            now = Instant(time_ns() // 1_000_000)
            await write(log, setting.jobs, 0, now, queues=QUEUES)
        finally:
            await log.close()
        served = await stack.enter_async_context(server(setting, store, *UNLIMITED))
        client = await stack.enter_async_context(setting.client(served.address))
        bare, finished = round_trip(channel), FinishedJobs(served, client)
        first = JobQuery(page_size=PAGE)
        pages = {
            "first page": first,
            "page in the middle": await finished.middle(first),
            "first page of a queue": JobQuery(
                queue=queue_of(0), state=JobState.COMPLETED, page_size=PAGE
            ),
        }
        contenders = [
            Contender(
                name=f"{name}, {setting.jobs:,} jobs, p50",
                unit="ms",
                run=partial(finished.ask, page),
                against={bare.name: None},
                p99_against={bare.name: P99_BAR},
            )
            for name, page in pages.items()
        ]
        return await compare(
            "list",
            [bare, *contenders],
            rounds=setting.rounds,
            seconds=setting.seconds,
            dice=setting.dice("list"),
        )


@dataclass(frozen=True, slots=True)
class FinishedJobs:
    """A server with finished jobs, and a client."""

    served: Served
    client: JobsClient

    async def middle(self, first: JobQuery) -> JobQuery:
        """The query for the page after the middle page, by its token."""
        last = (await self.client.list(first)).last_page
        page = JobQuery(page=max(1, last // 2), page_size=first.page_size)
        before = (await self.client.list(page)).next
        return JobQuery(before=before, page_size=first.page_size)

    async def ask(self, page: JobQuery, seconds: float) -> Sample:
        """Times a query, one call after the other."""
        times, end, meter = list[float](), perf_counter() + seconds, Meter(self.served.pid)
        while not times or perf_counter() < end:
            start = perf_counter()
            found = await self.client.list(page)
            times.append(perf_counter() - start)
            assert found.jobs
        return latency(times, busy=meter.busy, resident=meter.resident)
