"""The scenario `dispatch`: the latency of a job's start, end and cancel."""

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from time import perf_counter
from typing import Final

from airunner.bench.cases.jobs import TRUE
from airunner.bench.cases.noop import NOTHING
from airunner.bench.load.baselines import echo_channels, round_trip
from airunner.bench.load.noop_worker import NoopWorker
from airunner.bench.load.processes import Served, server, worker
from airunner.bench.load.procfs import Meter
from airunner.bench.report.figures import Bar, Figure, Sample, latency
from airunner.bench.report.rounds import Contender, compare
from airunner.bench.setting import MEMORY, Setting
from airunner.model.job_events import JobFinished
from airunner.model.reports import Output
from airunner.model.spec import JobSpec
from airunner.wire.client.jobs_client import JobsClient

START_BAR: Final = Bar(10, most=True)  # times a bare round trip
START_P99_BAR: Final = Bar(20, most=True)  # times the p99 of bare round trips
CANCEL_P99_BAR: Final = Bar(50, most=True)  # times the p99 of bare round trips

# Prints "ready", and then the time of its SIGTERM on the monotonic clock, which all processes of a
# machine share. The signal is blocked and awaited with sigwait(), which returns at once.
_SIGTERM_CLOCK: Final = """
import signal, time
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
print("ready", flush=True)
signal.sigwait({signal.SIGTERM})
print(time.perf_counter_ns())
"""
SIGTERM_CLOCK: Final = JobSpec(command=sys.executable, args=("-I", "-S", "-c", _SIGTERM_CLOCK))
NOW: Final = JobSpec(command="date", args=("+%s%N",))  # prints the nanoseconds of its start


async def dispatch(setting: Setting) -> list[Figure]:
    """Milliseconds from a submit to its job's start and end, and from a cancel to its SIGTERM.

    For the memory log and for SQLite: one real server, one real idle worker, and one client that
    makes one call after the other. The job's process reads the clock for its start; an end counts
    when the client has read the event. Measured separately: the time from an enqueue until a parked
    worker's stream has the job. Baseline: a bare TLS round trip. Leaves out git, containers,
    terminals, and queues with jobs.
    """
    async with AsyncExitStack() as stack:
        (channel,) = await stack.enter_async_context(echo_channels(setting))
        bare = round_trip(channel)
        contenders = [bare]
        for store in (MEMORY, setting.sqlite("dispatch")):
            served = await stack.enter_async_context(server(setting, store))
            client = await stack.enter_async_context(setting.client(served.address))
            await stack.enter_async_context(worker(setting, served.address))
            contenders += Setup(setting, served, client, store.name).contenders(bare.name)
        return await compare(
            "dispatch",
            contenders,
            rounds=setting.rounds,
            seconds=setting.seconds,
            dice=setting.dice("dispatch"),
        )


@dataclass(frozen=True, slots=True)
class Setup:
    """A server with an idle worker, and a client."""

    setting: Setting
    served: Served
    client: JobsClient
    store: str

    def contenders(self, bare: str) -> list[Contender]:
        return [
            Contender(
                name=f"{self.store}, submit to start, p50",
                unit="ms",
                run=partial(self._timed, self._begun),
                against={bare: START_BAR},
                p99_against={bare: START_P99_BAR},
            ),
            Contender(
                name=f"{self.store}, submit to end, p50",
                unit="ms",
                run=partial(self._timed, self._ended),
                against={bare: None},
            ),
            Contender(
                name=f"{self.store}, enqueue to a parked worker, p50",
                unit="ms",
                run=self._parked,
                against={bare: None},
            ),
            Contender(
                name=f"{self.store}, cancel to SIGTERM, p50",
                unit="ms",
                run=partial(self._timed, self._cancelled),
                against={bare: None},
                p99_against={bare: CANCEL_P99_BAR},
            ),
        ]

    async def _timed(self, once: Callable[[], Awaitable[float]], seconds: float) -> Sample:
        """Repeats an operation that returns its own latency in seconds."""
        times, end, meter = list[float](), perf_counter() + seconds, Meter(self.served.pid)
        while not times or perf_counter() < end:
            times.append(await once())
        return latency(times, busy=meter.busy, resident=meter.resident)

    async def _begun(self) -> float:
        """Submits a job that prints the time of its start; returns the seconds until then."""
        start, output = time.time_ns(), b""
        job = await self.client.enqueue(NOW)
        async for entry in self.client.watch(job.id):
            if isinstance(entry.body, Output):
                output += b"".join(chunk.data for chunk in entry.body.chunks)
        return (int(output) - start) / 1e9

    async def _ended(self) -> float:
        """Submits /bin/true; returns the seconds until the client has read the end."""
        start, elapsed = perf_counter(), 0.0
        job = await self.client.enqueue(TRUE)
        async for entry in self.client.watch(job.id):
            if isinstance(entry.body, JobFinished):
                elapsed = perf_counter() - start
        return elapsed

    async def _parked(self, seconds: float) -> Sample:
        """Times enqueues while a worker's stream waits for the job."""
        session = NoopWorker(await self.setting.connect(self.served.address))
        await session.hello(slots=1)
        try:
            return await self._timed(partial(self._taken, session), seconds)
        finally:
            await session.close()

    async def _taken(self, session: NoopWorker) -> float:
        """Enqueues a no-op job; returns the seconds until the worker's stream had the job."""
        start, settled = perf_counter(), session.settled
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.client.enqueue(NOTHING))
            while session.settled == settled:
                await session.step()
        return session.taken_at - start

    async def _cancelled(self) -> float:
        """Cancels a running job; returns the seconds until its process had SIGTERM."""
        output, start = b"", 0.0
        job = await self.client.enqueue(SIGTERM_CLOCK)
        async for entry in self.client.watch(job.id):
            if isinstance(entry.body, Output):
                output += b"".join(chunk.data for chunk in entry.body.chunks)
                if not start and b"\n" in output:
                    start = perf_counter()
                    await self.client.cancel(job.id)
        _, at = output.split()
        return int(at) / 1e9 - start
