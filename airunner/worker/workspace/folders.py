"""Real workspaces: folders on this machine's disk.

    ROOT/worker-xxxxxxxx/            0700, one for each worker (estate.py)
        JOB.ATTEMPT-xxxxxxxx/       0700, fresh for each attempt
            checkout/               where the command runs: a clone, a copy of a source, or nothing
            home/                   the command's HOME
            script-1 ...            what a shell reads

With `keep`, attempts are put below ROOT itself, where nobody removes them.

Removing is thorough, since a job may leave anything: what is read-only or nested too deeply for
shutil goes by clearing.py; what even that cannot remove (another user's files) is named in the
log and stays. No link is followed, though it has the place of the workspace itself.

A workspace in which nothing was left and at which nothing was changed is kept for the next
attempt, which finds it under a name of its own. To remove its three folders takes from 0.1 ms to 5,
by how the disk is mounted, and to make them again as much as to rename them four times. Scripts
do not count: they are ours, and go first.
"""

import asyncio
import os
import re
import shutil
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

from structlog.typing import FilteringBoundLogger

from airunner.model.jobs import Job
from airunner.model.limits import KIB
from airunner.model.reports import Remark, Report
from airunner.model.steps import Step
from airunner.worker.clock import Clock
from airunner.worker.environment import git_environment
from airunner.worker.files.descent import FOLDER
from airunner.worker.files.locked_folder import LockedFolder
from airunner.worker.files.removal import remove_tree
from airunner.worker.process import Launcher
from airunner.worker.workspace.fingerprint import FOLDERS, Fingerprint
from airunner.worker.workspace.git_clone import Cloning
from airunner.worker.workspace.results.collect import collect
from airunner.worker.workspace.results.patterns import Patterns
from airunner.worker.workspace.results.results import FolderResults
from airunner.worker.workspace.sources.job_json import JobJson
from airunner.worker.workspace.sources.snapshot import StagedSnapshot
from airunner.worker.workspace.sources.source import Source
from airunner.worker.workspace.workspace import ArtifactSink, Collected, Results, SetupFailed

NO_SOURCES: Final = "this worker has no folder of sources: start it with --jobs-dir"
_SMALL_BYTES: Final = 64 * KIB  # of a script, which a thread would not write any sooner


class FolderWorkspaces:
    """Makes workspaces below one folder; Workspaces."""

    def __init__(  # noqa: PLR0913  # all that workspaces are made with
        self,
        root: Path,
        launcher: Launcher,
        clock: Clock,
        *,
        environment: Mapping[str, str],
        log: FilteringBoundLogger,
        keep: bool = False,
        allow_local: bool = False,
        sources: Path | None = None,
        results: Path | None = None,
    ) -> None:
        """`environment` is the worker's own, for git; `sources` is the root of all sources.

        `results` is the folder of results that every attempt makes anew, instead of in its source.
        """
        self.root = root
        self.sources = sources
        self.results = results
        self._estate = LockedFolder(root)
        self.clock = clock
        self.cloning = Cloning(
            launcher,
            clock,
            git_environment(environment, allow_local=allow_local),
            allow_local=allow_local,
        )
        self.log = log
        self.keep = keep
        self._spare: list[str] = []  # as they were made

    def make(self, job: Job) -> "FolderWorkspace":
        """As Workspaces.make."""
        name = re.sub(r"[^A-Za-z0-9-]", "_", job.id)
        try:
            return FolderWorkspace(self, job, self._fresh(f"{name}.{job.attempt}-"))
        except OSError as error:
            raise SetupFailed(f"the worker cannot make a workspace: {error.strerror}") from None

    def check(self) -> None:
        """Raise OSError unless workspaces can be made here: else every job would fail."""
        self._spare.append(self._fresh("check-"))

    def _fresh(self, prefix: str) -> str:
        parent = self.root.resolve() if self.keep else self._estate.folder()
        path = f"{parent}/{prefix}{os.urandom(4).hex()}"
        while self._spare:
            with suppress(OSError):  # somebody has taken it away
                os.rename(self._spare.pop(), path)
                return path
        parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        for folder in FOLDERS:
            os.mkdir(f"{path}{folder}", 0o700)
        return path

    def keep_for_next(self, path: str) -> None:
        """Take back a workspace that is as it was made."""
        self._spare.append(path)

    async def sweep(self) -> None:
        """As Workspaces.sweep."""
        for path in self._estate.abandoned():
            self.log.info("workspaces_swept", path=str(path))
            await self.remove(path)

    def close(self) -> None:
        """As Workspaces.close."""
        while self._spare:
            _remove_empty(self._spare.pop())
        self._estate.close()

    async def remove(self, path: Path) -> None:
        """Remove a folder, whatever is in it; a link in its place goes alone."""
        if not await asyncio.to_thread(_remove, path):
            self.log.warning("workspace_left", path=str(path))


