"""The scenario `stage`: the throughput of copying a source into a workspace."""

import asyncio
import os
import shutil
from collections.abc import Awaitable, Callable
from functools import partial
from itertools import count
from pathlib import Path
from threading import Event
from time import perf_counter
from typing import Final

from airunner.bench.load.processes import completed
from airunner.bench.report.figures import Bar, Figure, Sample, rate
from airunner.bench.report.rounds import Contender, compare
from airunner.bench.setting import Setting
from airunner.model.limits import KIB, MIB
from airunner.system.descent import FOLDER
from airunner.worker.workspace.sources.copy import SourceCopy
from airunner.worker.workspace.sources.snapshot import StagedSnapshot

BAR: Final = Bar(0.7)  # of cp -a
SMALL_FILES_MAX: Final = 1_000
SMALL_BYTES: Final = 4 * KIB
FILES_PER_FOLDER: Final = 50
LARGE_BYTES: Final = 16 * MIB


async def stage(setting: Setting) -> list[Figure]:
    """Files and bytes a second of a source that is copied into a workspace.

    A tree of small files and a tree of large files on the measured disk, read from the kernel's
    cache. Baseline: `cp -a` of the same tree, a process for each copy. Leaves out network drives,
    the lock of a source, and the removal of the copies.
    """
    small = setting.folder / "small"
    large = setting.folder / "large"
    files = min(setting.jobs, SMALL_FILES_MAX)
    await asyncio.to_thread(_fill, small, files, SMALL_BYTES)
    sizes = max(1, setting.output_bytes // LARGE_BYTES)
    await asyncio.to_thread(_fill, large, sizes, min(LARGE_BYTES, setting.output_bytes))
    contenders = list[Contender]()
    for source, kind, amount, unit in (
        (small, "small files", files, "files/s"),
        (large, "large files", sizes * min(LARGE_BYTES, setting.output_bytes) / 1e6, "MB/s"),
    ):
        bare = Contender(
            name=f"cp -a, {kind}",
            unit=unit,
            run=partial(_copied, setting, amount, partial(_bare, setting, source)),
            baseline=True,
        )
        ours = Contender(
            name=f"staging, {kind}",
            unit=unit,
            run=partial(_copied, setting, amount, partial(_staged, source)),
            against={bare.name: BAR},
        )
        contenders += [bare, ours]
    return await compare(
        "stage",
        contenders,
        rounds=setting.rounds,
        seconds=setting.seconds,
        dice=setting.dice("stage"),
    )


async def _copied(
    setting: Setting, amount: float, copy: Callable[[Path], Awaitable[None]], seconds: float
) -> Sample:
    """Copies repeatedly, at least once, until the copies have taken `seconds` in total."""
    took, copies = 0.0, count()
    while took < seconds:
        target = setting.folder / f"copy-{next(copies)}"
        start = perf_counter()
        await copy(target)
        took += perf_counter() - start
        await asyncio.to_thread(shutil.rmtree, target)
    return rate(amount * next(copies), took)


async def _bare(setting: Setting, source: Path, target: Path) -> None:
    await completed(("cp", "-a", str(source), str(target)), setting.environment)


async def _staged(source: Path, target: Path) -> None:
    stop = Event()
    copying = asyncio.get_running_loop().run_in_executor(None, _stage, source, target, stop)
    try:
        await asyncio.shield(copying)
    finally:
        stop.set()
        await asyncio.wait([copying])


def _stage(source: Path, target: Path, stop: Event) -> None:
    target.mkdir()
    there, here = os.open(source, FOLDER), os.open(target, FOLDER)
    try:
        SourceCopy(there, here, StagedSnapshot(), lambda _tally: None, stop).run()
    finally:
        os.close(there)
        os.close(here)


def _fill(folder: Path, files: int, size: int) -> None:
    for number in range(files):
        subfolder = folder / str(number // FILES_PER_FOLDER)
        subfolder.mkdir(parents=True, exist_ok=True)
        (subfolder / str(number)).write_bytes(os.urandom(size))
