"""Everything that is measured, in one run: the baselines first, then airunner."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from airunner.bench.baselines import baselines
from airunner.bench.figures import Figure
from airunner.bench.processes import server, worker
from airunner.bench.scenarios import latency, log_bytes, protocol, real_jobs
from airunner.channel import Channel
from airunner.session import FromServer, FromWorker
from airunner.wire.client import JobsClient

AGAINST: Final[Mapping[str, str]] = {
    "no-op jobs": "bare TLS echo, 32 callers",
    "submit to start, p50": "bare TLS echo, p50",
    "submit to start, p99": "bare TLS echo, p99",
    "submit to end, p50": "bare TLS echo, p50",
    "submit to end, p99": "bare TLS echo, p99",
    "/bin/true jobs": "bare spawn of /bin/true",
    "log to one monitor": "bare 64 KiB TLS stream",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """What a run needs from its surroundings. `certs` has what `airunner certs` makes."""

    seconds: float  # for each measurement
    slots: int  # of the real worker
    certs: Path
    work: Path  # an empty folder
    environment: Mapping[str, str]  # of the processes that it starts
    client: Callable[[str], AbstractAsyncContextManager[JobsClient]]  # for an address
    connect: Callable[[str], Awaitable[Channel[FromWorker, FromServer]]]  # a worker's stream


async def measure(bench: Bench) -> AsyncIterator[Figure]:
    """Each figure as soon as it is known, those of airunner beside their baselines."""
    known: dict[str, float] = {}
    async for figure in _figures(bench):
        if figure.baseline:
            known[figure.name] = figure.value
            yield figure
        else:
            against = AGAINST[figure.name]
            yield replace(figure, against=against, ratio=figure.value / known[against])


async def _figures(bench: Bench) -> AsyncIterator[Figure]:
    seconds, certs, environment = bench.seconds, bench.certs, bench.environment
    async for figure in baselines(seconds, certs, environment):
        yield figure
    async with server(certs, environment) as address, bench.client(address) as client:
        yield await protocol(seconds, client, await bench.connect(address))
        async with worker(address, certs, bench.work, slots=bench.slots, environment=environment):
            for figure in await latency(seconds, client):
                yield figure
            yield await real_jobs(seconds, client, bench.slots)
            yield await log_bytes(seconds, client)
