"""What this machine and these libraries can do without airunner, in the same run.

A number without its baseline says more about the machine than about the program.
"""

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from time import perf_counter

import grpc

from airunner.bench.echo import SERVICE
from airunner.bench.figures import Figure, latencies, rate

Echo = grpc.aio.UnaryUnaryMultiCallable[bytes, bytes]
Stream = grpc.aio.StreamStreamMultiCallable[bytes, bytes]

CALLERS = 32  # at once, where a baseline has several
PIECE = bytes(64 * 1024)
WINDOW = 32  # pieces on their way


async def baselines(
    seconds: float, certs: Path, environment: Mapping[str, str]
) -> AsyncIterator[Figure]:
    """Every baseline, each for so many seconds."""
    yield spawns(seconds, environment)
    async with echo_channel(certs, environment) as channel:
        for figure in await unary_echoes(seconds, channel):
            yield figure
        yield await concurrent_echoes(seconds, channel)
        yield await streamed_bytes(seconds, channel)


def spawns(seconds: float, environment: Mapping[str, str]) -> Figure:
    """Processes that start and end, one after the other: posix_spawn of /bin/true, and wait.

    Leaves out pipes, control groups, workspaces and everybody who would be told.
    """
    count, start = 0, perf_counter()
    while perf_counter() < start + seconds:
        os.waitpid(os.posix_spawn("/bin/true", ["true"], dict(environment)), 0)
        count += 1
    return rate(
        "bare spawn of /bin/true",
        count,
        perf_counter() - start,
        "processes",
        baseline=True,
    )


@asynccontextmanager
async def echo_channel(
    certs: Path, environment: Mapping[str, str]
) -> AsyncIterator[grpc.aio.Channel]:
    """A TLS channel to an echo server in a process of its own."""
    server = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "airunner.bench.echo"),
        *(str(certs / "server.pem"), str(certs / "server-key.pem")),
        env=dict(environment),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert server.stdin
    assert server.stdout
    try:
        port = int(await server.stdout.readline())
        credentials = grpc.ssl_channel_credentials((certs / "ca.pem").read_bytes())
        async with grpc.aio.secure_channel(f"localhost:{port}", credentials) as channel:
            yield channel
    finally:
        server.stdin.close()
        await server.wait()


async def unary_echoes(seconds: float, channel: grpc.aio.Channel) -> tuple[Figure, ...]:
    """Bare gRPC calls over TLS, one at a time: how long the shortest way there and back takes."""
    echo: Echo = channel.unary_unary(f"/{SERVICE}/Unary")
    await echo(b"warm")
    times, end = list[float](), perf_counter() + seconds
    while (start := perf_counter()) < end:
        await echo(b"hello")
        times.append(perf_counter() - start)
    return latencies("bare TLS echo", times, baseline=True)


async def concurrent_echoes(seconds: float, channel: grpc.aio.Channel) -> Figure:
    """Bare gRPC calls over TLS from 32 callers on one connection: the most calls a second."""
    echo: Echo = channel.unary_unary(f"/{SERVICE}/Unary")
    start = perf_counter()

    async def call() -> int:
        count = 0
        while perf_counter() < start + seconds:
            await echo(b"hello")
            count += 1
        return count

    async with asyncio.TaskGroup() as tasks:
        callers = [tasks.create_task(call()) for _ in range(CALLERS)]
    count = sum(caller.result() for caller in callers)
    elapsed = perf_counter() - start
    return rate(f"bare TLS echo, {CALLERS} callers", count, elapsed, "calls", baseline=True)


async def streamed_bytes(seconds: float, channel: grpc.aio.Channel) -> Figure:
    """Bytes down one gRPC stream over TLS, in messages of 64 KiB, sent and sent back."""
    stream: Stream = channel.stream_stream(f"/{SERVICE}/Stream")
    call = stream()
    start, count = perf_counter(), 0
    for _ in range(WINDOW):
        await call.write(PIECE)
    while perf_counter() < start + seconds:
        await call.read()
        count += 1
        await call.write(PIECE)
    elapsed = perf_counter() - start
    call.cancel()
    megabytes = count * len(PIECE) / 1e6
    return rate("bare 64 KiB TLS stream", megabytes, elapsed, "MB", baseline=True)
