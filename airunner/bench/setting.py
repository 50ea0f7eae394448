"""What a run of the bench is given, and what it says of the machine that it ran on."""

import os
import platform
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from random import Random

import apsw
import grpc

from airunner.bench.load.procfs import filesystem, processor
from airunner.model.protocol.channel import Channel
from airunner.model.protocol.worker_protocol import FromServer, FromWorker
from airunner.wire.client.jobs_client import JobsClient


@dataclass(frozen=True, slots=True, kw_only=True)
class Store:
    """Where a measured server keeps its jobs."""

    name: str  # as figures say it
    path: Path | None = None  # None: memory
    fsync: str = ""

    def arguments(self) -> tuple[str, ...]:
        """Of `airunner server`."""
        if self.path is None:
            return ("--store", "memory")
        return ("--store", f"sqlite:{self.path}", "--fsync", self.fsync)


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What a run needs from its surroundings. `certs` has what `airunner certs` makes."""

    seconds: float  # for each measurement in each round
    rounds: int
    clients: tuple[int, ...]  # how many at once, where a scenario has several
    slots: int  # of the real worker
    durable: bool  # where a scenario has one store: SQLite, not memory
    fsyncs: tuple[str, ...]  # of SQLite, at least one; the first where a scenario has one
    jobs: int  # where a scenario has many
    output_bytes: int  # where a scenario has much
    seed: int
    folder: Path  # an empty one, on the disk that is measured
    certs: Path
    environment: Mapping[str, str]  # of the processes that it starts
    client: Callable[[str], AbstractAsyncContextManager[JobsClient]]  # for an address
    connect: Callable[[str], Awaitable[Channel[FromWorker, FromServer]]]  # a worker's stream

    def dice(self, scenario: str) -> Random:
        """The same for the same seed, whichever scenarios run beside it."""
        return Random(f"{self.seed} {scenario}")  # noqa: S311  # nothing is secret here

    def sqlite(self, scenario: str, fsync: str | None = None) -> Store:
        """A durable store in a file of the scenario's own."""
        fsync = fsync or self.fsyncs[0]
        path = self.folder / f"{scenario}-{fsync}.db"
        return Store(name=f"SQLite {fsync}", path=path, fsync=fsync)

    def store(self, scenario: str) -> Store:
        return self.sqlite(scenario) if self.durable else MEMORY


MEMORY = Store(name="memory")


def header(setting: Setting) -> Mapping[str, str]:
    """What figures of two runs must have in common to be compared, as words."""
    return {
        "machine": f"{platform.system()} {platform.release()} {platform.machine()}, "
        f"{os.cpu_count()} x {processor() or 'processor'}",
        "Python": platform.python_version(),
        "grpcio": grpc.__version__,
        "SQLite": apsw.sqlite_lib_version(),
        "store": MEMORY.name if not setting.durable else f"SQLite, fsync {setting.fsyncs[0]}",
        "disk": filesystem(setting.folder) or "unknown",
        "measured": f"{setting.rounds} rounds of {setting.seconds:g} s, seed {setting.seed}",
    }
