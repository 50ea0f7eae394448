"""Real workspaces: folders on this machine's disk.

    ROOT/worker-xxxxxxxx/            0700, one for each worker (estate.py)
        JOB.ATTEMPT-xxxxxxxx/       0700, fresh for each attempt
            checkout/               where the command runs: a clone, or nothing
            home/                   the command's HOME

With `keep`, attempts are put below ROOT itself, where nobody removes them.

Removing is thorough, since a job may leave anything: most folders go in a thread; what is
left then, read-only or nested too deeply, goes by chmod and rm; what even they cannot remove
(another user's files) is named in the log and stays.
"""

import asyncio
import os
import re
import shutil
import tempfile
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from pathlib import Path

from structlog.typing import FilteringBoundLogger

from airunner.jobs import Job, Millis
from airunner.reports import CloneEnded, CloneFailed, CloneProgressed, CloneStarted, Report
from airunner.repositories import is_local
from airunner.spec import JobSpec, ProcessType, TerminalSize
from airunner.worker.clock import Clock
from airunner.worker.environment import PATH, git_environment
from airunner.worker.estate import Estate
from airunner.worker.git import Git, GitFailed
from airunner.worker.process import Command, Launcher, LaunchError
from airunner.worker.workspace import CheckoutFailed, SetupFailed

LOCAL_REFUSED = (
    "this worker clones no repositories of its own disks: "
    "start it with --allow-local-repositories, or name a remote one"
)


class Folders:
    """Makes workspaces below one folder; Workspaces."""

    def __init__(
        self,
        root: Path,
        launcher: Launcher,
        clock: Clock,
        *,
        environment: Mapping[str, str],
        log: FilteringBoundLogger,
        keep: bool = False,
        allow_local: bool = False,
    ) -> None:
        """`environment` is the worker's own, for git."""
        self.root = root
        self._estate = Estate(root)
        self.launcher = launcher
        self.clock = clock
        self.environment = git_environment(environment, allow_local=allow_local)
        self.log = log
        self.keep = keep
        self.allow_local = allow_local

    def make(self, job: Job) -> "Folder":
        """As Workspaces.make."""
        name = re.sub(r"[^A-Za-z0-9-]", "_", job.id)
        try:
            path = self._fresh(f"{name}.{job.attempt}-")
            (path / "checkout").mkdir(mode=0o700)
            (path / "home").mkdir(mode=0o700)
        except OSError as error:
            raise SetupFailed(f"the worker cannot make a workspace: {error.strerror}") from None
        return Folder(self, job.spec, path)

    def check(self) -> None:
        """Raise OSError unless workspaces can be made here: else every job would fail."""
        self._fresh("check-").rmdir()

    def _fresh(self, prefix: str) -> Path:
        parent = self.root if self.keep else self._estate.folder()
        parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        return Path(tempfile.mkdtemp(prefix=prefix, dir=parent)).resolve()

    async def sweep(self) -> None:
        """As Workspaces.sweep."""
        for path in self._estate.abandoned():
            self.log.info("workspaces_swept", path=str(path))
            await self.remove(path)

    def close(self) -> None:
        """As Workspaces.close."""
        self._estate.close()

    async def remove(self, path: Path) -> None:
        """Remove a folder, whatever is in it."""
        if await asyncio.to_thread(_remove, path):
            return
        for words in (("chmod", "-R", "u+rwX"), ("rm", "-rf")):
            await self._run(*words, "--", str(path))
        if not await asyncio.to_thread(_remove, path):
            self.log.warning("workspace_left", path=str(path))

    async def _run(self, *argv: str) -> None:
        command = Command(
            argv=argv,
            environment={"PATH": PATH},
            directory="/",
            process_type=ProcessType.PIPE,
            terminal=TerminalSize(),
        )
        with suppress(LaunchError):
            process = await self.launcher.launch(command)
            try:
                while await process.read():
                    pass
                await process.wait()
            finally:
                await process.close()


class Folder:
    """One attempt's workspace; Workspace."""

    def __init__(self, owner: Folders, spec: JobSpec, path: Path) -> None:
        self._owner = owner
        self._spec = spec
        self.path = path
        self._checkout = path / "checkout"

    @property
    def home(self) -> str:
        return str(self.path / "home")

    async def fetch(self, report: Callable[[Report], Awaitable[None]]) -> None:
        """As Workspace.fetch."""
        spec, clock = self._spec, self._owner.clock
        if not spec.repository or spec.checkout is None:
            return
        began = clock.now()
        await report(CloneStarted(spec.repository, spec.commit, spec.branch, began))

        async def progress(message: str) -> None:
            await report(CloneProgressed(message))

        git = Git(self._owner.launcher, self._owner.environment, str(self._checkout), progress)
        try:
            if is_local(spec.repository) and not self._owner.allow_local:
                raise GitFailed(LOCAL_REFUSED, "")
            commit = await git.clone(spec)
        except GitFailed as failure:
            await report(CloneFailed(str(failure), failure.stderr))
            said = f": {failure.stderr}" if failure.stderr else ""
            raise CheckoutFailed(f"checkout failed: {failure}{said}") from None
        await report(CloneEnded(commit, Millis(clock.now() - began), str(self._checkout)))

    def directory(self) -> str:
        """As Workspace.directory."""
        wanted = self._spec.working_directory
        path = (self._checkout / wanted).resolve()
        if not path.is_relative_to(self._checkout):
            raise SetupFailed(f"the working directory {wanted!r} leads out of the workspace")
        if not path.is_dir():
            raise SetupFailed(f"there is no working directory {wanted!r} in the workspace")
        return str(path)

    async def remove(self) -> None:
        """As Workspace.remove."""
        if self._owner.keep:
            self._owner.log.info("workspace_kept", path=str(self.path))
            return
        if not self._remove_empty():
            await self._owner.remove(self.path)

    def _remove_empty(self) -> bool:
        """Remove a workspace in which nothing was left, which is quick."""
        with suppress(OSError):
            os.rmdir(self.path / "home")
            os.rmdir(self._checkout)
            os.rmdir(self.path)
            return True
        return False


def _remove(path: Path) -> bool:
    """Remove what can be removed with ease; whether that was all."""
    with suppress(RecursionError):  # nested too deeply for us; rm can
        shutil.rmtree(path, ignore_errors=True)
    return not path.exists()
