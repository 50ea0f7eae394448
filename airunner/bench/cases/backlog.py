"""The scenario `backlog`: a lease while many jobs are in line."""

from contextlib import AsyncExitStack
from dataclasses import dataclass
from time import perf_counter
from typing import Final

from airunner.bench.load.job_filler import UNLIMITED, fill
from airunner.bench.load.processes import Served, server
from airunner.bench.load.procfs import Meter
from airunner.bench.load.single_job_worker import SingleJobWorker
from airunner.bench.report.figures import Bar, Figure, Sample, latency
from airunner.bench.report.rounds import Contender, compare
from airunner.bench.setting import MEMORY, Setting
from airunner.model.spec import JobSpec
from airunner.wire.client.jobs_client import JobsClient

QUEUE: Final = "bench-backlog"
SPEC: Final = JobSpec(command="make", args=("test",), queue=QUEUE)
FEW: Final = 10  # jobs
SOME: Final = 10_000
BAR: Final = Bar(2.0, most=True)  # of the same with FEW


async def backlog(setting: Setting) -> list[Figure]:
    """The milliseconds that a lease takes with 10, 10,000 and as many jobs in line as there are.

    From the credit of a worker's stream until it has the job, one after the other, on real servers
    with the memory log, which were filled by EnqueueJobs. Each job is then completed and another
    put in line, untimed, so a line keeps its length. The baseline is the shortest line. The bar is
    meant for a million jobs. Leaves out the disk, whose part does not know how long a line is.
    """
    async with AsyncExitStack() as stack:
        contenders = list[Contender]()
        for count in sorted({FEW, min(SOME, setting.jobs), setting.jobs}):
            served = await stack.enter_async_context(server(setting, MEMORY, *UNLIMITED))
            client = await stack.enter_async_context(setting.client(served.address))
            await fill(client, SPEC, count)
            line = Line(setting, served, client)
            contenders.append(
                Contender(
                    name=f"a lease with {count:,} in line, p99",
                    unit="ms",
                    run=line.leases,
                    against={contenders[0].name: BAR} if contenders else {},
                    baseline=not contenders,
                )
            )
        return await compare(
            "backlog",
            contenders,
            rounds=setting.rounds,
            seconds=setting.seconds,
            dice=setting.dice("backlog"),
        )


@dataclass(frozen=True, slots=True)
class Line:
    """A server with jobs in line, and who puts more there."""

    setting: Setting
    served: Served
    client: JobsClient

    async def leases(self, seconds: float) -> Sample:
        taker = SingleJobWorker(await self.setting.connect(self.served.address), QUEUE)
        await taker.hello()
        times, end, meter = list[float](), perf_counter() + seconds, Meter(self.served.pid)
        while not times or perf_counter() < end:
            start = perf_counter()
            token = await taker.take()
            times.append(perf_counter() - start)
            await taker.end(token)
            await self.client.enqueue(SPEC)
        await taker.close()
        return latency(times, 0.99, resident=meter.resident)