class FolderWorkspace:
    """One attempt's workspace; Workspace."""

    def __init__(self, owner: FolderWorkspaces, job: Job, path: str) -> None:
        self._owner = owner
        self._job = job
        self._spec = job.spec
        self.path = Path(path)
        self.home = f"{path}/home"
        self.results: Results | None = None
        self._checkout = self.path / "checkout"
        self._looks = Fingerprint(path)
        self._scripts: list[str] = []
        self._top: int | None = None  # the checkout, for artifacts
        self._source: Source | None = None
        self._leaving: FolderResults | None = None
        self._brought: JobJson | None = None
        self._patterns = Patterns(())
        self._staged: StagedSnapshot | None = None

    async def fetch(self, report: Callable[[Report], Awaitable[None]]) -> None:
        """As Workspace.fetch."""
        spec, folder = self._spec, str(self._checkout)
        source = self._opened() if spec.source else None
        await self._make_results(await source.open() if source else None)
        if source and not spec.command and not spec.script and spec.steps is None:
            self._brought = await source.read_job_json()
            for remark in self._brought.remarks:
                await report(Remark(remark))
        self._patterns = self._wanted()
        if source or self._patterns:
            self._top = top = _open(folder)
        if source:
            self._staged = await source.stage(top, report)
        elif spec.repository and spec.checkout is not None:
            await self._owner.cloning.clone(spec, folder, report)

    def steps(self) -> tuple[Step, ...]:
        """As Workspace.steps."""
        if self._brought is None:
            raise SetupFailed("the job has nothing to run")
        return self._brought.steps

    async def script(self, text: str) -> str:
        """As Workspace.script."""
        data = text.encode()
        path = f"{self.path}/script-{len(self._scripts) + 1}"
        untouched = self._looks.same()
        try:
            if len(data) <= _SMALL_BYTES:
                _write(path, data)
            else:
                await asyncio.to_thread(_write, path, data)
            if untouched:
                self._looks.renew()
        except OSError as error:
            raise SetupFailed(f"the worker cannot write the script: {error.strerror}") from None
        self._scripts.append(path)
        return path

    async def collect(self, sink: ArtifactSink) -> Collected:
        """As Workspace.collect."""
        if self._top is None:
            return Collected()
        return await collect(self._top, sink, self._patterns, self._staged)

    def directory(self, wanted: str = "") -> str:
        """As Workspace.directory."""
        if not wanted:
            return str(self._checkout)
        path = (self._checkout / wanted).resolve()
        if not path.is_relative_to(self._checkout):
            raise SetupFailed(f"the working directory {wanted!r} leads out of the workspace")
        if not path.is_dir():
            raise SetupFailed(f"there is no working directory {wanted!r} in the workspace")
        return str(path)

    async def release_folders(self) -> None:
        """As Workspace.release_folders."""
        leaving, self._leaving = self._leaving, None
        if leaving:
            leaving.close()
        if self._source:
            await self._source.release()

    async def remove(self) -> None:
        """As Workspace.remove."""
        try:
            await self.release_folders()
        finally:
            if self._top is not None:
                os.close(self._top)
                self._top = None
            await self._remove()

    async def _remove(self) -> None:
        if self._owner.keep:
            self._owner.log.info("workspace_kept", path=str(self.path))
        elif self._looks.same() and _unlinked(self._scripts):
            self._owner.keep_for_next(str(self.path))
        else:
            await self._owner.remove(self.path)

    def _opened(self) -> Source:
        owner = self._owner
        if owner.sources is None:
            raise SetupFailed(NO_SOURCES)
        self._source = Source(owner.sources, self._job, owner.clock, written=owner.results is None)
        return self._source

    async def _make_results(self, source: int | None) -> None:
        """Make the folder of results, if there is to be one: in the source, or where all are."""
        try:
            if self._owner.results is not None:
                folder = self._owner.results
                parent = await asyncio.to_thread(_open_made, folder.parent)
                try:
                    self._leaving = FolderResults(parent, folder.name)
                finally:
                    os.close(parent)
            elif source is not None:
                self._leaving = FolderResults(source)
            if self._leaving:
                await self._leaving.make()
                self.results = self._leaving
        except OSError as error:
            where = self._owner.results or f"the source {self._spec.source}"
            raise SetupFailed(f"cannot make results in {where}: {error.strerror}") from None

    def _wanted(self) -> Patterns:
        brought = self._brought.artifacts if self._brought else ()
        try:
            return Patterns(self._spec.artifacts or brought)
        except ValueError as wrong:
            raise SetupFailed(f"artifacts: {wrong}") from None


def _open(folder: str) -> int:
    try:
        return os.open(folder, FOLDER)
    except OSError as error:
        raise SetupFailed(f"the worker cannot open the workspace: {error.strerror}") from None


def _open_made(folder: Path) -> int:
    folder.mkdir(parents=True, exist_ok=True)
    return os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)


def _write(path: str, data: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)


def _unlinked(paths: list[str]) -> bool:
    """Remove these files; whether all were there."""
    try:
        for path in paths:
            os.unlink(path)
    except OSError:
        return False
    return True


def _remove_empty(path: str) -> None:
    with suppress(OSError):
        for folder in reversed(FOLDERS):
            os.rmdir(f"{path}{folder}")


def _remove(path: Path) -> bool:
    """Whether nothing of it is left."""
    with suppress(RecursionError):  # nested too deeply for this
        shutil.rmtree(path, ignore_errors=True)
    if not os.path.lexists(path):
        return True
    try:
        parent = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        return remove_tree(parent, path.name)
    finally:
        os.close(parent)
