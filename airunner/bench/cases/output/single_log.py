"""The scenario `log`: the throughput of a job's output to storage and one monitor."""

from collections.abc import Mapping
from contextlib import AsyncExitStack
from functools import partial
from time import perf_counter
from typing import Final

from airunner.bench.load.baselines import STREAM, echo_channels, stream
from airunner.bench.load.job_filler import UNLIMITED
from airunner.bench.load.processes import Served, server, worker
from airunner.bench.load.procfs import Meter
from airunner.bench.report.figures import Bar, Figure, Sample, rate
from airunner.bench.report.rounds import Contender, compare
from airunner.bench.setting import MEMORY, Setting, Store
from airunner.model.limits import MIB
from airunner.model.reports import Output
from airunner.model.spec import JobSpec
from airunner.wire.client.jobs_client import JobsClient

MEMORY_BAR: Final = Bar(0.2)  # of a bare stream
DURABLE_BAR: Final = Bar(0.12)
# At most so much output: a measurement is one job, however long that job takes.
JOB_BYTES_MAX: Final = 64 * MIB


async def log(setting: Setting) -> list[Figure]:
    """Output a second of one job: pipe, worker with its spool, server, storage, one monitor.

    The command is `head -c` of /dev/zero. The clock runs from the first bytes at the monitor to the
    last bytes. Baselines: the memory log, and a bare stream that carries as much up and down.
    Leaves out the terminal that the monitor command writes to.
    """
    async with AsyncExitStack() as stack:
        channels = await stack.enter_async_context(echo_channels(setting))
        bare = stream(channels[0])
        volatile = await _contender(stack, setting, MEMORY, {STREAM: MEMORY_BAR})
        durable = [
            await _contender(
                stack,
                setting,
                setting.sqlite("log", fsync),
                {STREAM: DURABLE_BAR, volatile.name: None},
            )
            for fsync in setting.fsyncs
        ]
        return await compare(
            "log",
            [bare, volatile, *durable],
            rounds=setting.rounds,
            seconds=setting.seconds,
            dice=setting.dice("log"),
        )


async def _contender(
    stack: AsyncExitStack, setting: Setting, store: Store, against: Mapping[str, Bar | None]
) -> Contender:
    served = await stack.enter_async_context(server(setting, store, *UNLIMITED))
    await stack.enter_async_context(worker(setting, served.address))
    client = await stack.enter_async_context(setting.client(served.address))
    return Contender(
        name=f"log to one monitor, {store.name}",
        unit="MB/s",
        run=partial(_watched, client, served, min(JOB_BYTES_MAX, setting.output_bytes)),
        against=against,
    )


async def _watched(client: JobsClient, served: Served, size: int, _seconds: float) -> Sample:
    start, last, received = 0.0, 0.0, 0
    meter = Meter(served.pid)
    zeros = JobSpec(command="head", args=("-c", str(size), "/dev/zero"))
    job = await client.enqueue(zeros)
    async for entry in client.watch(job.id):
        if isinstance(entry.body, Output):
            last = perf_counter()
            start = start or last
            received += entry.body.size
    assert received == size, f"{received} bytes of {size} arrived"
    return rate(received / 1e6, last - start, busy=meter.busy, resident=meter.resident)
