"""The scenario `results`: the latency of a job's output in the results/ folder of its source."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from time import perf_counter_ns
from typing import Final

from airunner.bench.load.processes import server, worker
from airunner.bench.report.figures import Bar, Figure, Sample, latency
from airunner.bench.report.rounds import Contender, compare
from airunner.bench.setting import MEMORY, Setting
from airunner.model.spec import JobSpec
from airunner.wire.client.jobs_client import JobsClient

P99_BAR: Final = Bar(100, most=True)  # times the p99 of a bare file
LINES_A_SECOND: Final = 40  # slow enough that the worker gathers no two lines
SETTLED_SECONDS: Final = 0.2  # of reading before lines count
APPEARS_SECONDS_MAX: Final = 60
POLL_SECONDS: Final = 0.001

# Prints the times of its writes on the monotonic clock, which all processes of a machine share.
_WRITER: Final = """
import sys, time
for _ in range(int(sys.argv[1])):
    print(time.perf_counter_ns(), flush=True)
    time.sleep(float(sys.argv[2]))
"""


async def results(setting: Setting) -> list[Figure]:
    """Milliseconds from a job's write of a line until `tail -f` on its log in results/ has it.

    The job runs on a source, and writes 40 lines a second into a pipe. One real server with the
    memory log, one real worker with --jobs-dir on this machine's disk, and GNU tail. Baseline: the
    same program that writes to a file itself. Leaves out network drives.
    """
    async with AsyncExitStack() as stack:
        sources = setting.folder / "sources"
        source = sources / "job"
        source.mkdir(parents=True)
        served = await stack.enter_async_context(server(setting, MEMORY))
        await stack.enter_async_context(worker(setting, served.address, sources=sources))
        client = await stack.enter_async_context(setting.client(served.address))
        bare = Contender(
            name="bare file, write to tail -f, p50",
            unit="ms",
            run=partial(_timed, setting, partial(_bare, setting)),
            baseline=True,
        )
        job = Contender(
            name="log of a step, write to tail -f, p50",
            unit="ms",
            run=partial(_timed, setting, partial(_job, client, source)),
            against={bare.name: None},
            p99_against={bare.name: P99_BAR},
        )
        return await compare(
            "results",
            [bare, job],
            rounds=setting.rounds,
            seconds=setting.seconds,
            dice=setting.dice("results"),
        )


Writing = Callable[[tuple[str, ...], Callable[[Path], Awaitable[None]]], Awaitable[None]]


async def _timed(setting: Setting, writing: Writing, seconds: float) -> Sample:
    """Follows a log for `seconds`, after SETTLED_SECONDS that do not count."""
    times = list[float]()

    async def follow(path: Path) -> None:
        async with _tail(path, setting.environment) as lines:
            settled = perf_counter_ns() + SETTLED_SECONDS * 1e9
            async for line in lines:
                now, at = perf_counter_ns(), int(line)
                if at > settled:
                    times.append((now - at) / 1e9)
                if at > settled + seconds * 1e9:
                    break

    count = round(LINES_A_SECOND * (2 * SETTLED_SECONDS + seconds) + LINES_A_SECOND)
    program = (sys.executable, "-I", "-S", "-c", _WRITER, str(count), str(1 / LINES_A_SECOND))
    await writing(program, follow)
    return latency(times)


async def _bare(
    setting: Setting, program: tuple[str, ...], follow: Callable[[Path], Awaitable[None]]
) -> None:
    path = setting.folder / "bare.log"
    with path.open("wb") as file:
        writer = await asyncio.create_subprocess_exec(
            *program, stdout=file, stdin=subprocess.DEVNULL, env=dict(setting.environment)
        )
    try:
        await follow(path)
    finally:
        writer.kill()
        await writer.wait()


async def _job(
    client: JobsClient,
    source: Path,
    program: tuple[str, ...],
    follow: Callable[[Path], Awaitable[None]],
) -> None:
    path = source / "results" / "step_0.log"
    path.unlink(missing_ok=True)  # from the previous run
    command, *arguments = program
    job = await client.enqueue(JobSpec(command=command, args=tuple(arguments), source=source.name))
    async with asyncio.timeout(APPEARS_SECONDS_MAX):
        while not path.exists():  # noqa: ASYNC110  # without inotify, a folder must be polled
            await asyncio.sleep(POLL_SECONDS)
    await follow(path)
    await client.cancel(job.id)
    async for _ in client.watch(job.id):
        pass  # to its end, which frees the source


@asynccontextmanager
async def _tail(path: Path, environment: Mapping[str, str]) -> AsyncIterator[asyncio.StreamReader]:
    """Runs `tail -f` on a file from its beginning; yields the reader of its output."""
    reader = await asyncio.create_subprocess_exec(
        *("tail", "-n", "+1", "-f", str(path)),
        stdout=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        env=dict(environment),
    )
    try:
        assert reader.stdout
        yield reader.stdout
    finally:
        reader.kill()
        await reader.wait()
