"""The scenario `fanout`: the latency of output to many monitors of one job."""

import asyncio
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from time import perf_counter, perf_counter_ns
from typing import Final

import grpc

from airunner.bench.load.baselines import STREAM, EchoServer, channels_to, echo_server, stream_for
from airunner.bench.load.job_filler import UNLIMITED
from airunner.bench.load.processes import Served, server, worker
from airunner.bench.load.procfs import Meter
from airunner.bench.report.figures import Bar, Figure, Sample, figure, latency, rate
from airunner.bench.report.rounds import Contender, compare
from airunner.bench.setting import Setting
from airunner.model.job_events import JobFinished
from airunner.model.jobs import JobId
from airunner.model.reports import Output, ProcessStarted
from airunner.model.spec import JobSpec
from airunner.model.units import show_count
from airunner.wire.client.jobs_client import JobsClient

COUNTS: Final = (1, 10, 100)  # monitors
BLOCK_BYTES: Final = 10_000
BLOCKS_A_SECOND: Final = 100
STAMP_BYTES: Final = 20
COST_BAR: Final = Bar(3, most=True)  # times a bare stream, processor time for each MB sent
LOST_BAR: Final = Bar(0, most=True)  # bytes

# After a byte on the named pipe, writes blocks at fixed intervals. A block begins with the time of
# its write, in nanoseconds on the monotonic clock, which all processes of a machine share.
_WRITER: Final = f"""
import os, sys, time
with open(sys.argv[1], "rb", buffering=0) as go:
    go.read(1)
start = time.perf_counter()
for at in range(int(sys.argv[2])):
    time.sleep(max(0.0, start + at / {BLOCKS_A_SECOND} - time.perf_counter()))
    stamp = b"%0{STAMP_BYTES - 1}d\\n" % time.perf_counter_ns()
    os.write(1, stamp.ljust({BLOCK_BYTES}, b"."))
"""


async def fanout(setting: Setting) -> list[Figure]:
    """Milliseconds from a job's write to its monitors' reads, with 1, 10 and 100 of them.

    The job writes 1 MB/s in blocks of 10,000 bytes. One real server with the run's store, and one
    real worker, which gathers output for up to 25 ms. Each monitor has a connection of its own. All
    monitors share this process; its cost is in every delay, and not in the server's processor time.
    With several monitors, the last monitor reads nothing until the others have read all; its delays
    do not count, its missing events do. The baseline of the processor time for each MB that arrives
    is a bare server that echoes messages of 64 KiB. Leaves out terminals and networks.
    """
    async with AsyncExitStack() as stack:
        served = await stack.enter_async_context(
            server(setting, setting.store("fanout"), *UNLIMITED)
        )
        await stack.enter_async_context(worker(setting, served.address))
        clients = [
            await stack.enter_async_context(setting.client(served.address))
            for _ in range(max(COUNTS))
        ]
        groups = [Watchers(setting.folder / "go", served, clients[:count]) for count in COUNTS]
        echo = await stack.enter_async_context(echo_server(setting))
        (channel,) = await stack.enter_async_context(channels_to(echo, setting))
        bare = Bare(echo, channel)
        contenders = list[Contender]()
        for group in groups:
            contenders.append(
                Contender(
                    name=f"write to read, {group.name}, p50",
                    unit="ms",
                    run=group.watch,
                    against={contenders[0].name: None} if contenders else {},
                )
            )
        figures = await compare(
            "fanout",
            [*contenders, bare.contender()],
            rounds=setting.rounds,
            seconds=setting.seconds,
            dice=setting.dice("fanout"),
        )
        cost = bare.figure()
        return [*figures, cost, *(each for group in groups for each in group.figures(cost))]


@dataclass(slots=True)
class Bare:
    """The baseline of a bare server that echoes bytes on one stream."""

    server: EchoServer
    channel: grpc.aio.Channel
    costs: list[float] = field(default_factory=list)  # processor milliseconds for each MB

    def contender(self) -> Contender:
        return Contender(name=STREAM, unit="MB/s", run=self._run, baseline=True)

    async def _run(self, seconds: float) -> Sample:
        start, meter = perf_counter(), Meter(self.server.process.pid)
        megabytes = await stream_for(self.channel, seconds)
        self.costs.append(1000 * meter.busy / megabytes)
        return rate(megabytes, perf_counter() - start, busy=meter.busy)

    def figure(self) -> Figure:
        return replace(figure("fanout", f"{STREAM}, cost", self.costs, "ms/MB"), baseline=True)


