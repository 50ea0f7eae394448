"""The scenario `replay`: what a start costs when many jobs have finished before it."""

import asyncio
import os
from contextlib import aclosing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from time import perf_counter, process_time, thread_time, time_ns
from typing import Final

from airunner.bench.load.bare_sqlite import BareTable, row_bytes
from airunner.bench.load.history import EVERYTHING, write
from airunner.bench.load.job_filler import UNLIMITED
from airunner.bench.load.processes import server
from airunner.bench.load.procfs import busy_seconds
from airunner.bench.report.figures import Bar, Figure, Sample
from airunner.bench.report.rounds import Contender, compare
from airunner.bench.setting import Setting, Store
from airunner.log.sqlite.log import SqliteLog
from airunner.log.sqlite.rows import fact_row
from airunner.log.sqlite.writer import Fsync
from airunner.model.facts import Event
from airunner.model.jobs import Instant
from airunner.model.limits import MIB
from airunner.server.replay import without_collection
from airunner.store.engine import Engine

MANY: Final = 100_000  # jobs, to which figures are scaled, and which have a bar
START_BAR: Final = Bar(25, most=True)  # of a bare scan of such rows, with MANY jobs
OUTPUT_BAR: Final = Bar(1.25, most=True)  # of the same start without output: no more than noise
PAGE_EVENTS: Final = 1_000
UNIT: Final = f"s per {MANY:,} jobs"


async def replay(setting: Setting) -> list[Figure]:
    """The seconds that a start takes for 100,000 finished jobs, with their output and without.

    The files are made beforehand, without a network. Apart: the log's side (open the file, read
    and check what a replay needs) and the engine's (apply it), both in this process; then a real
    server, from exec to its open port. Beside them: bare SQLite that reads rows as
    large, and a server whose log is new. The kernel has the files in its cache but where it says
    so. Leaves out what a crash adds, which is one read of the write-ahead log.
    """
    plain = await _history(setting, "replay", 0)
    full = await _history(setting, "replay-output", setting.output_bytes)
    bare = BareTable(setting.folder / "bare-replay.db", fsync="normal")
    await _fill(bare, plain)
    try:
        return await compare(
            "replay",
            _contenders(setting, plain, full, bare),
            rounds=setting.rounds,
            seconds=setting.seconds,
            dice=setting.dice("replay"),
        )
    finally:
        bare.close()
        for history in (plain, full):
            history.path.unlink()


@dataclass(frozen=True, slots=True)
class History:
    """A log of finished jobs that nobody has open."""

    path: Path
    jobs: int

    def scaled(self, seconds: float, busy: float) -> Sample:
        """Seconds for as many jobs as MANY are; `busy` are those of a processor, for these jobs."""
        return Sample(value=seconds * MANY / self.jobs, count=self.jobs, busy=busy)


def _contenders(
    setting: Setting, plain: History, full: History, bare: BareTable
) -> list[Contender]:
    behind = f"{setting.output_bytes / MIB:,.0f} MiB of output"
    scan = Contender(
        name="bare scan of such rows", unit=UNIT, run=partial(_scan, bare, plain), baseline=True
    )
    new = Contender(
        name="a new server's start",
        unit="s",
        run=partial(_serve, setting, setting.sqlite("replay-new")),
        baseline=True,
    )
    log = Contender(
        name="log side", unit=UNIT, run=partial(_log_side, plain), against={scan.name: None}
    )
    engine = Contender(
        name="engine side", unit=UNIT, run=partial(_engine_side, plain), against={scan.name: None}
    )
    behind_log = Contender(
        name=f"log side, {behind}",
        unit=UNIT,
        run=partial(_log_side, full),
        against={log.name: OUTPUT_BAR},
    )
    cold = Contender(
        name=f"log side, {behind}, nothing in the kernel's cache",
        unit=UNIT,
        run=partial(_cold_log_side, full),
        against={log.name: None},
    )
    start, behind_start = (
        Contender(
            name=name,
            unit="s",
            run=partial(
                _serve, setting, Store(name=name, path=history.path, fsync=setting.fsyncs[0])
            ),
            against={new.name: None, **({scan.name: START_BAR} if setting.jobs == MANY else {})},
        )
        for name, history in (
            (f"server's start, {setting.jobs:,} jobs", plain),
            (f"server's start, {setting.jobs:,} jobs, {behind}", full),
        )
    )
    return [scan, log, engine, behind_log, cold, new, start, behind_start]


async def _history(setting: Setting, name: str, output_bytes: int) -> History:
    path = setting.folder / f"{name}.db"
    log = SqliteLog.open(path, fsync=Fsync.NORMAL)
    try:
        await write(log, setting.jobs, output_bytes, Instant(time_ns() // 1_000_000))
    finally:
        await log.close()
    return History(path, setting.jobs)


async def _fill(bare: BareTable, history: History) -> None:
    """Give bare SQLite as many rows as a replay reads, each as large."""
    log = SqliteLog.open(history.path, fsync=Fsync.NORMAL)
    try:
        async with aclosing(log.read()) as events:
            bare.fill([row_bytes(fact_row(event)) async for event in events])
    finally:
        await log.close()


async def _scan(bare: BareTable, history: History, _seconds: float) -> Sample:
    start, busy = perf_counter(), process_time()
    await asyncio.to_thread(bare.scan)
    return history.scaled(perf_counter() - start, process_time() - busy)


async def _log_side(history: History, _seconds: float) -> Sample:
    """Open the file and read what a replay needs."""
    start, busy = perf_counter(), process_time()
    log = SqliteLog.open(history.path, fsync=Fsync.NORMAL)
    try:
        with without_collection():
            async with aclosing(log.read()) as events:
                async for _ in events:
                    pass
            return history.scaled(perf_counter() - start, process_time() - busy)
    finally:
        await log.close()


async def _cold_log_side(history: History, seconds: float) -> Sample:
    """The same after the kernel was told to forget the file, as after a start of the machine."""
    with history.path.open("rb") as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    return await _log_side(history, seconds)


async def _engine_side(history: History, _seconds: float) -> Sample:
    """Apply what was read, a page at a time, and be ready for requests."""
    engine, page = Engine(EVERYTHING), list[Event]()
    elapsed = busy = 0.0

    def apply(*, last: bool = False) -> None:
        nonlocal elapsed, busy
        start, before = perf_counter(), thread_time()
        for event in page:
            engine.restore(event)
        page.clear()
        if last:
            engine.index()
        elapsed += perf_counter() - start
        busy += thread_time() - before

    log = SqliteLog.open(history.path, fsync=Fsync.NORMAL)
    try:
        with without_collection():
            async with aclosing(log.read()) as events:
                async for event in events:
                    page.append(event)
                    if len(page) == PAGE_EVENTS:
                        apply()
            apply(last=True)
    finally:
        await log.close()
    assert len(engine.table) == history.jobs
    return history.scaled(elapsed, busy)


async def _serve(setting: Setting, store: Store, _seconds: float) -> Sample:
    """From exec to an open port, and whatever the server does before that."""
    start = perf_counter()
    async with server(setting, store, *UNLIMITED) as served:
        return Sample(value=perf_counter() - start, count=1, busy=busy_seconds(served.pid))
