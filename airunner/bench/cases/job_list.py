"""The scenario `list`: a page of the jobs of a server that remembers many."""

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
from airunner.log.sqlite.log import SqliteLog
from airunner.log.sqlite.writer import Fsync
from airunner.model.job_query import JobQuery
from airunner.model.jobs import Instant, JobState
from airunner.wire.client.jobs_client import JobsClient

PAGE: Final = 100  # jobs
QUEUES: Final = 10  # that the jobs are of, in turn
P99_BAR: Final = Bar(80, most=True)  # of that of bare round trips


async def listing(setting: Setting) -> list[Figure]:
    """The milliseconds that a page of 100 takes, of all finished jobs that there are.

    They are of ten queues, and were in the log of a real server when it started. The first page, one
    from the middle by its token, and the first of one queue and state, asked for one after the
    other by a client that decodes them, whose cost is in the numbers. Beside them: a bare TLS round
    trip of a few bytes. The bar is meant for 100,000 jobs. Leaves out jobs with large parameters.
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
        bare, archive = round_trip(channel), Archive(served, client)
        first = JobQuery(page_size=PAGE)
        pages = {
            "first page": first,
            "page in the middle": await archive.middle(first),
            "first page of a queue": JobQuery(
                queue=queue_of(0), state=JobState.COMPLETED, page_size=PAGE
            ),
        }
        contenders = [
            Contender(
                name=f"{name}, {setting.jobs:,} jobs, p50",
                unit="ms",
                run=partial(archive.ask, page),
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
class Archive:
    """A server with finished jobs, and a client of it."""

    served: Served
    client: JobsClient

    async def middle(self, first: JobQuery) -> JobQuery:
        """The page behind the middle one, by its token."""
        last = (await self.client.list(first)).last_page
        page = JobQuery(page=max(1, last // 2), page_size=first.page_size)
        before = (await self.client.list(page)).next
        return JobQuery(before=before, page_size=first.page_size)

    async def ask(self, page: JobQuery, seconds: float) -> Sample:
        times, end, meter = list[float](), perf_counter() + seconds, Meter(self.served.pid)
        while not times or perf_counter() < end:
            start = perf_counter()
            found = await self.client.list(page)
            times.append(perf_counter() - start)
            assert found.jobs
        return latency(times, busy=meter.busy, resident=meter.resident)