@dataclass(slots=True)
class Monitor:
    """A client that follows a job: its delays, and the events and bytes that it misses."""

    client: JobsClient
    resume: asyncio.Event  # after the process's start, the monitor reads when this is set
    started: asyncio.Event = field(default_factory=asyncio.Event)  # set by the process's start
    size: int = 0  # bytes of output
    missing: int = 0  # skipped sequences, and bytes below the size in the job's seal
    delays: list[float] = field(default_factory=list)  # seconds, of complete blocks
    _next: int = 1  # sequence
    _rest: bytes = b""  # the beginning of an incomplete block

    async def watch(self, job: JobId) -> None:
        async for entry in self.client.watch(job):
            self.missing += entry.first - self._next
            self._next = entry.last + 1
            match entry.body:
                case ProcessStarted():
                    self.started.set()
                    await self.resume.wait()
                case Output() as output:
                    self._read(b"".join(chunk.data for chunk in output.chunks))
                case JobFinished(seal=seal):
                    assert seal
                    self.missing += seal.size - self.size

    def _read(self, data: bytes) -> None:
        now = perf_counter_ns()
        self.size += len(data)
        self._rest += data
        while len(self._rest) >= BLOCK_BYTES:
            self.delays.append((now - int(self._rest[:STAMP_BYTES])) / 1e9)
            self._rest = self._rest[BLOCK_BYTES:]


@dataclass(slots=True)
class Watchers:
    """The monitors of one job; with several monitors, the last monitor is slow."""

    go: Path  # a named pipe
    served: Served
    clients: Sequence[JobsClient]
    cores: list[float] = field(default_factory=list)  # busy cores of the server, in each run
    costs: list[float] = field(default_factory=list)  # processor milliseconds for each MB
    missing: int = 0
    size: int = 0  # bytes that have arrived, over all monitors

    @property
    def name(self) -> str:
        return show_count(len(self.clients), "monitor")

    async def watch(self, seconds: float) -> Sample:
        """Runs a job that writes for `seconds`; returns the delays of the quick monitors."""
        blocks = max(1, round(seconds * BLOCKS_A_SECOND))
        arguments = ("-I", "-S", "-c", _WRITER, str(self.go), str(blocks))
        now, later = asyncio.Event(), asyncio.Event()
        now.set()
        quick = [Monitor(client, now) for client in self.clients[: max(1, len(self.clients) - 1)]]
        slow = [Monitor(client, later) for client in self.clients[len(quick) :]]
        monitors = [*quick, *slow]
        with named_pipe(self.go) as go:
            job = await self.clients[0].enqueue(JobSpec(command=sys.executable, args=arguments))
            async with asyncio.TaskGroup() as tasks:
                watching = [tasks.create_task(each.watch(job.id)) for each in monitors]
                for each in monitors:
                    await each.started.wait()
                start, meter = perf_counter(), Meter(self.served.pid)
                os.write(go, b"!")
                await asyncio.wait(watching[: len(quick)])
                self.cores.append(meter.busy / (perf_counter() - start))
                sent = sum(each.size for each in quick) / 1e6
                self.costs.append(1000 * meter.busy / sent)
                later.set()
        self.missing += sum(each.missing for each in monitors)
        self.size += sum(each.size for each in monitors)
        delays = [delay for each in quick for delay in each.delays]
        return latency(delays, resident=meter.resident)

    def figures(self, bare: Figure) -> list[Figure]:
        """The figures over all runs: the server's cores and cost, and the missing bytes."""
        bar = COST_BAR if len(self.clients) == max(COUNTS) else None
        lost = f"missing of {self.size:,} bytes, {self.name}"
        cost = f"server's cost, {self.name}"
        return [
            figure("fanout", f"server, {self.name}", self.cores, "cores"),
            figure("fanout", cost, self.costs, "ms/MB", against=[(bare, bar)]),
            figure("fanout", lost, [self.missing], "bytes", bar=LOST_BAR),
        ]


@contextmanager
def named_pipe(path: Path) -> Iterator[int]:
    """Makes a named pipe; yields a descriptor open for reading and writing, which never blocks."""
    os.mkfifo(path, mode=0o600)
    try:
        pipe = os.open(path, os.O_RDWR)
        try:
            yield pipe
        finally:
            os.close(pipe)
    finally:
        path.unlink()
