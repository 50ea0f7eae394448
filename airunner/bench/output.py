"""The scenario `log`: one job's output, from its pipe to storage and one monitor."""

from contextlib import AsyncExitStack
from functools import partial
from time import perf_counter
from typing import Final

from airunner.bench.baselines import STREAM, echo_channels, stream
from airunner.bench.figures import Figure, Sample, rate
from airunner.bench.filling import UNLIMITED
from airunner.bench.processes import Served, server, worker
from airunner.bench.procfs import busy_seconds
from airunner.bench.rounds import Contender, compare
from airunner.bench.setting import MEMORY, Setting, Store
from airunner.limits import MIB
from airunner.reports import Output
from airunner.spec import JobSpec
from airunner.wire.client import JobsClient

JOB_BYTES: Final = 64 * MIB  # written by one job, which is one measurement however long it takes


async def log(setting: Setting) -> list[Figure]:
    """Output of one job: pipe, worker and its spool, server, storage, and down to one monitor.

    The command is `head -c` of /dev/zero; the clock runs from its first bytes at the monitor to
    its last. Beside it: the same with the memory log, and a bare stream that carries as much up
    and down. Leaves out a terminal, which the monitor command writes to.
    """
    async with AsyncExitStack() as stack:
        channels = await stack.enter_async_context(echo_channels(setting))
        bare = stream(channels[0])
        volatile = await _contender(stack, setting, MEMORY, against=(STREAM,))
        durable = [
            await _contender(
                stack, setting, setting.sqlite("log", fsync), against=(STREAM, volatile.name)
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
    stack: AsyncExitStack, setting: Setting, store: Store, *, against: tuple[str, ...]
) -> Contender:
    served = await stack.enter_async_context(server(setting, store, *UNLIMITED))
    await stack.enter_async_context(worker(setting, served.address))
    client = await stack.enter_async_context(setting.client(served.address))
    return Contender(
        name=f"log to one monitor, {store.name}",
        unit="MB/s",
        run=partial(_watched, client, served),
        against=dict.fromkeys(against),
    )


async def _watched(client: JobsClient, served: Served, _seconds: float) -> Sample:
    start, last, received = 0.0, 0.0, 0
    busy = busy_seconds(served.pid)
    zeros = JobSpec(command="head", args=("-c", str(JOB_BYTES), "/dev/zero"))
    job = await client.enqueue(zeros)
    async for entry in client.watch(job.id):
        if isinstance(entry.what, Output):
            last = perf_counter()
            start = start or last
            received += entry.what.size
    assert received == JOB_BYTES, f"{received} bytes of {JOB_BYTES} arrived"
    busy = busy_seconds(served.pid) - busy
    return rate(received / 1e6, last - start, busy=busy)
