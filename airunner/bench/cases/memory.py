"""The scenario `memory`: the resident memory of a server for jobs and output."""

import asyncio
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from airunner.bench.load.baselines import channels_to, echo_server, stream_for
from airunner.bench.load.job_filler import UNLIMITED, fill
from airunner.bench.load.noop_worker import PROTOCOL_QUEUE, NoopWorker
from airunner.bench.load.processes import server, worker
from airunner.bench.load.procfs import forget_peak, peak_bytes, resident_bytes
from airunner.bench.report.figures import Bar, Figure, figure
from airunner.bench.setting import MEMORY, Setting, Store
from airunner.model.limits import MIB
from airunner.model.reports import Output
from airunner.model.spec import JobSpec
from airunner.wire.client.jobs_client import JobsClient

NOTHING: Final = JobSpec(command="true", queue=PROTOCOL_QUEUE)
IN_LINE: Final = "a job in line, beyond its parameters"
PARAMETER_BYTES: Final = len("true") + len(PROTOCOL_QUEUE)  # the whole of the client's parameters
QUEUED_BAR: Final = Bar(5.5, most=True)  # times a job in a bare dict
SLOTS: Final = 64  # of the worker that ends the jobs
GROWTH_BAR: Final = Bar(2.5, most=True)  # times a bare server's memory, during output
SERVER_BAR: Final = Bar(6, most=True)  # times a bare server's memory, the peak
WARM_UP_BYTES: Final = 4 * MIB  # of output, for the one-time allocations
VOLATILE_BYTES_MAX: Final = 128 * MIB  # of output through the memory log, which stores it
BARE_JOBS: Final = 20_000

# Prints the resident bytes of a job in a dict of jobs, a dict of five fields for each job.
_DICTS: Final = """
import sys, uuid
from airunner.bench.load.procfs import resident_bytes
before, count, jobs = resident_bytes("self"), int(sys.argv[1]), {}
for number in range(count):
    id = str(uuid.UUID(int=number))
    jobs[id] = {"id": id, "command": "true", "queue": "bench", "state": 1, "at": 10**12 + number}
print((resident_bytes("self") - before) / count)
"""


async def memory(setting: Setting) -> list[Figure]:
    """Resident memory of a real server: for a job in line, a finished job, and a MiB of output.

    The kernel's count, once for each store, on new servers. The bytes of a job's parameters do not
    count for a job in line. The output is of one job on a real worker, and one monitor reads all
    of it. The peak is the kernel's own, so no short peak is missed. Baselines: a Python dict with a
    dict of five fields for each job, and a bare server that echoes messages of 64 KiB. Leaves out
    the kernel's file cache.
    """
    durable = setting.sqlite("memory")
    volatile_jobs, durable_jobs = await _jobs(setting, MEMORY), await _jobs(setting, durable)
    volatile = await _output(setting, MEMORY, min(setting.output_bytes, VOLATILE_BYTES_MAX))
    kept = await _output(setting, durable, setting.output_bytes)
    dicts = _bare("a job in a bare dict", await _dict_bytes(setting), "bytes")
    echo = _bare("a bare server", await _echo_bytes(setting) / MIB, "MiB")
    figures = [dicts, echo]
    for name, (one, other) in {
        IN_LINE: (volatile_jobs.queued, durable_jobs.queued),
        "a finished job": (volatile_jobs.finished, durable_jobs.finished),
        "a MiB of output": (volatile.per_mib, kept.per_mib),
    }.items():
        figures += _beside(name, one, other, durable, dicts)
    through = f"{setting.output_bytes // MIB:,} MiB of output through {durable.name}"
    return [
        *figures,
        figure(
            *("memory", f"growth by {through}", [kept.growth / MIB], "MiB"),
            against=[(echo, GROWTH_BAR)],
        ),
        figure(
            *("memory", f"peak with {through}", [kept.peak / MIB], "MiB"),
            against=[(echo, SERVER_BAR)],
        ),
    ]


@dataclass(frozen=True, slots=True)
class JobBytes:
    """Resident bytes for each job."""

    waiting: float
    finished: float

    @property
    def queued(self) -> float:
        return max(0.0, self.waiting - PARAMETER_BYTES)


@dataclass(frozen=True, slots=True)
class Growth:
    """Resident bytes of a server before and while output passed through."""

    before: int
    peak: int
    output: int  # bytes

    @property
    def growth(self) -> int:
        return max(0, self.peak - self.before)

    @property
    def per_mib(self) -> float:
        return self.growth * MIB / self.output


async def _jobs(setting: Setting, store: Store) -> JobBytes:
    """Enqueues jobs, and then completes all of them on a no-op worker."""
    async with (
        server(setting, replace(store, path=_beside_path(store, "jobs")), *UNLIMITED) as served,
        setting.client(served.address) as client,
    ):
        await fill(client, NOTHING, 1)
        before = resident_bytes(served.pid)
        await fill(client, NOTHING, setting.jobs)
        waiting = resident_bytes(served.pid)
        session = NoopWorker(await setting.connect(served.address))
        await session.hello(SLOTS)
        while session.settled <= setting.jobs:
            await session.step()
        finished = resident_bytes(served.pid)
        await session.close()
    # The allocator may return some memory meanwhile: a negative difference counts as 0.
    taken = (max(0, each - before) for each in (waiting, finished))
    return JobBytes(*(each / setting.jobs for each in taken))


async def _output(setting: Setting, store: Store, size: int) -> Growth:
    """Measures the server while a job writes `size` bytes and a monitor reads them."""
    async with (
        server(setting, store) as served,
        worker(setting, served.address),
        setting.client(served.address) as client,
    ):
        await _write(client, WARM_UP_BYTES)
        before = resident_bytes(served.pid)
        forget_peak(served.pid)
        await _write(client, size)
        return Growth(before, peak_bytes(served.pid), size)


async def _write(client: JobsClient, size: int) -> None:
    job = await client.enqueue(JobSpec(command="head", args=("-c", str(size), "/dev/zero")))
    received = 0
    async for entry in client.watch(job.id):
        if isinstance(entry.body, Output):
            received += entry.body.size
    assert received == size, f"{received} bytes of {size} arrived"


async def _dict_bytes(setting: Setting) -> float:
    """Resident bytes of a job in a bare dict, in a process without other data."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", _DICTS, str(BARE_JOBS)),
        env=dict(setting.environment),
        stdout=subprocess.PIPE,
    )
    output, _ = await process.communicate()
    return float(output)


async def _echo_bytes(setting: Setting) -> int:
    """The peak of resident bytes of a bare server that has echoed a stream."""
    async with echo_server(setting) as echo, channels_to(echo, setting) as (channel,):
        await stream_for(channel, setting.seconds)
        return peak_bytes(echo.process.pid)


def _bare(name: str, value: float, unit: str) -> Figure:
    return replace(figure("memory", name, [value], unit), baseline=True)


def _beside(name: str, volatile: float, kept: float, store: Store, dicts: Figure) -> list[Figure]:
    """The figure of the memory log, and the figure of a durable store with its ratio to memory."""
    beside = [(dicts, QUEUED_BAR)] if name == IN_LINE else []
    one = figure("memory", f"{name}, {MEMORY.name}", [volatile], "bytes", against=beside)
    other = f"{name}, {store.name}"
    return [one, figure("memory", other, [kept], "bytes", against=[*beside, (one, None)])]


def _beside_path(store: Store, name: str) -> Path | None:
    """The path of another file for the same kind of store; None for memory."""
    return store.path and store.path.with_name(f"{name}-{store.path.name}")
