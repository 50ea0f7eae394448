"""The folder in which people find what an attempt leaves: `results/` in that of its source.

    results/
        step_0.log ...       live, while the step runs
        ...                  artifacts, as they are in the workspace
        result.json          at the end: whole, or not there (manifest.py)
    .results-xxxxxxxx/       what was there before, until result.json is

Rules

1. Each attempt makes the folder anew, and opens it. What has its name is moved aside first, whatever
   it is. From then on all goes through the descriptor: a worker that was frozen and has lost its
   lease writes into the folder that was moved aside.
2. What was moved aside is removed when there is a new result.json; so whoever comes at any time
   finds the results of one attempt, and a crash takes no result with it.
3. An attempt whose folder was moved aside removes nothing.
4. No link is followed, and nothing outside the folder is touched.
5. The drive may be slow, or hang: all that is done on it is done in a thread of the attempt's own, and
   bounded by RESULTS_STALL_SECONDS_MAX.
"""

import asyncio
import errno
import os
import re
from contextlib import suppress
from functools import partial
from typing import Final

from airunner.model.limits import RESULTS_STALL_SECONDS_MAX
from airunner.worker.files.atomic import atomic_write, write_all
from airunner.worker.files.descent import FOLDER
from airunner.worker.files.removal import remove_tree
from airunner.worker.files.serial_thread import SerialThread
from airunner.worker.workspace.results.folder_sink import FolderSink
from airunner.worker.workspace.results.logs import STALLED, Logs
from airunner.worker.workspace.results.manifest import manifest
from airunner.worker.workspace.sources.source_names import RESULTS
from airunner.worker.workspace.workspace import ArtifactSink, Summary

RESULT: Final = "result.json"
_TRIES: Final = 10  # against others who make the folder as often as we move it aside


class FolderResults:
    """The results of one attempt; Results."""

    def __init__(self, parent: int, name: str = RESULTS) -> None:
        """`parent` is a descriptor of the folder in which they are made; it stays the caller's.

        `name` is another name for them; what was there before then has that in its own.
        """
        self._parent = os.dup(parent)
        self._name = name
        self._aside = f".{name}-"
        self._folder: int | None = None
        self._thread = SerialThread("results")
        self._logs = Logs(self._thread)
        self._sink = FolderSink(self._thread)

    async def make(self) -> None:
        """Make the folder. Raises OSError; close() is to be called all the same."""
        await self._thread.run(self._make)

    @property
    def sink(self) -> ArtifactSink:
        return self._sink

    async def write(self, index: int, data: bytes) -> None:
        """As Results.write."""
        await self._logs.write(index, data)

    async def conclude(self, summary: Summary) -> tuple[str, ...]:
        """As Results.conclude."""
        try:
            async with asyncio.timeout(RESULTS_STALL_SECONDS_MAX):
                errors, stands = await self._thread.run(partial(self._conclude, summary))
        except TimeoutError:
            self._logs.give_up()
            return (f"{RESULT} could not be written: {STALLED}",)
        if stands:
            with suppress(TimeoutError):  # then it goes on alone, and nobody waits
                async with asyncio.timeout(RESULTS_STALL_SECONDS_MAX):
                    await self._thread.run(self._clear)
        return errors

    def close(self) -> None:
        """Let go of the folder, once what was asked for is done; nobody waits for that."""
        self._thread.submit(self._release)
        self._thread.close()

    # In the thread

    def _make(self) -> None:
        for _ in range(_TRIES):
            with suppress(FileNotFoundError):
                aside = f"{self._aside}{os.urandom(4).hex()}"
                os.rename(self._name, aside, src_dir_fd=self._parent, dst_dir_fd=self._parent)
            with suppress(FileExistsError):
                os.mkdir(self._name, dir_fd=self._parent)
                break
        self._folder = os.open(self._name, FOLDER, dir_fd=self._parent)
        self._logs.begin(self._folder)
        self._sink.begin(self._folder)

    def _conclude(self, summary: Summary) -> tuple[tuple[str, ...], bool]:
        """What went wrong, and whether there is a new result.json."""
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
        with atomic_write(self._folder, RESULT, 0o666) as file:
            write_all(file, text)
            os.fsync(file)
            if self._logs.given_up:  # and the job has failed for that
                raise OSError(errno.ETIMEDOUT, STALLED)
        with suppress(OSError):  # some network drives sync no folders
            os.fsync(self._folder)

    def _clear(self) -> None:
        """Remove the results of earlier attempts, unless a later one has begun."""
        with suppress(OSError):
            assert self._folder is not None
            ours = os.stat(self._name, dir_fd=self._parent, follow_symlinks=False)
            if os.path.samestat(ours, os.fstat(self._folder)):
                aside = re.compile(rf"{re.escape(self._aside)}[0-9a-f]{{8}}")
                for name in filter(aside.fullmatch, os.listdir(self._parent)):
                    remove_tree(self._parent, name)

    def _release(self) -> None:
        for descriptor in (self._folder, self._parent):
            if descriptor is not None:
                os.close(descriptor)
