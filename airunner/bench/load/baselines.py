"""The baselines of bare gRPC over TLS in the same run: unary calls and streams without airunner.

A number without its baseline says more about the machine than about the program.
"""

import asyncio
import subprocess
import sys
from asyncio.subprocess import Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from time import perf_counter
from typing import Final, TypeAlias

import grpc

from airunner.bench.load.echo import SERVICE
from airunner.bench.report.figures import Sample, latency, rate
from airunner.bench.report.rounds import Contender
from airunner.bench.setting import Setting
from airunner.model.units import show_count

Echo: TypeAlias = "grpc.aio.UnaryUnaryMultiCallable[bytes, bytes]"
Stream: TypeAlias = "grpc.aio.StreamStreamMultiCallable[bytes, bytes]"

PIECE: Final = bytes(64 * 1024)
WINDOW: Final = 32  # pieces in flight

ECHO: Final = "bare TLS echo"
STREAM: Final = "bare 64 KiB TLS stream"


def round_trip(channel: grpc.aio.Channel) -> Contender:
    """The contender of sequential echo calls."""
    return Contender(
        name=f"{ECHO}, p50", unit="ms", run=partial(_round_trips, channel), baseline=True
    )


def echoes(channels: list[grpc.aio.Channel]) -> Contender:
    """The contender of concurrent echo calls: one caller for each channel."""
    name = f"{ECHO}, {callers(len(channels))}"
    return Contender(name=name, unit="calls/s", run=partial(_echoes, channels), baseline=True)


def stream(channel: grpc.aio.Channel) -> Contender:
    """The contender of one bidirectional stream of 64 KiB messages."""

    async def run(seconds: float) -> Sample:
        start = perf_counter()
        megabytes = await stream_for(channel, seconds)
        return rate(megabytes, perf_counter() - start)

    return Contender(name=STREAM, unit="MB/s", run=run, baseline=True)


def callers(count: int) -> str:
    """A number of clients as text, for the name of a figure."""
    return show_count(count, "client")


@dataclass(frozen=True, slots=True)
class EchoServer:
    """A running echo server."""

    address: str
    process: Process


@asynccontextmanager
async def echo_server(setting: Setting) -> AsyncIterator[EchoServer]:
    """Runs an echo server in a process of its own for the length of the block."""
    certs = setting.certs
    server = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "airunner.bench.load.echo"),
        *(str(certs / "server.pem"), str(certs / "server-key.pem")),
        env=dict(setting.environment),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,  # Ctrl-C reaches this process alone, which ends the server
    )
    assert server.stdin
    assert server.stdout
    try:
        yield EchoServer(f"localhost:{int(await server.stdout.readline())}", server)
    finally:
        server.stdin.close()
        await server.wait()


@asynccontextmanager
async def echo_channels(setting: Setting, count: int = 1) -> AsyncIterator[list[grpc.aio.Channel]]:
    """Opens `count` TLS connections to a new echo server."""
    async with echo_server(setting) as server, channels_to(server, setting, count) as channels:
        yield channels


@asynccontextmanager
async def channels_to(
    server: EchoServer, setting: Setting, count: int = 1
) -> AsyncIterator[list[grpc.aio.Channel]]:
    """Opens `count` TLS connections to an echo server."""
    credentials = grpc.ssl_channel_credentials((setting.certs / "ca.pem").read_bytes())
    # Without this option, all channels to an address share one connection.
    alone = (("grpc.use_local_subchannel_pool", 1),)
    channels = [
        grpc.aio.secure_channel(server.address, credentials, options=alone) for _ in range(count)
    ]
    try:
        yield channels
    finally:
        for channel in channels:
            await channel.close()


async def _round_trips(channel: grpc.aio.Channel, seconds: float) -> Sample:
    """Bare gRPC calls over TLS, one at a time: the latency of the shortest round trip."""
    echo: Echo = channel.unary_unary(f"/{SERVICE}/Unary")
    times, end = list[float](), perf_counter() + seconds
    while (start := perf_counter()) < end:
        await echo(b"hello")
        times.append(perf_counter() - start)
    return latency(times)


async def _echoes(channels: list[grpc.aio.Channel], seconds: float) -> Sample:
    """Bare gRPC calls over TLS, from concurrent callers: the maximum of calls a second."""
    times, start = list[float](), perf_counter()

    async def call(echo: Echo) -> None:
        while (now := perf_counter()) < start + seconds:
            await echo(b"hello")
            times.append(perf_counter() - now)

    async with asyncio.TaskGroup() as tasks:
        for channel in channels:
            tasks.create_task(call(channel.unary_unary(f"/{SERVICE}/Unary")))
    return rate(len(times), perf_counter() - start, times=times)


async def stream_for(channel: grpc.aio.Channel, seconds: float) -> float:
    """Echoes messages of 64 KiB on one gRPC stream over TLS; returns the MB that came back."""
    stream: Stream = channel.stream_stream(f"/{SERVICE}/Stream")
    call = stream()
    end, count = perf_counter() + seconds, 0
    for _ in range(WINDOW):
        await call.write(PIECE)
    while not count or perf_counter() < end:
        await call.read()
        count += 1
        await call.write(PIECE)
    call.cancel()
    return count * len(PIECE) / 1e6
