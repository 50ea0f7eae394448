"""The server process: one log, one engine, one broker and one port, until a signal.

Start: the engine replays the log before the port opens. Stop: the port closes, the broker's
decided facts reach the log, the log is closed. If the log fails, the server stops in the same
order; no client has been told of a fact that the log did not take.
"""

import asyncio
import gc
import os
import time
from dataclasses import dataclass
from typing import Final

from structlog.typing import FilteringBoundLogger

from airunner import __version__
from airunner.cli.exit_codes import OURS, innermost
from airunner.cli.processes.lifeline import on_end
from airunner.cli.processes.logging import LogFormat, open_journal, open_lines
from airunner.cli.processes.signals import on_stop_signals
from airunner.cli.processes.storage import opened
from airunner.log.log import LogDamaged, LogFailed
from airunner.log.storage import OpenStorage, StorageOptions
from airunner.server.artifacts import ArtifactService, blob_remover
from airunner.server.auth import Authenticator
from airunner.server.broker import Broker
from airunner.server.grpc.server import GrpcServer
from airunner.server.ids import RandomIds
from airunner.server.job_log_lines import log_job_events
from airunner.server.replay import replay
from airunner.store.engine import Engine
from airunner.store.retention import Retention
from airunner.system.clock import LoopClock
from airunner.system.open_files import raise_open_files

# gc.set_threshold(): allocations before a collection of generation 0, of generation 1, of
# generation 2. The server's state has no cycles, so frequent collections do not pay: Python's
# default of 700, 10, 10 cost 5 us for each queued job, and a pause of up to 0.2 s with 85,000
# queued jobs; these thresholds cost 1.5 us, and a pause of 0.05 s.
_COLLECTED_AFTER: Final = (5_000, 50, 20)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerOptions:
    """The options of a server process."""

    listen: str
    certificate: bytes
    key: bytes
    gate: Authenticator
    store: StorageOptions
    retention: Retention
    log_format: LogFormat
    ready: int | None = None  # a descriptor: the address is written to it, then it is closed
    lifeline: int | None = None  # a pipe: the server stops when its write end closes


async def serve(options: ServerOptions) -> int:
    """Serve until SIGTERM or SIGINT; 0 after an orderly end, OURS if the log failed."""
    stopping = asyncio.Event()
    on_stop_signals(stopping.set)
    on_end(options.lifeline, stopping.set)
    journal = open_journal(options.log_format)
    code = 0
    store = await opened(options.store, options.retention)
    try:
        async with store:
            await _serve(options, store, journal, stopping)
    except* (LogFailed, LogDamaged) as failed:
        why = f"the log {store.location} failed, so the server stops: {innermost(failed)}"
        journal.critical("log_failed", error=why)
        code = OURS
    journal.info("stopped")
    return code


async def _serve(
    options: ServerOptions,
    store: OpenStorage,
    journal: FilteringBoundLogger,
    stopping: asyncio.Event,
) -> None:
    raise_open_files()
    engine = Engine(options.retention)
    began = time.monotonic()
    for note in store.notes:
        journal.warning("store_note", note=note)
    await replay(store.log, engine)
    await _sweep(store, engine, journal)
    gc.freeze()  # with 100,000 jobs each full collection would stop the server for 0.4 s
    gc.set_threshold(*_COLLECTED_AFTER)
    took = round(1000 * (time.monotonic() - began))
    journal.info("store", **store.fields, jobs=len(engine.table), replayed_ms=took)
    broker = Broker(
        engine,
        store.log,
        clock=LoopClock(floor=engine.now),
        ids=RandomIds(),
        listeners=(
            blob_remover(store.blobs),
            log_job_events(open_lines(options.log_format)),
        ),
        room=store.room,
    )
    port = GrpcServer(
        broker,
        listen=options.listen,
        certificate=options.certificate,
        key=options.key,
        gate=options.gate,
        archive=ArtifactService(broker, store.blobs),
        journal=journal,
        version=__version__,
    )
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(broker.run())
        breaking = tasks.create_task(port.broken())
        async with port:
            address = f"{options.listen.rpartition(':')[0]}:{port.port}"
            journal.info("listening", address=address, version=__version__)
            if options.ready is not None:
                with os.fdopen(options.ready, "w") as ready:
                    ready.write(f"{address}\n")
            await stopping.wait()
            journal.info("stopping")
        breaking.cancel()


async def _sweep(store: OpenStorage, engine: Engine, journal: FilteringBoundLogger) -> None:
    """Remove partial artifacts that a crash has left, and log how many jobs miss artifacts."""
    known = {job.id: job.attempt for job in engine.table.jobs() if job.artifacts}
    if missing := await store.blobs.collect_garbage(known):
        journal.warning(
            "artifacts_missing", jobs=missing, note="`airunner log check` names the files"
        )
