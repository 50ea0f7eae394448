"""The source of one attempt: a folder that workers share, and that is copied into the workspace.

    open             opens the folder below the worker's root (source_folder.py), and locks it
                     (source_lock.py)
    read_job_json    reads the steps from its job.json (job_json.py), if the job has none
    stage            copies the folder (copy.py)
    release          releases the lock

All calls on the drive run in a thread of the attempt's own: the drive may be slow or hang, and no
other attempt may wait for it.
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
from airunner.system.clock import Clock
from airunner.system.serial_thread import SerialThread
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
    """A source in use by one attempt."""

    def __init__(
        self,
        root: Path,
        job: Job,
        clock: Clock,
        *,
        must_be_writable: bool,
        progress_seconds: float = PROGRESS_SECONDS,
    ) -> None:
        """`must_be_writable`: results go into the source; a read-only source is an error.

        `progress_seconds` is the time between two progress reports of a copy.
        """
        self._progress_seconds = progress_seconds
        self._root, self._job, self._clock = root, job, clock
        self._must_be_writable = must_be_writable
        self._thread = SerialThread("source")
        self._folder: int | None = None
        self._lock: SourceLock | None = None  # None: the source is read-only
        self._released = False
        self._hangs = False

    async def open(self) -> int:
        """Opens and locks the source; its descriptor is valid until release(). Raises SetupFailed."""
        return await self._thread.run(self._open)

    async def read_job_json(self) -> JobJson:
        """Reads the source's job.json. Raises SetupFailed."""
        assert self._folder is not None
        return await self._thread.run(partial(read_job_json, self._folder, self._job.spec))

    async def stage(
        self, target: int, report: Callable[[Report], Awaitable[None]]
    ) -> StagedSnapshot:
        """Copies the source into an empty open folder, with reports. Raises SetupFailed.

        After a cancel, the copy has stopped when this returns, unless the drive hangs.
        """
        assert self._folder is not None
        began, snapshot, stop = self._clock.now(), StagedSnapshot(), Event()
        loop, messages = asyncio.get_running_loop(), asyncio.Queue[str | CopyStats | Exception]()

        def send(message: str | CopyStats | Exception) -> None:
            with suppress(RuntimeError):  # the loop is closed
                loop.call_soon_threadsafe(messages.put_nowait, message)

        def progress(stats: CopyStats) -> None:
            send(_counts(stats))

        def copy(source: int, target: int) -> None:
            pace = self._progress_seconds
            try:
                send(SourceCopy(source, target, snapshot, progress, stop, pace=pace).run())
            except Exception as error:  # the waiting task raises it
                send(error)
            finally:
                os.close(target)

        # The thread gets its own descriptor, because it may outlive the attempt
        self._thread.submit(partial(copy, self._folder, os.dup(target)))
        try:
            while isinstance(message := await messages.get(), str):
                await report(Remark(f"staging {self._job.spec.source}: {message} so far"))
        finally:
            stop.set()
            await self._finish_calls()
        if isinstance(message, Exception):
            raise message
        if message.left_out:
            await report(Remark(_left_out(message)))
        took = show_duration(Millis(self._clock.now() - began))
        await report(Remark(f"staged {_counts(message)} from {self._job.spec.source} in {took}"))
        return snapshot

    async def release(self) -> None:
        """Releases the lock and closes the source. Safe to call twice."""
        if self._released:
            return
        self._released = True
        self._thread.submit(self._release)
        try:
            await self._finish_calls()
        finally:
            self._thread.close()

    async def _finish_calls(self) -> None:
        """Waits until the thread has made all queued calls, unless the drive hangs."""
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
            self._lock = SourceLock(folder, self._job.id, self._job.attempt)
        except OSError as error:
            if self._must_be_writable or error.errno not in _UNWRITABLE:
                raise SetupFailed(self._explain(error)) from None
        return folder

    def _explain(self, error: OSError) -> str:
        source, why = self._job.spec.source, error.strerror or str(error)
        if error.errno not in _UNWRITABLE:
            return f"cannot lock the source {source} by its file {LOCK}: {why}"
        return (
            f"cannot write into the source {source}: {why}: "
            "let the worker's user write there, for its lock and its results"
        )

    def _release(self) -> None:
        if self._lock is not None:
            self._lock.release()
        if self._folder is not None:
            os.close(self._folder)


def _counts(stats: CopyStats) -> str:
    return f"{show_count(stats.files, 'file')}, {show_size(stats.size)}"


def _left_out(stats: CopyStats) -> str:
    more = stats.left_out - len(stats.examples)
    others = f" and {more:,} more" if more else ""
    return f"left out of the copy: {', '.join(stats.examples)}{others}"
