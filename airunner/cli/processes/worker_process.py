"""A worker's life: a keeper, a session with a server, until a signal."""

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
from airunner.wire.client.endpoint import Destination
from airunner.worker.attempt.runtime import Place
from airunner.worker.clock import LoopClock
from airunner.worker.process import KeeperLost
from airunner.worker.session.connect import connect
from airunner.worker.spool.disk_spools import DiskSpools
from airunner.worker.supervisor.supervisor import Keeper
from airunner.worker.uploads import Uploads
from airunner.worker.worker import Worker, WorkerOptions
from airunner.worker.workspace.folders import Folders


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """Where a worker works."""

    destination: Destination
    keeper: Keeper
    sources: Path | None  # the root of sources
    workspaces: Path  # workspaces are made below it
    keep_workspace: bool
    allow_local_repositories: bool
    log: FilteringBoundLogger
    spools: DiskSpools
    lifeline: int | None = None  # a pipe whose end is as a signal


async def work(options: WorkerOptions, site: Site) -> int:
    """Work until SIGTERM or SIGINT, or as long as the options say; the exit code of the last job."""
    log = site.log
    clock = LoopClock(Instant(time.time_ns() // 1_000_000))
    folders = Folders(
        site.workspaces,
        site.keeper,
        clock,
        environment=dict(os.environ),
        log=log,
        keep=site.keep_workspace,
        allow_local=site.allow_local_repositories,
        sources=site.sources,
    )
    try:
        folders.check()
    except OSError as error:
        await site.keeper.close()
        site.spools.close()
        raise CommandFailed(
            f"cannot make workspaces in {site.workspaces}: {error.strerror}: name another folder with "
            "--workspaces-dir or --work-dir"
        ) from None
    uploads = Uploads(site.destination)
    place = Place(
        launcher=site.keeper,
        workspaces=folders,
        clock=clock,
        log=log,
        spools=site.spools,
        uploads=uploads,
    )
    worker = Worker(options, lambda: connect(site.destination), place, SystemRandom())
    _obey_signals(worker)
    on_end(site.lifeline, worker.drain)
    outcome: Outcome | None = None
    try:
        outcome = await worker.run()
    except KeeperLost as lost:
        raise CommandFailed(str(lost)) from None
    finally:
        await uploads.close()
        await site.keeper.close()
        site.spools.close()
    return exit_code(outcome.state, outcome) if outcome else 0


def _obey_signals(worker: Worker) -> None:
    """The first SIGTERM or SIGINT drains, the next kills."""
    asked: list[int] = []

    def obey() -> None:
        asked.append(1)
        (worker.drain if len(asked) == 1 else worker.kill)()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, obey)
