"""Real workspaces: folders on this machine's disk.

    ROOT/worker-xxxxxxxx/            0700, one for each worker (estate.py)
        JOB.ATTEMPT-xxxxxxxx/       0700, fresh for each attempt
            checkout/               where the command runs: a clone, or nothing
            home/                   the command's HOME

With `keep`, attempts are put below ROOT itself, where nobody removes them.

Removing is thorough, since a job may leave anything: most folders go in a thread; what is
left then, read-only or nested too deeply, goes by chmod and rm; what even they cannot remove
(another user's files) is named in the log and stays.

A workspace in which nothing was left and at which nothing was changed is kept for the next
attempt, which finds it under a name of its own. To remove its three folders takes from 0.1 ms to 5,
by how the disk is mounted, and to make them again as much as to rename them four times.
"""

import asyncio
import os
import re
import shutil
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from pathlib import Path

from structlog.typing import FilteringBoundLogger

from airunner.jobs import Job, Millis
from airunner.reports import CloneEnded, CloneFailed, CloneProgressed, CloneStarted, Report
from airunner.repositories import is_local
from airunner.spec import JobSpec, ProcessType, TerminalSize
from airunner.steps import Step
from airunner.worker.clock import Clock
from airunner.worker.environment import PATH, git_environment
from airunner.worker.estate import Estate
from airunner.worker.git import Git, GitFailed
from airunner.worker.process import Command, Launcher, LaunchError
from airunner.worker.workspace import CheckoutFailed, Collected, Results, SetupFailed, Shelf

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
        self._spare: list[str] = []  # as they were made

    def make(self, job: Job) -> "Folder":
        """As Workspaces.make."""
        name = re.sub(r"[^A-Za-z0-9-]", "_", job.id)
        try:
            return Folder(self, job.spec, self._fresh(f"{name}.{job.attempt}-"))
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
        for folder in ("", "/checkout", "/home"):
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

    def __init__(self, owner: Folders, spec: JobSpec, path: str) -> None:
        self._owner = owner
        self._spec = spec
        self.path = Path(path)
        self.home = f"{path}/home"
        self._checkout = self.path / "checkout"
        self._looks = _looks(path)
        self._scripts = 0
        self.results: Results | None = None

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

    def steps(self) -> tuple[Step, ...]:
        """As Workspace.steps."""
        raise SetupFailed("the job has nothing to run")

    async def script(self, text: str) -> str:
        """As Workspace.script."""
        self._scripts += 1
        path = self.path / f"script-{self._scripts}"
        try:
            await asyncio.to_thread(_write, path, text)
        except OSError as error:
            raise SetupFailed(f"the worker cannot write the script: {error.strerror}") from None
        return str(path)

    async def collect(self, shelf: Shelf) -> Collected:
        """As Workspace.collect."""
        return Collected()

    async def leave(self) -> None:
        """As Workspace.leave."""

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

    async def remove(self) -> None:
        """As Workspace.remove."""
        if self._owner.keep:
            self._owner.log.info("workspace_kept", path=str(self.path))
        elif self._is_untouched():
            self._owner.keep_for_next(str(self.path))
        else:
            await self._owner.remove(self.path)

    def _is_untouched(self) -> bool:
        with suppress(OSError):
            return _looks(str(self.path)) == self._looks
        return False


def _looks(path: str) -> list[object]:
    """What a workspace has in it, and all that the system notes of a change to its folders."""
    found: list[object] = []
    for folder in (path, f"{path}/checkout", f"{path}/home"):
        state = os.lstat(folder)
        owner = (state.st_uid, state.st_gid)
        found += (state.st_ino, state.st_mode, owner, state.st_ctime_ns, os.listdir(folder))
    return found


def _write(path: Path, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(text.encode())


def _remove_empty(path: str) -> None:
    with suppress(OSError):
        for folder in ("/home", "/checkout", ""):
            os.rmdir(f"{path}{folder}")


def _remove(path: Path) -> bool:
    """Remove what can be removed with ease; whether that was all."""
    with suppress(RecursionError):  # nested too deeply for us; rm can
        shutil.rmtree(path, ignore_errors=True)
    return not path.exists()
