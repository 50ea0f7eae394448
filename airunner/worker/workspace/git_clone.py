"""The clone of a job's repository into its workspace, with its reports."""

import os
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from airunner.model.jobs import Millis
from airunner.model.limits import KIB
from airunner.model.reports import (
    CloneEnded,
    CloneFailed,
    CloneProgressed,
    CloneStarted,
    Remark,
    Report,
)
from airunner.model.repositories import are_folders, is_local
from airunner.model.spec import JobSpec
from airunner.model.units import shortened
from airunner.system.bounded_text import bounded_text
from airunner.system.clock import Clock
from airunner.worker.process import Deadline, Launcher
from airunner.worker.workspace.git import Git
from airunner.worker.workspace.git_advice import LOCAL_REFUSED, remedy_for
from airunner.worker.workspace.git_command import GitCommands, GitFailed
from airunner.worker.workspace.lfs import (
    check_lfs,
    install_lfs,
    lfs_environment,
    lfs_remark,
    lfs_settings,
)
from airunner.worker.workspace.workspace import CheckoutFailed, Revision

_FILTER_IGNORED: Final = (
    "the repository's server takes no filter (uploadpack.allowFilter), so the clone has all objects"
)
_STDERR_BYTES_MAX: Final = 3 * KIB  # of git's standard error, in the error of the job
_BRANCHES: Final = "ref: refs/heads/"  # begins the HEAD of a branch
_HEAD_BYTES_MAX: Final = 4096


class GitCloner:
    """Clones repositories for one worker."""

    def __init__(
        self, launcher: Launcher, clock: Clock, environment: Mapping[str, str], *, allow_local: bool
    ) -> None:
        """`environment` is the complete environment of git."""
        self._launcher = launcher
        self._clock = clock
        self._environment = environment
        self._allow_local = allow_local

    async def clone(
        self,
        spec: JobSpec,
        folder: str,
        report: Callable[[Report], Awaitable[None]],
        deadline: Deadline,
    ) -> Revision:
        """Clones into an empty folder, and reports start, progress and end.

        git ends at the deadline. Raises CheckoutFailed, after a report of the failure, SupervisorLost,
        and ProcessLost if git was killed.
        """
        began = self._clock.now()
        await report(CloneStarted(spec.repository, spec.commit, spec.branch, began))

        async def progress(message: str) -> None:
            await report(CloneProgressed(message))

        assert spec.checkout
        lfs = spec.checkout.lfs
        commands = GitCommands(
            self._launcher,
            lfs_environment(self._environment) if lfs else self._environment,
            folder,
            progress,
            deadline=deadline,
            settings=lfs_settings(fetches=lfs, allow_local=self._allow_local),
        )
        try:
            if is_local(spec.repository) and not self._allow_local:
                raise GitFailed(LOCAL_REFUSED, "")
            if lfs:
                await check_lfs(commands)
            commit = await Git(commands, spec, spec.checkout).clone()
            if lfs:
                await install_lfs(commands)
            remark = await lfs_remark(commands, folder, fetches=lfs)
        except GitFailed as failure:
            await report(CloneFailed(str(failure), failure.stderr))
            stderr = bounded_text(failure.stderr, _STDERR_BYTES_MAX)
            parts = (str(failure), remedy_for(failure.stderr), stderr)
            raise CheckoutFailed(f"checkout failed: {': '.join(filter(None, parts))}") from None
        await report(CloneEnded(commit, Millis(self._clock.now() - began), folder))
        if remark:
            await report(Remark(remark))
        if spec.checkout.filter and (commands.filter_ignored or not _is_partial(folder)):
            await report(Remark(_FILTER_IGNORED))
        if absent := _absent(spec, folder):
            await report(Remark(absent))
        return Revision(commit, _branch_of_head(folder))


def _absent(spec: JobSpec, folder: str) -> str:
    """A sentence about the first folder of a sparse checkout that the repository does not have."""
    assert spec.checkout
    if are_folders(spec.checkout.sparse):
        for path in spec.checkout.sparse:
            if not os.path.lexists(f"{folder}/{path}"):
                return f"the repository has no folder {shortened(path)} (sparse)"
    return ""


def _is_partial(folder: str) -> bool:
    """Whether a clone may lack objects: git marks the packs of a server that gives them later."""
    try:
        return any(name.endswith(".promisor") for name in os.listdir(f"{folder}/.git/objects/pack"))
    except OSError:
        return False


def _branch_of_head(folder: str) -> str:
    """The branch that HEAD names; "" for a detached HEAD."""
    try:
        head = os.open(f"{folder}/.git/HEAD", os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        with os.fdopen(head, "rb") as file:
            text = file.read(_HEAD_BYTES_MAX).decode()
    except (OSError, UnicodeDecodeError):
        return ""
    branch = text.partition("\n")[0]
    return branch.removeprefix(_BRANCHES) if branch.startswith(_BRANCHES) else ""
