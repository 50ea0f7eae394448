"""The settings of a bench run, and the description of the machine for the run's header."""

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
    """The store of a measured server: the memory log or a SQLite file."""

    name: str  # in the names of figures
    path: Path | None = None  # None: memory
    fsync: str = ""

    def arguments(self) -> tuple[str, ...]:
        """The arguments of `airunner server` that select this store."""
        if self.path is None:
            return ("--store", "memory")
        return ("--store", f"sqlite:{self.path}", "--fsync", self.fsync)


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """Sizes, folders and connections of a run. `certs` holds the output of `airunner certs`."""

    seconds: float  # the length of each measurement in each round
    rounds: int
    clients: tuple[int, ...]  # numbers of concurrent clients, for scenarios with several
    slots: int  # of the real worker
    durable: bool  # scenarios with a single store use SQLite (True) or memory (False)
    fsyncs: tuple[str, ...]  # fsync modes of SQLite, at least one; single-mode scenarios use [0]
    jobs: int  # the number of jobs, for scenarios with many
    output_bytes: int  # the size of the output, for scenarios with large output
    seed: int
    folder: Path  # an empty folder on the measured disk
    certs: Path
    environment: Mapping[str, str]  # of the processes that the bench starts
    client: Callable[[str], AbstractAsyncContextManager[JobsClient]]  # opens a client: address
    connect: Callable[[str], Awaitable[Channel[FromWorker, FromServer]]]  # opens a worker stream

    def dice(self, scenario: str) -> Random:
        """The random numbers of a scenario: they depend on the seed and the scenario alone."""
        return Random(f"{self.seed} {scenario}")  # noqa: S311  # no secret depends on them

    def sqlite(self, scenario: str, fsync: str | None = None) -> Store:
        """A durable store in a file that no other scenario uses."""
        fsync = fsync or self.fsyncs[0]
        path = self.folder / f"{scenario}-{fsync}.db"
        return Store(name=f"SQLite {fsync}", path=path, fsync=fsync)

    def store(self, scenario: str) -> Store:
        """The store of a scenario that measures a single store: `durable` decides."""
        return self.sqlite(scenario) if self.durable else MEMORY


MEMORY = Store(name="memory")


def header(setting: Setting) -> Mapping[str, str]:
    """The conditions of a run as text; figures of two runs compare if the conditions are equal."""
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
