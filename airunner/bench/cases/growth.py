"""The scenario `growth`: the latency of calls with many jobs, compared with few jobs."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from functools import partial
from time import perf_counter
from typing import Final

from airunner.bench.load.engine_core import Core, pauses
from airunner.bench.load.job_filler import UNLIMITED, fill
from airunner.bench.load.processes import Served, server
from airunner.bench.load.procfs import Meter
from airunner.bench.load.single_job_worker import SingleJobWorker
from airunner.bench.report.figures import Bar, Figure, Sample, figure, latency
from airunner.bench.report.rounds import Contender, compare
from airunner.bench.setting import MEMORY, Setting
from airunner.model.job_query import JobQuery
from airunner.model.spec import JobSpec
from airunner.wire.client.jobs_client import JobsClient

QUEUE: Final = "bench-growth"
SPEC: Final = JobSpec(command="make", args=("test",), queue=QUEUE)
FEW: Final = 1_000  # jobs
PAGE: Final = JobQuery(page_size=100)
CALLS: Final = ("enqueue", "dequeue and complete", "get", "list a page of 100")
VERBS: Final = ("enqueue", "lease", "finish")
CALL_BAR: Final = Bar(1.2, most=True)  # times the call with FEW
VERB_BAR: Final = Bar(2.0, most=True)

Run = Callable[[float], Awaitable[Sample]]


async def growth(setting: Setting) -> list[Figure]:
    """Milliseconds of calls and of the core's verbs with `--jobs` jobs in the queue.

    The baseline of each call and verb is the same call or verb with 1,000 jobs. Calls go to real
    servers with the memory log, filled by EnqueueJobs, from one client that makes one call after
    the other; an untimed call restores the number of jobs. The longest EnqueueJobs while the server
    was filled shows its longest pause. Measured separately: the engine with the memory log in this
    process, and the longest garbage collection while the engine was filled. The bars are meant for
    a million jobs. Leaves out the disk, and a restarted server, which never collects old jobs.
    """
    few = min(FEW, setting.jobs)
    figures = await _calls(setting, few)
    return [*figures, *await _verbs(setting, few)]


async def _calls(setting: Setting, few: int) -> list[Figure]:
    async with AsyncExitStack() as stack:
        setups, times = list[Setup](), list[float]()
        for jobs in (few, setting.jobs):
            served = await stack.enter_async_context(server(setting, MEMORY, *UNLIMITED))
            client = await stack.enter_async_context(setting.client(served.address))
            times.clear()
            await fill(client, SPEC, jobs, times)
            setups.append(Setup(setting, served, client))
        runs = {
            name: [partial(setup.run, which) for setup in setups]
            for which, name in enumerate(CALLS)
        }
        figures = await _compared(setting, runs, few, CALL_BAR)
    calls = [1000 * each for each in times]
    usual = replace(figure("growth", "EnqueueJobs, as it usually is", calls, "ms"), baseline=True)
    name = f"the longest EnqueueJobs up to {setting.jobs:,} jobs"
    longest = figure("growth", name, [max(calls)], "ms", against=[(usual, None)])
    return [*figures, usual, longest]


async def _verbs(setting: Setting, few: int) -> list[Figure]:
    small, large = Core(SPEC), Core(SPEC)
    await small.fill(few)
    start = perf_counter()
    with pauses() as seconds:
        await large.fill(setting.jobs)
    share = 100 * sum(seconds) / (perf_counter() - start)
    runs = {
        f"core: {name}": [partial(_live, core, verb) for core in (small, large)]
        for verb, name in enumerate(VERBS)
    }
    figures = await _compared(setting, runs, few, VERB_BAR)
    name = f"core: longest search for garbage up to {setting.jobs:,} jobs"
    longest = max(seconds, default=0.0) * 1000
    return [*figures, figure("growth", name, [longest], "ms", note=f"{share:.0f} % of the time")]


async def _compared(
    setting: Setting,
    runs: Mapping[str, Sequence[Run]],
    few: int,
    bar: Bar,
) -> list[Figure]:
    """Compares each run with few jobs and the same run with many jobs."""
    contenders = list[Contender]()
    for name, (small, large) in runs.items():
        base = f"{name} with {few:,} jobs, p50"
        contenders += [
            Contender(name=base, unit="ms", run=small, baseline=True),
            Contender(
                name=f"{name} with all {setting.jobs:,} jobs, p50",
                unit="ms",
                run=large,
                against={base: bar},
            ),
        ]
    return await compare(
        "growth",
        contenders,
        rounds=setting.rounds,
        seconds=setting.seconds,
        dice=setting.dice("growth"),
    )


@dataclass(frozen=True, slots=True)
class Setup:
    """A server with enqueued jobs, and a client."""

    setting: Setting
    served: Served
    client: JobsClient

    async def run(self, which: int, seconds: float) -> Sample:
        """Times a call of CALLS repeatedly, and undoes its effect after each repetition."""
        worker = SingleJobWorker(await self.setting.connect(self.served.address), QUEUE)
        await worker.hello()
        job = await self.client.enqueue(SPEC)

        async def enqueue() -> None:
            await self.client.enqueue(SPEC)

        async def dequeue() -> None:
            await worker.end(await worker.take())

        async def get() -> None:
            await self.client.get(job.id)

        async def page() -> None:
            await self.client.list(PAGE)

        call, undo = ((enqueue, dequeue), (dequeue, enqueue), (get, None), (page, None))[which]
        times, end, meter = list[float](), perf_counter() + seconds, Meter(self.served.pid)
        while not times or perf_counter() < end:
            start = perf_counter()
            await call()
            times.append(perf_counter() - start)
            if undo:
                await undo()
        await worker.close()
        return latency(times, resident=meter.resident)


async def _live(core: Core, verb: int, seconds: float) -> Sample:
    """Runs jobs through the core; returns the times of a verb of VERBS."""
    times, end = list[float](), perf_counter() + seconds
    while not times or perf_counter() < end:
        marks = [perf_counter()]
        await core.enqueue()
        marks.append(perf_counter())
        token = await core.lease()
        marks.append(perf_counter())
        await core.finish(token)
        marks.append(perf_counter())
        times.append(marks[verb + 1] - marks[verb])
    return latency(times)
