"""The runtime of attempts on this host: real processes, real folders and the host's clock.

`airunner worker` and `airunner run` both open it. They differ in four parts, which are arguments:
a worker has spools and uploads and may have no sources; a local run has one folder of results.
"""

import os
import pwd
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from structlog.typing import FilteringBoundLogger

from airunner.model.limits import SETUP_TIMEOUT_SECONDS
from airunner.system.clock import LoopClock
from airunner.worker.attempt.runtime import Runtime
from airunner.worker.environment import base_environment
from airunner.worker.process import Launcher
from airunner.worker.spool.spools import MemorySpools, Spools
from airunner.worker.workspace.folders import FolderWorkspaces
from airunner.worker.workspace.git_environment import PATH

if TYPE_CHECKING:
    from airunner.worker.uploads import Uploads  # imports gRPC, which a local run does not need


_SHELLS: Final = ("/bin/bash", "/usr/bin/bash", "/bin/sh")  # the first that exists


class WorkspacesUnusable(Exception):
    """No workspace can be made in the folder for workspaces; the message names folder and cause."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkspaceOptions:
    """Where workspaces are, and what they may use."""

    folder: Path  # workspaces are made below it
    keep: bool  # after the attempt
    allow_local_repositories: bool  # clone from file:// URLs and paths
    sources: Path | None = None  # the folder that jobs name sources in
    results: Path | None = None  # one folder of results, instead of one in each source


def host_environment(path: str = PATH, variables: Mapping[str, str] = {}) -> dict[str, str]:
    """The variables of all jobs on this host, which run as the user of this process."""
    try:
        user = pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:  # as in many containers
        user = str(os.geteuid())
    shell = next((each for each in _SHELLS if os.access(each, os.X_OK)), _SHELLS[-1])
    return base_environment(user=user, login_shell=shell, path=path, variables=variables)


@asynccontextmanager
async def open_runtime(
    launcher: Launcher,
    options: WorkspaceOptions,
    *,
    environment: Mapping[str, str],
    log: FilteringBoundLogger,
    job_environment: Mapping[str, str] | None = None,
    spools: Spools | None = None,
    uploads: "Uploads | None" = None,
    setup_seconds: float = SETUP_TIMEOUT_SECONDS,
) -> AsyncIterator[Runtime]:
    """Opens a Runtime for the length of a block, and owns its parts.

    At the end of the block, or if the runtime cannot be opened, the workspaces, uploads, launcher
    and spools are closed, in this order. `environment` is the environment of the worker process:
    git needs its credentials. `job_environment` has the variables of all jobs, by default those of
    host_environment(). Raises WorkspacesUnusable.
    """
    spools = spools or MemorySpools()
    async with AsyncExitStack() as parts:
        parts.callback(spools.close)
        parts.push_async_callback(launcher.close)
        if uploads:
            parts.push_async_callback(uploads.close)
        clock = LoopClock()
        workspaces = FolderWorkspaces(
            options.folder,
            launcher,
            clock,
            environment=environment,
            log=log,
            keep=options.keep,
            allow_local=options.allow_local_repositories,
            sources=options.sources,
            results=options.results,
        )
        parts.callback(workspaces.close)
        try:
            workspaces.check()
        except OSError as error:
            raise WorkspacesUnusable(
                f"cannot make workspaces in {options.folder}: {error.strerror}"
            ) from None
        yield Runtime(
            launcher=launcher,
            workspaces=workspaces,
            clock=clock,
            log=log,
            environment=host_environment() if job_environment is None else job_environment,
            spools=spools,
            setup_seconds=setup_seconds,
            uploads=uploads,
        )
