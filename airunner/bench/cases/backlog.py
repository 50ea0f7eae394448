"""The scenario `backlog`: the latency of a lease from a long queue."""

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
BAR: Final = Bar(2.0, most=True)  # times a lease with FEW


async def backlog(setting: Setting) -> list[Figure]:
    """Milliseconds of a lease with 10, 10,000 and `--jobs` jobs in the queue.

    The clock runs from the credit on a worker's stream until the job arrives; one lease at a time,
    on real servers with the memory log, filled by EnqueueJobs. Untimed, each leased job is
    completed and a new job is enqueued, so the queue keeps its length. The baseline is the shortest
    queue. The bar is meant for a million jobs. Leaves out the disk, since the cost of a write does
    not depend on the length of a queue.
    """
    async with AsyncExitStack() as stack:
        contenders = list[Contender]()
        for count in sorted({FEW, min(SOME, setting.jobs), setting.jobs}):
            served = await stack.enter_async_context(server(setting, MEMORY, *UNLIMITED))
            client = await stack.enter_async_context(setting.client(served.address))
            await fill(client, SPEC, count)
            filled = FilledQueue(setting, served, client)
            contenders.append(
                Contender(
                    name=f"a lease with {count:,} in line, p99",
                    unit="ms",
                    run=filled.leases,
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
class FilledQueue:
    """A server with jobs in its queue, and the client that enqueues more."""

    setting: Setting
    served: Served
    client: JobsClient

    async def leases(self, seconds: float) -> Sample:
        """Times leases, one after the other."""
        worker = SingleJobWorker(await self.setting.connect(self.served.address), QUEUE)
        await worker.hello()
        times, end, meter = list[float](), perf_counter() + seconds, Meter(self.served.pid)
        while not times or perf_counter() < end:
            start = perf_counter()
            token = await worker.take()
            times.append(perf_counter() - start)
            await worker.end(token)
            await self.client.enqueue(SPEC)
        await worker.close()
        return latency(times, 0.99, resident=meter.resident)
