"""The scenario `jobs`: whole jobs, those that run nothing and those that run something."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from functools import partial
from time import perf_counter
from typing import Final

from airunner.bench.baselines import ECHO, callers, echo_channels, echoes, round_trip, spawn
from airunner.bench.figures import Figure, Sample, latency, rate
from airunner.bench.processes import server, worker
from airunner.bench.procfs import busy_seconds
from airunner.bench.rounds import Contender, compare
from airunner.bench.session import PROTOCOL_QUEUE, Session
from airunner.bench.setting import Setting
from airunner.channel import Channel
from airunner.entries import Ended
from airunner.errors import Refused
from airunner.jobs import JobId, JobState, RequestId
from airunner.reports import ProcessStarted
from airunner.session import FromServer, FromWorker
from airunner.spec import JobSpec
from airunner.wire.client import JobsClient

SLOTS: Final = 64  # of the worker that runs nothing
BATCH: Final = 100  # jobs in one EnqueueJobs
AHEAD: Final = 5  # batches in line at most
WARM_UP: Final = 20  # jobs
ECHOES: Final = 32  # callers at once
NO_KEY: Final = RequestId("")
TRUE: Final = JobSpec(command="/bin/true")

Connect = Callable[[], Awaitable[Channel[FromWorker, FromServer]]]


async def jobs(setting: Setting) -> list[Figure]:
    """No-op jobs and /bin/true jobs a second, and how soon a job starts and ends.

    One real server with the store that the run has, and one real worker. Beside them: bare TLS
    echoes, and bare spawns. Leaves out git, containers, terminals and output.
    """
    async with AsyncExitStack() as stack:
        channels = await stack.enter_async_context(echo_channels(setting, ECHOES))
        served = await stack.enter_async_context(server(setting, setting.store("jobs")))
        client = await stack.enter_async_context(setting.client(served.address))
        await stack.enter_async_context(worker(setting, served.address))
        connect = partial(setting.connect, served.address)
        many, one, bare = f"{ECHO}, {callers(ECHOES)}", round_trip(channels[0]), spawn(setting)
        contenders = [
            echoes(channels),
            one,
            bare,
            Contender(
                name="no-op jobs",
                unit="jobs/s",
                run=partial(_protocol, client, connect, served.pid),
                against={many: None},
            ),
            Contender(
                name="/bin/true jobs",
                unit="jobs/s",
                run=partial(_real, client, setting.slots, served.pid),
                against={bare.name: None},
            ),
            Contender(
                name="submit to start, p50",
                unit="ms",
                run=partial(_latency, client, ProcessStarted),
                against={one.name: None},
            ),
            Contender(
                name="submit to end, p50",
                unit="ms",
                run=partial(_latency, client, Ended),
                against={one.name: None},
            ),
        ]
        return await compare(
            "jobs",
            contenders,
            rounds=setting.rounds,
            seconds=setting.seconds,
            dice=setting.dice("jobs"),
        )


async def _protocol(client: JobsClient, connect: Connect, server: int, seconds: float) -> Sample:
    """No-op jobs: submitted, leased, completed and recorded, each with its own lease.

    Jobs arrive 100 in a call; one worker session with 64 slots completes each as soon as it has
    it. Leaves out the process, the workspace and the output.
    """
    room = asyncio.Semaphore(AHEAD)
    nothing = JobSpec(command="true", queue=PROTOCOL_QUEUE)

    async def enqueue() -> None:
        while True:
            await room.acquire()
            await client.enqueue_many([(nothing, NO_KEY)] * BATCH)

    session = Session(await connect())
    await session.hello(SLOTS)
    async with asyncio.TaskGroup() as tasks:
        enqueuing = tasks.create_task(enqueue())
        start, busy = perf_counter(), busy_seconds(server)
        while perf_counter() < start + seconds:
            if await session.step() and session.settled % BATCH == 0:
                room.release()
        elapsed = perf_counter() - start
        enqueuing.cancel()
    await session.close()
    return rate(session.settled, elapsed, busy=busy_seconds(server) - busy)


async def _real(client: JobsClient, slots: int, server: int, seconds: float) -> Sample:
    """Real jobs: /bin/true in a workspace and a process tree of its own, its end recorded.

    A warm-up says how many fit in the time; they are submitted 100 in a call, and the clock stops
    when the last has ended.
    """
    start = perf_counter()
    await _run_all(client, WARM_UP, slots)
    jobs = max(WARM_UP, round(WARM_UP / (perf_counter() - start) * seconds))
    start, busy = perf_counter(), busy_seconds(server)
    await _run_all(client, jobs, slots)
    return rate(jobs, perf_counter() - start, busy=busy_seconds(server) - busy)


async def _latency(client: JobsClient, until: type, seconds: float) -> Sample:
    """From submit to the start or the end of one /bin/true with an idle worker.

    Until the submitter has read of it, so the way back is in it.
    """
    times, end = list[float](), perf_counter() + seconds
    while (start := perf_counter()) < end:
        job = await client.enqueue(TRUE)
        async for entry in client.watch(job.id):
            if isinstance(entry.what, until):
                times.append(perf_counter() - start)
    return latency(times)


async def _run_all(client: JobsClient, jobs: int, slots: int) -> None:
    """Run so many jobs, and return when every one has ended."""
    ids: list[JobId] = []
    while len(ids) < jobs:
        wishes = [(TRUE, NO_KEY)] * min(BATCH, jobs - len(ids))
        for answer in await client.enqueue_many(wishes):
            if isinstance(answer, Refused):
                raise answer
            ids.append(answer.id)
    # One line, so when these have ended every one before them has.
    for id in ids[-slots:]:
        async for entry in client.watch(id):
            if isinstance(entry.what, Ended):
                assert entry.what.state is JobState.COMPLETED, entry.what.outcome
