"""The scenarios `true` and `pty`: the throughput of short jobs on a real worker."""

from contextlib import AsyncExitStack
from functools import partial
from time import perf_counter
from typing import Final

from msgspec import structs

from airunner.bench.cases.enqueue import BATCH
from airunner.bench.load.bare_spawn import spawn, terminal_spawn
from airunner.bench.load.job_filler import NO_KEY
from airunner.bench.load.processes import server, worker
from airunner.bench.load.procfs import Meter
from airunner.bench.report.figures import Bar, Figure, Sample, rate
from airunner.bench.report.rounds import Contender, compare
from airunner.bench.setting import Setting
from airunner.model.errors import Refused
from airunner.model.job_events import JobFinished
from airunner.model.jobs import JobId, JobState
from airunner.model.spec import JobSpec, ProcessType
from airunner.wire.client.jobs_client import JobsClient

WARM_UP: Final = 20  # jobs
BAR: Final = Bar(0.35)  # of bare spawns
TRUE: Final = JobSpec(command="/bin/true")
TERMINAL_TRUE: Final = structs.replace(TRUE, process_type=ProcessType.PTY)


async def true(setting: Setting) -> list[Figure]:
    """Jobs of /bin/true a second, each in a workspace and a process tree of its own.

    One real server with the run's store, and one real worker process. Baseline: bare spawns with
    two pipes, one after the other. Leaves out git, containers, terminals and output.
    """
    return await _against(setting, "true", TRUE, spawn(setting))


async def pty(setting: Setting) -> list[Figure]:
    """Jobs of /bin/true a second, each on a terminal of its own.

    Like the scenario `true`; the baseline is bare spawns, each with a session and a terminal.
    Leaves out the output of such jobs.
    """
    return await _against(setting, "pty", TERMINAL_TRUE, terminal_spawn(setting))


async def _against(setting: Setting, name: str, spec: JobSpec, bare: Contender) -> list[Figure]:
    async with AsyncExitStack() as stack:
        store = setting.store(name)
        served = await stack.enter_async_context(server(setting, store))
        client = await stack.enter_async_context(setting.client(served.address))
        await stack.enter_async_context(worker(setting, served.address))
        jobs = Contender(
            name=f"/bin/true jobs, {store.name}, {setting.slots} at once",
            unit="jobs/s",
            run=partial(_run, client, spec, setting.slots, served.pid),
            against={bare.name: BAR},
        )
        return await compare(
            name,
            [bare, jobs],
            rounds=setting.rounds,
            seconds=setting.seconds,
            dice=setting.dice(name),
        )


async def _run(
    client: JobsClient, spec: JobSpec, slots: int, server: int, seconds: float
) -> Sample:
    """Runs as many jobs as fit in `seconds` by the rate of a warm-up.

    The jobs are enqueued 100 in a call. The clock stops when the last job has ended.
    """
    start = perf_counter()
    await _run_all(client, spec, WARM_UP, slots)
    jobs = max(WARM_UP, round(WARM_UP / (perf_counter() - start) * seconds))
    start, meter = perf_counter(), Meter(server)
    await _run_all(client, spec, jobs, slots)
    elapsed = perf_counter() - start
    return rate(jobs, elapsed, busy=meter.busy, resident=meter.resident)


async def _run_all(client: JobsClient, spec: JobSpec, jobs: int, slots: int) -> None:
    """Enqueues `jobs` jobs; returns when all of them have ended."""
    ids: list[JobId] = []
    while len(ids) < jobs:
        requests = [(spec, NO_KEY)] * min(BATCH, jobs - len(ids))
        for answer in await client.enqueue_many(requests):
            if isinstance(answer, Refused):
                raise answer
            ids.append(answer.id)
    # A single queue: when the last jobs have ended, all earlier jobs have ended.
    for id in ids[-slots:]:
        async for entry in client.watch(id):
            if isinstance(entry.body, JobFinished):
                assert entry.body.state is JobState.COMPLETED, entry.body.outcome
