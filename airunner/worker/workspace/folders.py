"""Workspaces in folders on the worker's disk.

    ROOT/worker-xxxxxxxx/            0700, one for each worker (system/locked_folder.py)
        JOB.ATTEMPT-xxxxxxxx/       0700, fresh for each attempt
            checkout/               working directory: a clone, a copy of a source, or empty
            home/                   the command's HOME
            tmp/                    its TMPDIR
        xxxxxxxx                    a link to a tmp/, if its path is long (temporary.py)
            script-1 ...            scripts for the shell

With `keep`, workspaces are created in ROOT itself, and never removed.

The removal is thorough, since a job may leave any file: trees that are read-only or nested too
deeply for shutil are removed by system/removal.py. Files that cannot be removed, such as another
user's, stay, and the worker's log names the workspace. The removal follows no link, not even a
link in the place of the workspace itself.

A workspace that its job has not changed is renamed for the next attempt. The removal of its three
folders takes between 0.1 and 5 ms, depending on the mount, and their creation takes as long as four
renames. Scripts do not count as a change: the worker wrote them, and removes them first.
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
from airunner.system.clock import Clock
from airunner.system.descent import FOLDER
from airunner.system.locked_folder import LockedFolder
from airunner.system.removal import remove_tree
from airunner.worker.process import Deadline, Launcher
from airunner.worker.workspace.disk_room import NO_ROOM, missing_room
from airunner.worker.workspace.fingerprint import FOLDERS, Fingerprint
from airunner.worker.workspace.git_clone import GitCloner
from airunner.worker.workspace.git_environment import git_environment
from airunner.worker.workspace.own_files import OwnFiles, write_new
from airunner.worker.workspace.results.collect import collect
from airunner.worker.workspace.results.earlier import NotReplaceable
from airunner.worker.workspace.results.patterns import Patterns
from airunner.worker.workspace.results.results import FolderResults
from airunner.worker.workspace.sources.job_json import JobJson
from airunner.worker.workspace.sources.snapshot import StagedSnapshot
from airunner.worker.workspace.sources.source import Source
from airunner.worker.workspace.temporary import TemporaryFolder
from airunner.worker.workspace.variables import NAME as ENV
from airunner.worker.workspace.variables import VariablesFile
from airunner.worker.workspace.workspace import (
    ArtifactSink,
    Collected,
    NoRoom,
    Results,
    Revision,
    SetupFailed,
)

NO_SOURCES: Final = "this worker has no folder of sources: start it with --jobs-dir"
_SMALL_BYTES: Final = 64 * KIB  # a smaller script is written on the event loop, without a thread


class FolderWorkspaces:
    """One worker's workspaces below a root folder; implements Workspaces."""

    def __init__(  # noqa: PLR0913  # each workspace needs all of them
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
        """`environment` is the worker's own environment, for git; `sources` is the root of sources.

        `results`: each attempt creates its results folder at this path, not in its source.
        """
        self.root = root
        self.sources = sources
        self.results = results
        self._locked = LockedFolder(root)
        self.clock = clock
        self.cloner = GitCloner(
            launcher,
            clock,
            git_environment(environment, allow_local=allow_local),
            allow_local=allow_local,
        )
        self.log = log
        self.keep = keep
        self._spare: list[str] = []  # paths of unchanged workspaces, for the next attempts
        self._full = False  # the disk, or it failed, when it was looked at last

    def make(self, job: Job) -> "FolderWorkspace":
        """Creates a workspace, or reuses an unchanged one; see Workspaces.make."""
        if missing := missing_room(self.root):
            self._full = True
            raise NoRoom(missing)
        name = re.sub(r"[^A-Za-z0-9-]", "_", job.id)
        try:
            path = self._fresh(f"{name}.{job.attempt}-")
            try:
                return FolderWorkspace(self, job, path)
            except OSError:
                _remove_empty(path)
                raise
        except OSError as error:
            self._full = True
            what = "the disk of {} is full" if error.errno in NO_ROOM else "no workspace fits in {}"
            raise NoRoom(f"{what.format(self.root)}: {error.strerror}") from None

    def has_room(self) -> bool:
        """Looks at the free space, and makes a spare workspace; see Workspaces.has_room."""
        self._full = bool(missing_room(self.root, 2 if self._full else 1))
        if not self._full and not self._spare:
            try:
                self.check()
            except OSError:
                self._full = True
        return not self._full

    def check(self) -> None:
        """Creates a spare workspace. Raises OSError if the root cannot hold workspaces."""
        self._spare.append(self._fresh("check-"))

    def _fresh(self, prefix: str) -> str:
        parent = self.root.resolve() if self.keep else self._locked.folder()
        path = f"{parent}/{prefix}{os.urandom(4).hex()}"
        while self._spare:
            spare = self._spare.pop()
            with suppress(OSError):  # another process removed the spare workspace
                os.rename(spare, path)
                return path
            _remove_empty(spare)
        parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            for folder in FOLDERS:
                os.mkdir(f"{path}{folder}", 0o700)
        except OSError:
            _remove_empty(path)
            raise
        return path

    def keep_for_next(self, path: str) -> None:
        """Keeps an unchanged workspace for the next attempt."""
        self._spare.append(path)

    async def sweep(self) -> None:
        """Removes the workspaces of dead workers; see Workspaces.sweep."""
        for path in self._locked.abandoned():
            self.log.info("workspaces_swept", path=str(path))
            await self.remove(path)

    def close(self) -> None:
        """Removes spare workspaces and releases the folder; see Workspaces.close."""
        while self._spare:
            _remove_empty(self._spare.pop())
        self._locked.close()

    async def remove(self, path: Path) -> None:
        """Removes a folder tree, or logs that it stays; a link in its place is removed as a link."""
        if not await asyncio.to_thread(_remove, path):
            self.log.warning("workspace_left", path=str(path))


class FolderWorkspace:
    """One attempt's workspace on disk; implements Workspace."""

    def __init__(self, owner: FolderWorkspaces, job: Job, path: str) -> None:
        self._owner = owner
        self._job = job
        self._spec = job.spec
        self.path = Path(path)
        self.home = f"{path}/home"
        self.revision = Revision()
        self.results: Results | None = None
        self._checkout = self.path / "checkout"
        self._fingerprint = Fingerprint(path)
        self._tmp = TemporaryFolder(path, link=not owner.keep)  # the last that may raise OSError
        self._own_files = OwnFiles(path, self._fingerprint)
        self._variables: VariablesFile | None = None
        self._top: int | None = None  # a descriptor of the checkout, if it can hold artifacts
        self._source: Source | None = None
        self._open_results: FolderResults | None = None  # until release_folders()
        self._job_json: JobJson | None = None
        self._patterns = Patterns(())
        self._snapshot: StagedSnapshot | None = None

    async def fetch(self, report: Callable[[Report], Awaitable[None]], deadline: Deadline) -> None:
        """Prepares results and checkout, by source or repository; see Workspace.fetch."""
        spec, folder = self._spec, str(self._checkout)
        source = self._make_source() if spec.source else None
        await self._make_results(await source.open() if source else None)
        if source and not spec.command and not spec.script and spec.steps is None:
            self._job_json = await source.read_job_json()
            for remark in self._job_json.remarks:
                await report(Remark(remark))
        self._patterns = self._make_patterns()
        if source or self._patterns:
            self._top = top = _open(folder)
        if source:
            self._snapshot = await source.stage(top, report)
        elif spec.repository and spec.checkout is not None:
            self.revision = await self._owner.cloner.clone(spec, folder, report, deadline)

    @property
    def tmp(self) -> str:
        """The path of the folder for temporary files; see Workspace.tmp."""
        return self._tmp.path

    def steps(self) -> tuple[Step, ...]:
        """The steps of the source's job.json; see Workspace.steps."""
        if self._job_json is None:
            raise SetupFailed("the job has nothing to run")
        return self._job_json.steps

    @property
    def variables(self) -> Mapping[str, str]:
        """The variables from the steps so far; see Workspace.variables."""
        return self._variables.variables if self._variables else {}

    @property
    def variables_file(self) -> str:
        """The path of the file AIRUNNER_ENV; see Workspace.variables_file."""
        return self._variables.path if self._variables else ""

    def open_variables(self) -> None:
        """Makes the file AIRUNNER_ENV beside the checkout; see Workspace.open_variables."""
        given = self.variables
        name = f"variables-{len(self._own_files) + 1}"
        with self._own_files.make(name, f"the file {ENV}") as path:
            self._variables = VariablesFile(path, given)

    def take_variables(self) -> None:
        """Adds the variables in the file AIRUNNER_ENV; see Workspace.take_variables."""
        if self._variables:
            self._variables.take()

    async def script(self, text: str) -> str:
        """Writes a script beside the checkout; see Workspace.script."""
        data = text.encode()
        with self._own_files.make(f"script-{len(self._own_files) + 1}", "the script") as path:
            if len(data) <= _SMALL_BYTES:
                write_new(path, data)
            else:
                await asyncio.to_thread(write_new, path, data)
        return path

    async def collect(self, sink: ArtifactSink) -> Collected:
        """Stores the artifacts in the checkout; see Workspace.collect."""
        if self._top is None:
            return Collected()
        return await collect(self._top, sink, self._patterns, self._snapshot)

    def directory(self, wanted: str = "") -> str:
        """The path of a folder in the checkout; see Workspace.directory."""
        if not wanted:
            return str(self._checkout)
        try:
            path = (self._checkout / wanted).resolve()
            inside, exists = path.is_relative_to(self._checkout), path.is_dir()
        except OSError as error:
            why = error.strerror or str(error)
            raise SetupFailed(f"cannot use the working directory {wanted!r}: {why}") from None
        except (RuntimeError, ValueError):  # a circle of links, in Python 3.11 and 3.12
            raise SetupFailed(f"the working directory {wanted!r} leads nowhere") from None
        if not inside:
            raise SetupFailed(f"the working directory {wanted!r} leads out of the workspace")
        if not exists:
            raise SetupFailed(f"there is no working directory {wanted!r} in the workspace")
        return str(path)

    async def release_folders(self) -> None:
        """Closes the results and releases the source; see Workspace.release_folders."""
        results, self._open_results = self._open_results, None
        if results:
            results.close()
        if self._source:
            await self._source.release()

    async def remove(self) -> None:
        """Releases all folders, then deletes, reuses or keeps the workspace; see Workspace.remove."""
        try:
            await self.release_folders()
        finally:
            if self._top is not None:
                os.close(self._top)
                self._top = None
            await self._remove()

    async def _remove(self) -> None:
        self._tmp.remove_link()
        if self._owner.keep:
            self._owner.log.info("workspace_kept", path=str(self.path))
        elif self._fingerprint.same() and self._own_files.unlink_all():
            self._owner.keep_for_next(str(self.path))
        else:
            await self._owner.remove(self.path)

    def _make_source(self) -> Source:
        owner = self._owner
        if owner.sources is None:
            raise SetupFailed(NO_SOURCES)
        self._source = Source(
            owner.sources, self._job, owner.clock, must_be_writable=owner.results is None
        )
        return self._source

    async def _make_results(self, source: int | None) -> None:
        """Creates the results folder at the worker's own path, or else in the source, if any."""
        try:
            if self._owner.results is not None:
                folder = self._owner.results
                parent = await asyncio.to_thread(_open_made, folder.parent)
                try:
                    self._open_results = FolderResults(parent, folder.name)
                finally:
                    os.close(parent)
            elif source is not None:
                self._open_results = FolderResults(source)
            if self._open_results:
                await self._open_results.make()
                self.results = self._open_results
        except NotReplaceable as found:
            where = self._owner.results or f"results/ of the source {self._spec.source}"
            raise SetupFailed(
                f"{where} {found}, and the job's results would replace it: rename it"
            ) from None
        except OSError as error:
            where = self._owner.results or f"the source {self._spec.source}"
            raise SetupFailed(f"cannot make results in {where}: {error.strerror}") from None

    def _make_patterns(self) -> Patterns:
        """The artifact patterns of the job, or else of its source's job.json."""
        from_job_json = self._job_json.artifacts if self._job_json else ()
        try:
            return Patterns(self._spec.artifacts or from_job_json)
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


def _remove_empty(path: str) -> None:
    for folder in reversed(FOLDERS):
        with suppress(OSError):
            os.rmdir(f"{path}{folder}")


def _remove(path: Path) -> bool:
    """Removes a folder tree; returns whether it is gone."""
    with suppress(RecursionError):  # the tree is nested too deeply for shutil
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
