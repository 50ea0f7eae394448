"""The worker process: a supervisor and a session with a server, until a signal."""

import asyncio
import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from random import SystemRandom

from structlog.typing import FilteringBoundLogger

from airunner.cli.exit_codes import CommandFailed, exit_code
from airunner.cli.processes.lifeline import on_end
from airunner.model.jobs import Instant, Outcome
from airunner.wire.client.endpoint import Endpoint
from airunner.worker.attempt.runtime import Runtime
from airunner.worker.clock import LoopClock
from airunner.worker.process import SupervisorLost
from airunner.worker.session.connect import connect
from airunner.worker.spool.disk_spools import DiskSpools
from airunner.worker.supervisor.supervisor import Supervisor
from airunner.worker.uploads import Uploads
from airunner.worker.worker import Worker, WorkerOptions
from airunner.worker.workspace.folders import FolderWorkspaces


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
    spools: DiskSpools
    lifeline: int | None = None  # a pipe: its end drains the worker, as a signal does


async def work(options: WorkerOptions, setup: WorkerSetup) -> int:
    """Runs a worker until SIGTERM or SIGINT, or until the limits in the options are reached.

    Returns the exit code of the last job.
    """
    log = setup.log
    clock = LoopClock(Instant(time.time_ns() // 1_000_000))
    folders = FolderWorkspaces(
        setup.workspaces,
        setup.supervisor,
        clock,
        environment=dict(os.environ),
        log=log,
        keep=setup.keep_workspace,
        allow_local=setup.allow_local_repositories,
        sources=setup.sources,
    )
    try:
        folders.check()
    except OSError as error:
        await setup.supervisor.close()
        setup.spools.close()
        raise CommandFailed(
            f"cannot make workspaces in {setup.workspaces}: {error.strerror}: name another folder with "
            "--workspaces-dir or --work-dir"
        ) from None
    uploads = Uploads(setup.endpoint)
    runtime = Runtime(
        launcher=setup.supervisor,
        workspaces=folders,
        clock=clock,
        log=log,
        spools=setup.spools,
        uploads=uploads,
    )
    worker = Worker(options, lambda: connect(setup.endpoint), runtime, SystemRandom())
    _obey_signals(worker)
    on_end(setup.lifeline, worker.drain)
    outcome: Outcome | None = None
    try:
        outcome = await worker.run()
    except SupervisorLost as lost:
        raise CommandFailed(str(lost)) from None
    finally:
        await uploads.close()
        await setup.supervisor.close()
        setup.spools.close()
    return exit_code(outcome.state, outcome) if outcome else 0


def _obey_signals(worker: Worker) -> None:
    """The first SIGTERM or SIGINT drains the worker, the next kills its jobs."""
    asked: list[int] = []

    def obey() -> None:
        asked.append(1)
        (worker.drain if len(asked) == 1 else worker.kill)()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, obey)
