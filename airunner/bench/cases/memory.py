"""The scenario `memory`: what jobs and output cost a server to remember."""

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
PARAMETER_BYTES: Final = len("true") + len(PROTOCOL_QUEUE)  # which is all that a client has said
QUEUED_BAR: Final = Bar(5.5, most=True)  # of a bare dict with the same in it
SLOTS: Final = 64  # of the worker that ends the jobs
GROWTH_BAR: Final = Bar(2.5, most=True)  # of all that a bare server has, while output goes through
SERVER_BAR: Final = Bar(6, most=True)  # of the same, ever
WARM_UP_BYTES: Final = 4 * MIB  # of output, so that what is made once is there
VOLATILE_BYTES_MAX: Final = 128 * MIB  # of output through the memory log, which keeps it
BARE_JOBS: Final = 20_000

# Says how many bytes each of so many dicts takes, with its key in a dict of all.
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
    """Resident memory of a real server: for each job in line, each finished job, and for output.

    Once for each store, as the kernel counts it, on servers that had nothing before. The bytes of
    what a job in line was asked with are not counted for it. Output is
    one job's, from a real worker, with one monitor that reads it all; the peak is the kernel's
    own, so nothing between two looks is missed. Beside them: a Python dict with a dict of five fields
    for each job, and a bare server that echoes pieces of 64 KiB. Leaves out what the kernel caches of
    files.
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
    """Resident bytes of a server before and while output went through."""

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
    """Put jobs in line, and then end them all without running any."""
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
    # A little may have been given back meanwhile, which is nothing that a job took.
    taken = (max(0, each - before) for each in (waiting, finished))
    return JobBytes(*(each / setting.jobs for each in taken))


async def _output(setting: Setting, store: Store, size: int) -> Growth:
    """Let one job write so many bytes, and one monitor read them."""
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
    """Resident bytes for each job in a bare dict, in a process that has nothing else."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", _DICTS, str(BARE_JOBS)),
        env=dict(setting.environment),
        stdout=subprocess.PIPE,
    )
    said, _ = await process.communicate()
    return float(said)


async def _echo_bytes(setting: Setting) -> int:
    """The most that a bare server has had when bytes have gone through it."""
    async with echo_server(setting) as echo, channels_to(echo, setting) as (channel,):
        await stream_for(channel, setting.seconds)
        return peak_bytes(echo.process.pid)


def _bare(name: str, value: float, unit: str) -> Figure:
    return replace(figure("memory", name, [value], unit), baseline=True)


def _beside(name: str, volatile: float, kept: float, store: Store, dicts: Figure) -> list[Figure]:
    """A figure of the memory log, and that of a durable store as a ratio of it."""
    beside = [(dicts, QUEUED_BAR)] if name == IN_LINE else []
    one = figure("memory", f"{name}, {MEMORY.name}", [volatile], "bytes", against=beside)
    other = f"{name}, {store.name}"
    return [one, figure("memory", other, [kept], "bytes", against=[*beside, (one, None)])]


def _beside_path(store: Store, name: str) -> Path | None:
    """Another file for the same kind of store."""
    return store.path and store.path.with_name(f"{name}-{store.path.name}")
