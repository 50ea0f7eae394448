"""The source of one attempt: a folder that workers share, of which the job gets a copy of its own.

    open        the folder, below the worker's root (opening.py); the claim to it (claim.py)
    brought     the steps that its job.json says (brought.py), if the job says none
    stage       the copy (staging.py)
    leave       the claim is given up

All of it is done in a thread of the attempt's own: the drive may be slow, or hang, and nobody else
waits for it then.
"""

import asyncio
import errno
import os
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from threading import Event
from typing import Final

from airunner.model.jobs import Job, Millis
from airunner.model.reports import Remark, Report
from airunner.model.units import show_count, show_duration, show_size
from airunner.worker.clock import Clock
from airunner.worker.files.serial_thread import SerialThread
from airunner.worker.workspace.sources.copy import PROGRESS_SECONDS, CopyStats, SourceCopy
from airunner.worker.workspace.sources.job_json import JobJson, read_job_json
from airunner.worker.workspace.sources.snapshot import StagedSnapshot
from airunner.worker.workspace.sources.source_folder import open_source
from airunner.worker.workspace.sources.source_lock import SourceLock
from airunner.worker.workspace.sources.source_names import LOCK
from airunner.worker.workspace.workspace import SetupFailed

HANG_SECONDS_MAX: Final = 10  # wait for a drive that hangs, before its thread is abandoned

_UNWRITABLE: Final = (errno.EROFS, errno.EACCES, errno.EPERM)


class Source:
    """One source, for one attempt."""

    def __init__(
        self,
        root: Path,
        job: Job,
        clock: Clock,
        *,
        written: bool,
        pace: float = PROGRESS_SECONDS,
    ) -> None:
        """`written`: results will be put into it; else it may be one that nobody can write to.

        `pace` is in seconds, between two reports of how far a copy has come.
        """
        self._pace = pace
        self._root, self._job, self._clock = root, job, clock
        self._written = written
        self._thread = SerialThread("source")
        self._folder: int | None = None
        self._claim: SourceLock | None = None
        self._left = False
        self._hangs = False

    async def open(self) -> int:
        """Open and claim it; its descriptor, which is good until leave(). Raises SetupFailed."""
        return await self._thread.run(self._open)

    async def read_job_json(self) -> JobJson:
        """What its job.json says. Raises SetupFailed."""
        assert self._folder is not None
        return await self._thread.run(partial(read_job_json, self._folder, self._job.spec))

    async def stage(
        self, target: int, report: Callable[[Report], Awaitable[None]]
    ) -> StagedSnapshot:
        """Copy it into an open folder that is empty, and report how that goes. Raises SetupFailed.

        When it is cancelled, no more is copied once this has returned, unless the drive hangs.
        """
        assert self._folder is not None
        began, staged, stop = self._clock.now(), StagedSnapshot(), Event()
        loop, news = asyncio.get_running_loop(), asyncio.Queue[str | CopyStats | Exception]()

        def tell(said: str | CopyStats | Exception) -> None:
            with suppress(RuntimeError):  # the loop is closed
                loop.call_soon_threadsafe(news.put_nowait, said)

        def progress(tally: CopyStats) -> None:
            tell(_counted(tally))

        def copy(source: int, target: int) -> None:
            try:
                tell(SourceCopy(source, target, staged, progress, stop, pace=self._pace).run())
            except Exception as error:  # whoever waits for it hears of it
                tell(error)
            finally:
                os.close(target)

        self._thread.submit(partial(copy, self._folder, os.dup(target)))  # it may outlive ours
        try:
            while isinstance(said := await news.get(), str):
                await report(Remark(f"staging {self._job.spec.source}: {said} so far"))
        finally:
            stop.set()
            await self._settled()
        if isinstance(said, Exception):
            raise said
        if said.left_out:
            await report(Remark(_left_out(said)))
        took = show_duration(Millis(self._clock.now() - began))
        await report(Remark(f"staged {_counted(said)} from {self._job.spec.source} in {took}"))
        return staged

    async def release(self) -> None:
        """Give it up. Safe to repeat."""
        if self._left:
            return
        self._left = True
        self._thread.submit(self._release)
        try:
            await self._settled()
        finally:
            self._thread.close()

    async def _settled(self) -> None:
        """Wait until everything that was begun is done, unless the drive hangs."""
        if self._hangs:
            return
        try:
            async with asyncio.timeout(HANG_SECONDS_MAX):
                await self._thread.run(lambda: None)
        except TimeoutError:
            self._hangs = True

    # In the thread

    def _open(self) -> int:
        self._folder = folder = open_source(self._root, self._job.spec.source)
        try:
            self._claim = SourceLock(folder, self._job.id, self._job.attempt)
        except OSError as error:
            if self._written or error.errno not in _UNWRITABLE:
                raise SetupFailed(self._why_not(error)) from None
        return folder

    def _why_not(self, error: OSError) -> str:
        source, why = self._job.spec.source, error.strerror or str(error)
        if error.errno not in _UNWRITABLE:
            return f"cannot lock the source {source} by its file {LOCK}: {why}"
        return (
            f"cannot write into the source {source}: {why}: "
            "let the worker do that, for its lock and its results"
        )

    def _release(self) -> None:
        if self._claim is not None:
            self._claim.release()
        if self._folder is not None:
            os.close(self._folder)


def _counted(tally: CopyStats) -> str:
    return f"{show_count(tally.files, 'file')}, {show_size(tally.size)}"


def _left_out(tally: CopyStats) -> str:
    more = tally.left_out - len(tally.named)
    others = f" and {more:,} more" if more else ""
    return f"left out of the copy: {', '.join(tally.named)}{others}"
