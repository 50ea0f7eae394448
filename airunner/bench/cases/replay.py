"""The scenario `replay`: the start of a server with many finished jobs in its log."""

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
from airunner.log.log import Fsync
from airunner.log.sqlite.log import SqliteLog
from airunner.log.sqlite.rows import fact_row
from airunner.model.facts import Event
from airunner.model.jobs import Instant
from airunner.model.limits import MIB
from airunner.server.replay import without_collection
from airunner.store.engine import Engine

MANY: Final = 100_000  # jobs: figures are scaled to this number, and the bar is for it
START_BAR: Final = Bar(25, most=True)  # times a bare scan of as many rows, with MANY jobs
OUTPUT_BAR: Final = Bar(1.25, most=True)  # times a start without output: no more than noise
PAGE_EVENTS: Final = 1_000
UNIT: Final = f"s per {MANY:,} jobs"


async def replay(setting: Setting) -> list[Figure]:
    """Seconds of a start with 100,000 finished jobs, with their output and without.

    The files are written beforehand, without a network. Measured separately, in this process: the
    log (open the file, read and check the events of a replay) and the engine (apply the events);
    then a real server, from exec to its open port. Baselines: bare SQLite that reads rows of the
    same size, and a server with a new log. The files are in the kernel's cache unless the figure
    says otherwise. Leaves out the cost of a crash: one read of the write-ahead log.
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
    """A closed log file with finished jobs."""

    path: Path
    jobs: int

    def scaled(self, seconds: float, busy: float) -> Sample:
        """A sample of `seconds` scaled to MANY jobs; `busy` is the processor time, not scaled."""
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
    """Fills bare SQLite with rows of the number and sizes that a replay reads."""
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
    """Times opening the file and reading the events of a replay."""
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
    """Times the log after the kernel has dropped the file from its cache, as after a boot."""
    with history.path.open("rb") as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    return await _log_side(history, seconds)


async def _engine_side(history: History, _seconds: float) -> Sample:
    """Times applying the events, a page at a time, and building the index."""
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
    """Times a server from exec to its open port."""
    start = perf_counter()
    async with server(setting, store, *UNLIMITED) as served:
        return Sample(value=perf_counter() - start, count=1, busy=busy_seconds(served.pid))
