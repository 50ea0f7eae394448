"""A server's life: one engine, one log, one broker, one port, until a signal."""

import asyncio
import os
import signal
from collections import Counter
from dataclasses import dataclass

from airunner import __version__
from airunner.cli.journal import LogFormat, open_journal
from airunner.cli.lifeline import on_end
from airunner.jobs import JobId
from airunner.log.memory import MemoryLog
from airunner.retention import Retention
from airunner.server.auth import Gate
from airunner.server.broker import Broker
from airunner.server.clock import LoopClock
from airunner.server.grpc import GrpcServer
from airunner.server.ids import RandomIds
from airunner.server.journal import job_lines
from airunner.store.engine import Engine


@dataclass(frozen=True, slots=True, kw_only=True)
class Serving:
    """What a server is told at its start."""

    listen: str
    certificate: bytes
    key: bytes
    gate: Gate
    retention: Retention
    log_format: LogFormat
    ready: int | None = None  # a descriptor that is told the address, and closed
    lifeline: int | None = None  # a pipe whose end is the server's


async def serve(serving: Serving) -> int:
    """Serve until SIGTERM or SIGINT; 0 after an orderly end."""
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    on_end(serving.lifeline, stopping.set)
    journal = open_journal(serving.log_format)
    watched: Counter[JobId] = Counter()
    broker = Broker(
        Engine(serving.retention, watched),
        MemoryLog(),
        clock=LoopClock(),
        ids=RandomIds(),
        watched=watched,
        journal=job_lines(journal),
    )
    port = GrpcServer(
        broker,
        listen=serving.listen,
        certificate=serving.certificate,
        key=serving.key,
        gate=serving.gate,
        journal=journal,
        version=__version__,
    )
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(broker.run())
        breaking = tasks.create_task(port.broken())
        async with port:
            address = f"{serving.listen.rpartition(':')[0]}:{port.port}"
            journal.info("listening", address=address, version=__version__)
            if serving.ready is not None:
                with os.fdopen(serving.ready, "w") as ready:
                    ready.write(f"{address}\n")
            await stopping.wait()
            journal.info("stopping")
        breaking.cancel()
    journal.info("stopped")
    return 0
