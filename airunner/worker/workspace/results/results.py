"""The results folder of an attempt, by default `results/` in the folder of its source.

    results/
        step_0.log ...       live, while the step runs
        ...                  artifacts, at their paths in the workspace
        result.json          at the end, complete or missing (manifest.py)
    .results-xxxxxxxx/       the earlier results, until result.json is written

Rules

1. Each attempt creates the folder anew and opens it. The results of an earlier attempt are renamed
   first; any other entry with the name is refused, and stays (earlier.py). All later calls use the
   descriptor: a frozen worker that has lost its lease writes into the renamed folder.
2. The renamed entries are removed once the new result.json is written. So a reader finds the
   results of one attempt at any time, and a crash loses no result.
3. An attempt whose folder was renamed removes nothing.
4. No link is followed, and no file outside the folder is touched.
5. The drive may be slow or hang: all calls on the drive run in a thread of the attempt's own, and
   the attempt waits for them at most RESULTS_STALL_SECONDS_MAX.
"""

import asyncio
import errno
import os
import re
from contextlib import suppress
from functools import partial
from typing import Final

from airunner.model.limits import RESULTS_STALL_SECONDS_MAX
from airunner.system.atomic import atomic_write, write_all
from airunner.system.descent import FOLDER
from airunner.system.lock import is_named
from airunner.system.removal import remove_tree
from airunner.system.serial_thread import SerialThread
from airunner.worker.workspace.results.earlier import RESULT, check_replaceable
from airunner.worker.workspace.results.folder_sink import FolderSink
from airunner.worker.workspace.results.logs import STALLED, Logs
from airunner.worker.workspace.results.manifest import manifest
from airunner.worker.workspace.sources.source_names import RESULTS
from airunner.worker.workspace.workspace import ArtifactSink, Summary

_TRIES: Final = 10  # while other processes create the folder again after each rename


class FolderResults:
    """The results folder of one attempt; implements Results."""

    def __init__(self, parent: int, name: str = RESULTS) -> None:
        """`parent` is a descriptor of the folder above, which the caller closes.

        `name` is the folder's name, and part of the names of renamed earlier results.
        """
        self._parent = os.dup(parent)
        self._name = name
        self._aside = f".{name}-"  # removed once there are new results
        self._kept = f"{name}.earlier-"
        self._folder: int | None = None
        self._thread = SerialThread("results")
        self._logs = Logs(self._thread)
        self._sink = FolderSink(self._thread)

    async def make(self) -> None:
        """Creates the folder. Raises OSError and NotReplaceable; close() must be called in any case."""
        await self._thread.run(self._make)

    @property
    def sink(self) -> ArtifactSink:
        return self._sink

    async def write(self, index: int, data: bytes) -> None:
        """Appends to the log of a step; see Results.write."""
        await self._logs.write(index, data)

    async def conclude(self, summary: Summary) -> tuple[str, ...]:
        """Writes result.json and removes earlier results; see Results.conclude."""
        try:
            async with asyncio.timeout(RESULTS_STALL_SECONDS_MAX):
                errors, written = await self._thread.run(partial(self._conclude, summary))
        except TimeoutError:
            self._logs.give_up()
            return (f"{RESULT} could not be written: {STALLED}",)
        if written:
            with suppress(TimeoutError):  # then the removal goes on alone
                async with asyncio.timeout(RESULTS_STALL_SECONDS_MAX):
                    await self._thread.run(self._clear)
        return errors

    def close(self) -> None:
        """Closes the folder after the queued calls, without waiting for them."""
        self._thread.submit(self._release)
        self._thread.close()

    # In the thread

    def _make(self) -> None:
        for _ in range(_TRIES):
            removable = check_replaceable(self._name, self._parent)
            with suppress(FileNotFoundError):
                aside = f"{self._aside if removable else self._kept}{os.urandom(4).hex()}"
                os.rename(self._name, aside, src_dir_fd=self._parent, dst_dir_fd=self._parent)
            with suppress(FileExistsError):
                os.mkdir(self._name, dir_fd=self._parent)
                break
        self._folder = os.open(self._name, FOLDER, dir_fd=self._parent)
        self._logs.begin(self._folder)
        self._sink.begin(self._folder)

    def _conclude(self, summary: Summary) -> tuple[tuple[str, ...], bool]:
        """Writes the missing logs and result.json; returns errors, and whether it was written."""
        for index, step in enumerate(summary.steps):
            if step.started_at is not None:
                self._logs.ensure(index)
        errors = self._logs.errors()
        try:
            self._write(manifest(summary, self._logs.has, errors))
        except OSError as error:
            return (*errors, f"{RESULT} could not be written: {error.strerror or error}"), False
        return errors, True

    def _write(self, text: bytes) -> None:
        assert self._folder is not None
        with atomic_write(RESULT, 0o666, folder=self._folder) as file:
            write_all(file, text)
            os.fsync(file)
            if self._logs.given_up:  # the job has failed for this reason
                raise OSError(errno.ETIMEDOUT, STALLED)
        with suppress(OSError):  # some network drives sync no folders
            os.fsync(self._folder)

    def _clear(self) -> None:
        """Removes the results of earlier attempts, unless a later attempt has begun."""
        with suppress(OSError):
            assert self._folder is not None
            if is_named(self._name, self._folder, folder=self._parent):
                aside = re.compile(rf"{re.escape(self._aside)}[0-9a-f]{{8}}")
                for name in filter(aside.fullmatch, os.listdir(self._parent)):
                    remove_tree(self._parent, name)

    def _release(self) -> None:
        for descriptor in (self._folder, self._parent):
            if descriptor is not None:
                os.close(descriptor)
