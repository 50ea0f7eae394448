"""The scenario `idle`: many workers that wait for a job which does not come."""

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from time import perf_counter
from typing import Final

import grpc

from airunner.bench.load.baselines import Stream, echo_server
from airunner.bench.load.echo import SERVICE
from airunner.bench.load.processes import server
from airunner.bench.load.procfs import Meter, resident_bytes
from airunner.bench.report.figures import Bar, Figure, figure
from airunner.bench.setting import MEMORY, Setting
from airunner.model.jobs import Millis, WorkerId
from airunner.model.limits import WORKER_VISIBILITY_SECONDS_DEFAULT
from airunner.model.protocol.worker_protocol import FromWorker, Heartbeat, Hello
from airunner.wire.client.endpoint import Endpoint, dial
from airunner.wire.codec.worker_protocol import encode_from_worker

WORKERS: Final = 1_000
STREAMS: Final = 20  # on each connection
BEAT_SECONDS: Final = WORKER_VISIBILITY_SECONDS_DEFAULT / 3  # between two of a worker
WINDOWS: Final = 40  # as many measurements long as this is the watch, or until each has beaten
MEMORY_BAR: Final = Bar(4, most=True)  # of what a bare server takes
CORE_BAR: Final = Bar(1.5, most=True)

WORK: Final = "/job.v1.JobService/Work"
ECHO: Final = f"/{SERVICE}/Stream"


async def idle(setting: Setting) -> list[Figure]:
    """What a server with 1,000 parked workers takes: memory, and a share of a core.

    Each worker has a stream, 20 of them share a connection, and each says that it lives every 20 s,
    by turns: 50 heartbeats a second. Watched is a real server with the memory log, from its start,
    for as long as each takes to say so once (less if measurements are short). All workers are in
    this process, whose cost is in no number. Beside it, meanwhile: a bare server that echoes the
    same messages on as many streams. Leaves out tokens, and what waits for jobs by DequeueJob.
    """
    workers = min(WORKERS, setting.jobs)
    async with AsyncExitStack() as stack:
        served = await stack.enter_async_context(server(setting, MEMORY))
        bare = await stack.enter_async_context(echo_server(setting))
        crowds = [
            ParkedWorkers(setting, workers, bare.process.pid, bare.address, ECHO),
            ParkedWorkers(setting, workers, served.pid, served.address, WORK),
        ]
        for crowd in crowds:
            stack.push_async_callback(crowd.leave)
            await crowd.come()
        seconds = min(BEAT_SECONDS, WINDOWS * setting.seconds)
        async with asyncio.TaskGroup() as tasks:
            watches = [tasks.create_task(crowd.watch(seconds)) for crowd in crowds]
        bare_cost, cost = (watch.result() for watch in watches)
        return _figures(workers, bare_cost, cost)


@dataclass(frozen=True, slots=True)
class Cost:
    """What a server took for its parked workers."""

    resident: float  # MB more than without any
    percent: float  # of a core


class ParkedWorkers:
    """Streams of bytes to a server, which say now and then that they are there."""

    def __init__(self, setting: Setting, workers: int, pid: int, address: str, method: str) -> None:
        self._pid = pid
        self._before = resident_bytes(pid)
        there = Endpoint(server=address, ca_cert=setting.certs / "ca.pem")
        self._channels = [dial(there) for _ in range(0, workers, STREAMS)]
        self._streams: Sequence[grpc.aio.StreamStreamCall[bytes, bytes]] = [
            _open(self._channels[number // STREAMS], method) for number in range(workers)
        ]

    async def come(self) -> None:
        """Let each say Hello, and be welcomed."""
        for number, stream in enumerate(self._streams):
            await _ask(stream, _hello(number))

    async def watch(self, seconds: float) -> Cost:
        """What the server takes in so many seconds, while each worker beats in its turn."""
        beat, every = _encoded(Heartbeat(())), BEAT_SECONDS / len(self._streams)
        start, meter = perf_counter(), Meter(self._pid)
        for number, stream in enumerate(self._streams):
            at = number * every
            if at >= seconds:
                break
            await asyncio.sleep(max(0.0, start + at - perf_counter()))
            await _ask(stream, beat)
        await asyncio.sleep(max(0.0, start + seconds - perf_counter()))
        percent = 100 * meter.busy / (perf_counter() - start)
        return Cost((meter.resident - self._before) / 1e6, percent)

    async def leave(self) -> None:
        for stream in self._streams:
            stream.cancel()
        for channel in self._channels:
            await channel.close()


def _open(channel: grpc.aio.Channel, method: str) -> grpc.aio.StreamStreamCall[bytes, bytes]:
    stream: Stream = channel.stream_stream(method)
    return stream()


async def _ask(stream: grpc.aio.StreamStreamCall[bytes, bytes], message: bytes) -> None:
    """Say something, and hear the answer."""
    await stream.write(message)
    if not isinstance(await stream.read(), bytes):
        raise ConnectionError(f"a parked worker was sent away: {await stream.details()}")


def _hello(number: int) -> bytes:
    return _encoded(
        Hello(
            worker=WorkerId(f"bench-{number}"),
            name="bench",
            queues=("bench-idle",),
            span=Millis(WORKER_VISIBILITY_SECONDS_DEFAULT * 1000),
            slots=1,
            credit=1,
        )
    )


def _encoded(message: FromWorker) -> bytes:
    return encode_from_worker(iter((message,))).SerializeToString()


def _figures(workers: int, bare: Cost, cost: Cost) -> list[Figure]:
    figures, many = list[Figure](), workers == WORKERS
    for what, unit, one, other, bar in (
        ("memory", "MB", bare.resident, cost.resident, MEMORY_BAR),
        ("work", "% of a core", bare.percent, cost.percent, CORE_BAR),
    ):
        name = f"{what} of {workers:,} parked streams"
        beside = replace(figure("idle", f"{name}, bare", [one], unit), baseline=True)
        figures += [
            beside,
            figure(
                "idle",
                name,
                [other],
                unit,
                against=[(beside, bar if many else None)],
            ),
        ]
    return figures
