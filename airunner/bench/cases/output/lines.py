"""The scenario `lines`: the throughput of short lines, each with a write of its own."""

import asyncio
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Final

from airunner.bench.load.bare_spawn import read_all
from airunner.bench.load.job_filler import UNLIMITED
from airunner.bench.load.processes import Served, server, worker
from airunner.bench.load.procfs import Meter
from airunner.bench.report.figures import Bar, Figure, Sample, rate
from airunner.bench.report.rounds import Contender, compare
from airunner.bench.setting import Setting
from airunner.model.reports import Output
from airunner.model.spec import JobSpec, ProcessType
from airunner.wire.client.jobs_client import JobsClient

LINE_BYTES: Final = 40  # with its newline; a terminal adds a carriage return
LINES_A_SECOND: Final = 300_000  # an estimate, for the number of lines of a measurement
LINES_MIN: Final = 2_000
LINES_MAX: Final = 1_000_000
BAR: Final = Bar(0.2)  # of a bare reader


async def lines(setting: Setting) -> list[Figure]:
    """Lines a second of one job, from its write(2) to storage and down to one monitor.

    A line has 40 bytes. `dd` writes each line with a write of its own, from a file in the kernel's
    cache, into a pipe and into a terminal. One real server with the run's store, one real worker,
    one client in this process. The clock runs from the submit to the last line at the monitor.
    Baseline: the same `dd` with a reader in this process, from spawn to end. Leaves out programs
    that write many lines at a time.
    """
    async with AsyncExitStack() as stack:
        store = setting.store("lines")
        served = await stack.enter_async_context(server(setting, store, *UNLIMITED))
        await stack.enter_async_context(worker(setting, served.address))
        client = await stack.enter_async_context(setting.client(served.address))
        writer = Writer(setting.folder / "lines")
        contenders = list[Contender]()
        for kind, terminal in (("a pipe", False), ("a terminal", True)):
            bare = Contender(
                name=f"bare reader of {kind}",
                unit="lines/s",
                run=partial(_read, setting, writer, terminal),
                baseline=True,
            )
            job = Contender(
                name=f"lines of a job on {kind}, {store.name}",
                unit="lines/s",
                run=partial(_watched, client, served, writer, terminal),
                against={bare.name: BAR},
            )
            contenders += [bare, job]
        return await compare(
            "lines",
            contenders,
            rounds=setting.rounds,
            seconds=setting.seconds,
            dice=setting.dice("lines"),
        )


@dataclass(frozen=True, slots=True)
class Writer:
    """A `dd` command that writes lines, and the file that it copies them from."""

    path: Path

    def command(self, seconds: float) -> tuple[int, tuple[str, ...]]:
        """The number of lines for `seconds`, and the arguments; writes the file if needed."""
        count = min(max(LINES_MIN, round(LINES_A_SECOND * seconds)), LINES_MAX)
        line = b"x" * (LINE_BYTES - 1) + b"\n"
        if not self.path.exists() or self.path.stat().st_size != count * LINE_BYTES:
            self.path.write_bytes(line * count)
        return count, ("dd", f"if={self.path}", f"bs={LINE_BYTES}", "status=none")


async def _read(setting: Setting, writer: Writer, terminal: bool, seconds: float) -> Sample:
    count, command = writer.command(seconds)
    start = perf_counter()
    size = await asyncio.to_thread(read_all, command, setting.environment, terminal=terminal)
    elapsed = perf_counter() - start
    _check(size, count, terminal)
    return rate(count, elapsed)


async def _watched(
    client: JobsClient, served: Served, writer: Writer, terminal: bool, seconds: float
) -> Sample:
    count, (command, *arguments) = writer.command(seconds)
    kind = ProcessType.PTY if terminal else ProcessType.PIPE
    start, last, size, meter = perf_counter(), 0.0, 0, Meter(served.pid)
    job = await client.enqueue(JobSpec(command=command, args=tuple(arguments), process_type=kind))
    async for entry in client.watch(job.id):
        if isinstance(entry.body, Output):
            last = perf_counter()
            size += entry.body.size
    _check(size, count, terminal)
    return rate(count, last - start, busy=meter.busy, resident=meter.resident)


def _check(size: int, count: int, terminal: bool) -> None:
    expected = count * (LINE_BYTES + terminal)
    assert size == expected, f"{size} bytes of {expected} arrived"
