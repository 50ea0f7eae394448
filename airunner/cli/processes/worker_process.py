"""The worker process: a supervisor and a session with a server, until a signal.

If the supervisor is killed, for example by a job of the same user, the worker starts again: it kills
the remaining processes of its jobs, gives the jobs back, and replaces its program (execve) with the
same command line and environment, after a pause that grows (restarts.py). A second supervisor for the same program was rejected: the process
has threads by then, and a process with threads must not fork.
"""

import asyncio
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from random import SystemRandom
from typing import NoReturn

from structlog.typing import FilteringBoundLogger

from airunner.cli.exit_codes import CommandFailed, exit_code
from airunner.cli.processes.lifeline import on_end
from airunner.cli.processes.restarts import Restarts, pause
from airunner.cli.processes.signals import on_stop_signals
from airunner.model.jobs import Outcome
from airunner.system.open_files import lower_open_files, raise_open_files
from airunner.wire.client.endpoint import Endpoint
from airunner.worker.host_runtime import WorkspaceOptions, WorkspacesUnusable, open_runtime
from airunner.worker.process import SupervisorLost
from airunner.worker.session.connect import connect
from airunner.worker.spool.disk_spools import DiskSpools
from airunner.worker.supervisor.supervisor import Supervisor
from airunner.worker.uploads import Uploads
from airunner.worker.worker import Worker, WorkerOptions


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerSetup:
    """The server, the folders and the supervisor of a worker."""

    endpoint: Endpoint
    supervisor: Supervisor
    sources: Path | None  # the root folder of sources
    workspaces: Path  # the folder for workspaces
    keep_workspace: bool
    allow_local_repositories: bool
    log: FilteringBoundLogger
    job_environment: Mapping[str, str]  # the variables of all jobs
    spools: DiskSpools
    setup_seconds: float  # for the set-up of an attempt
    lifeline: int | None = None  # a pipe: its end drains the worker, as a signal does


async def work(options: WorkerOptions, setup: WorkerSetup) -> int:
    """Runs a worker until SIGTERM or SIGINT, or until the limits in the options are reached.

    Returns the exit code of the last job. Does not return if the worker starts again.
    """
    files = raise_open_files()  # after the supervisor's start: jobs keep the earlier limit
    restarts = Restarts(os.environ, SystemRandom())
    workspaces = WorkspaceOptions(
        folder=setup.workspaces,
        keep=setup.keep_workspace,
        allow_local_repositories=setup.allow_local_repositories,
        sources=setup.sources,
    )
    outcome: Outcome | None = None
    worker: Worker | None = None
    try:
        async with open_runtime(
            setup.supervisor,
            workspaces,
            environment=os.environ,
            log=setup.log,
            job_environment=setup.job_environment,
            spools=setup.spools,
            setup_seconds=setup.setup_seconds,
            uploads=Uploads(setup.endpoint),
        ) as runtime:
            worker = Worker(options, lambda: connect(setup.endpoint), runtime, SystemRandom())
            on_stop_signals(worker.drain, worker.kill)
            on_end(setup.lifeline, worker.drain)
            outcome = await worker.run()
    except WorkspacesUnusable as error:
        raise CommandFailed(
            f"{error}: name another folder with --workspaces-dir or --work-dir"
        ) from None
    except SupervisorLost as lost:
        if not (worker and worker.may_start_again):
            raise CommandFailed(str(lost)) from None
        if await _may_start_again(worker, setup, restarts):
            lower_open_files(files)
            _replace_program()
    return exit_code(outcome.state, outcome) if outcome else 0


async def _may_start_again(worker: Worker, setup: WorkerSetup, restarts: Restarts) -> bool:
    """Pauses before a restart; returns False if the process is to stop."""
    stopped = asyncio.Event()
    on_stop_signals(stopped.set)
    on_end(setup.lifeline, stopped.set)
    seconds = restarts.add()
    setup.log.warning(
        "starting_again", worker=worker.id, restarts=restarts.count, pause=round(seconds, 3)
    )
    return not await pause(seconds, stopped)


def _replace_program() -> NoReturn:
    """Replaces this process by a new one with the same command line."""
    os.execv(sys.executable, (sys.executable, *sys.orig_argv[1:]))  # noqa: S606 - our own command
