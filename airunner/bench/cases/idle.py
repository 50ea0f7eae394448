"""The scenario `idle`: the cost of many parked workers."""

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
BEAT_SECONDS: Final = WORKER_VISIBILITY_SECONDS_DEFAULT / 3  # between two heartbeats of a worker
WINDOWS: Final = 40  # measurements: the length of the watch, at most BEAT_SECONDS
MEMORY_BAR: Final = Bar(4, most=True)  # times the memory of a bare server
CORE_BAR: Final = Bar(1.5, most=True)  # times the processor time of a bare server

WORK: Final = "/job.v1.JobService/Work"
ECHO: Final = f"/{SERVICE}/Stream"


async def idle(setting: Setting) -> list[Figure]:
    """Memory and share of a core of a server with 1,000 parked workers.

    Each worker has a stream; 20 streams share a connection. Each worker sends a heartbeat every
    20 s, in turn: 50 heartbeats a second. A real server with the memory log is measured from its
    start until each worker has sent one heartbeat (or less, if measurements are short). All workers
    are in this process; its cost is in no number. Baseline, in the same seconds: a bare server that
    echoes the same messages on as many streams. Leaves out tokens, and workers that wait for jobs
    by DequeueJob.
    """
    workers = min(WORKERS, setting.jobs)
    async with AsyncExitStack() as stack:
        served = await stack.enter_async_context(server(setting, MEMORY))
        bare = await stack.enter_async_context(echo_server(setting))
        groups = [
            ParkedWorkers(setting, workers, bare.process.pid, bare.address, ECHO),
            ParkedWorkers(setting, workers, served.pid, served.address, WORK),
        ]
        for group in groups:
            stack.push_async_callback(group.close)
            await group.connect()
        seconds = min(BEAT_SECONDS, WINDOWS * setting.seconds)
        async with asyncio.TaskGroup() as tasks:
            watches = [tasks.create_task(group.watch(seconds)) for group in groups]
        bare_cost, cost = (watch.result() for watch in watches)
        return _figures(workers, bare_cost, cost)


@dataclass(frozen=True, slots=True)
class Cost:
    """The cost of a server's parked workers."""

    resident: float  # MB above the server without workers
    percent: float  # of a core


class ParkedWorkers:
    """Streams of parked workers to a server, which send heartbeats in turn."""

    def __init__(self, setting: Setting, workers: int, pid: int, address: str, method: str) -> None:
        self._pid = pid
        self._before = resident_bytes(pid)
        endpoint = Endpoint(server=address, ca_cert=setting.certs / "ca.pem")
        self._channels = [dial(endpoint) for _ in range(0, workers, STREAMS)]
        self._streams: Sequence[grpc.aio.StreamStreamCall[bytes, bytes]] = [
            _open(self._channels[number // STREAMS], method) for number in range(workers)
        ]

    async def connect(self) -> None:
        """Sends a Hello on each stream, and waits for the Welcome."""
        for number, stream in enumerate(self._streams):
            await _ask(stream, _hello(number))

    async def watch(self, seconds: float) -> Cost:
        """Measures the server for `seconds` while the workers send heartbeats in turn."""
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

    async def close(self) -> None:
        """Cancels the streams and closes the connections."""
        for stream in self._streams:
            stream.cancel()
        for channel in self._channels:
            await channel.close()


def _open(channel: grpc.aio.Channel, method: str) -> grpc.aio.StreamStreamCall[bytes, bytes]:
    stream: Stream = channel.stream_stream(method)
    return stream()


async def _ask(stream: grpc.aio.StreamStreamCall[bytes, bytes], message: bytes) -> None:
    """Sends a message, and waits for the answer."""
    await stream.write(message)
    if not isinstance(await stream.read(), bytes):
        raise ConnectionError(
            f"the server ended the stream of a parked worker: {await stream.details()}"
        )


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
    for resource, unit, one, other, bar in (
        ("memory", "MB", bare.resident, cost.resident, MEMORY_BAR),
        ("work", "% of a core", bare.percent, cost.percent, CORE_BAR),
    ):
        name = f"{resource} of {workers:,} parked streams"
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
