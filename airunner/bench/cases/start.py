"""The scenario `start`: the start-up time of commands and of a new server."""

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from functools import partial
from itertools import count
from time import perf_counter
from typing import Final

from airunner.bench.load.processes import COMMAND, completed, server
from airunner.bench.load.procfs import busy_seconds, children_seconds, resident_bytes
from airunner.bench.report.figures import Bar, Figure, Sample, latency
from airunner.bench.report.rounds import Contender, compare
from airunner.bench.setting import MEMORY, Setting, Store

HELP_BAR: Final = Bar(20, most=True)  # times bare Python
LIST_BAR: Final = Bar(4, most=True)  # times bare Python that imports grpc.aio
PYTHON: Final = "bare Python"
PYTHON_GRPC: Final = "bare Python that imports grpc.aio"


async def start(setting: Setting) -> list[Figure]:
    """Milliseconds from exec of a command to its end, and of a server without jobs to its port.

    `airunner list` asks a real server without jobs over TLS. Baselines: the interpreter alone, and
    the interpreter with gRPC. The processor time is that of the command. Leaves out the first start
    after an installation, which compiles, and a server with jobs in its log: see `replay`.
    """
    async with AsyncExitStack() as stack:
        served = await stack.enter_async_context(server(setting, MEMORY))
        environment = {
            **setting.environment,
            "AIRUNNER_SERVER": served.address,
            "AIRUNNER_CA_CERT": str(setting.certs / "ca.pem"),
        }
        python, grpc = (
            Contender(
                name=name, unit="ms", run=partial(_ended, command, environment), baseline=True
            )
            for name, command in (
                (PYTHON, (sys.executable, "-c", "")),
                (PYTHON_GRPC, (sys.executable, "-c", "import grpc.aio")),
            )
        )
        commands = [
            Contender(
                name=f"airunner {word}",
                unit="ms",
                run=partial(_ended, (COMMAND, word), environment),
                against={bare.name: bar},
            )
            for word, bare, bar in (("--help", python, HELP_BAR), ("list", grpc, LIST_BAR))
        ]
        servers = [
            Contender(
                name=f"a new server, {store.name}",
                unit="ms",
                run=partial(_listening, setting, store, count()),
                against={grpc.name: None},
            )
            for store in (MEMORY, setting.sqlite("start"))
        ]
        return await compare(
            "start",
            [python, grpc, *commands, *servers],
            rounds=setting.rounds,
            seconds=setting.seconds,
            dice=setting.dice("start"),
        )


async def _ended(command: Sequence[str], environment: Mapping[str, str], seconds: float) -> Sample:
    """Times a command from exec to its end, one run after the other, at least one."""
    times, start, busy = list[float](), perf_counter(), children_seconds()
    while not times or perf_counter() < start + seconds:
        before = perf_counter()
        await completed(command, environment)
        times.append(perf_counter() - before)
    return latency(times, busy=children_seconds() - busy)


async def _listening(
    setting: Setting, store: Store, numbers: Iterator[int], _seconds: float
) -> Sample:
    """Times a server with a new file from exec to its open port."""
    path = store.path and store.path.with_name(f"{next(numbers)}-{store.path.name}")
    before = perf_counter()
    async with server(setting, replace(store, path=path)) as served:
        elapsed, pid = perf_counter() - before, served.pid
        return latency([elapsed], busy=busy_seconds(pid), resident=resident_bytes(pid))
