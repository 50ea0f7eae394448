"""`airunner worker`: run jobs on this machine."""

import os
import socket
from pathlib import Path
from typing import Annotated

import typer

from airunner.cli.exits import CommandFailed
from airunner.cli.options import CaCert, Lifeline, Server, Token, TokenFile
from airunner.cli.settings import settings
from airunner.limits import (
    SPOOL_BYTES_DEFAULT,
    SPOOL_BYTES_MAX,
    SPOOL_BYTES_MIN,
    VISIBILITY_SECONDS_MAX,
    VISIBILITY_SECONDS_MIN,
    WORKER_SLOTS_MAX,
    WORKER_VISIBILITY_SECONDS_DEFAULT,
)
from airunner.units import show_size


def worker(
    queue: Annotated[
        list[str] | None,
        typer.Option(
            "--queue", metavar="NAME", help="Repeatable, in order of preference (default)."
        ),
    ] = None,
    slots: Annotated[
        int, typer.Option("--slots", min=1, max=WORKER_SLOTS_MAX, metavar="N", help="Jobs at once.")
    ] = os.cpu_count() or 1,
    visibility_timeout: Annotated[
        int,
        typer.Option(
            "--visibility-timeout",
            min=VISIBILITY_SECONDS_MIN,
            max=VISIBILITY_SECONDS_MAX,
            metavar="SECONDS",
            help="Out of touch for so long, its jobs go to another worker.",
        ),
    ] = WORKER_VISIBILITY_SECONDS_DEFAULT,
    once: Annotated[
        bool, typer.Option("--once", help="Run one job and exit with its exit code.")
    ] = False,
    name: Annotated[
        str | None, typer.Option("--name", metavar="NAME", help="Default: this host's.")
    ] = None,
    idle_exit: Annotated[
        float | None,
        typer.Option("--idle-exit", min=0.0, metavar="SECONDS", help="End after so long idle."),
    ] = None,
    drain_timeout: Annotated[
        float,
        typer.Option(
            "--drain-timeout", min=0.0, metavar="SECONDS", help="Given to running jobs at the end."
        ),
    ] = 60.0,
    work_dir: Annotated[
        Path | None,
        typer.Option(
            "--work-dir", metavar="DIR", help="For workspaces and spools (your cache folder)."
        ),
    ] = None,
    spool_bytes_max: Annotated[
        str | None,
        typer.Option(
            "--spool-bytes-max",
            metavar="SIZE",
            help="Of one job, that may wait there for the server; then the job waits "
            f"({show_size(SPOOL_BYTES_DEFAULT)}).",
        ),
    ] = None,
    keep_workspace: Annotated[
        bool, typer.Option("--keep-workspace", help="Do not delete them, for debugging.")
    ] = False,
    allow_local_repositories: Annotated[
        bool,
        typer.Option(
            "--allow-local-repositories", help="Jobs may clone what lies on this machine."
        ),
    ] = False,
    log_format: Annotated[
        str, typer.Option("--log-format", help="console or json, on standard error.")
    ] = "console",
    lifeline_fd: Lifeline = None,
    server: Server = None,
    token: Token = None,
    token_file: TokenFile = None,
    ca_cert: CaCert = None,
) -> None:
    """Take jobs from a server and run them here, until SIGTERM.

    The first SIGTERM or Ctrl-C drains: no new jobs, and running ones get --drain-timeout, then go back
    to their place in line. The second kills them now. It needs no open port.

    [bold]Examples[/bold]

    airunner worker --server build.example.org:8443 --token-file worker.token --queue gpu --slots 2

    airunner worker --once
    """
    from platformdirs import user_cache_path

    from airunner.checks import check_within
    from airunner.cli.flags import size
    from airunner.cli.journal import log_format_named, open_journal
    from airunner.spec import check_queue
    from airunner.worker.keeper.keeper import start_keeper
    from airunner.worker.process import LaunchError
    from airunner.worker.spool.disk_spools import DiskSpools

    lines = log_format_named(log_format)
    queues = tuple(dict.fromkeys(queue or ["default"]))
    for each in queues:
        check_queue(each, "--queue")
    said = settings(server, token, token_file, ca_cert)
    log = open_journal(lines)
    work_root = (work_dir or user_cache_path("airunner") / "work").absolute()
    spool_size = size("--spool-bytes-max", spool_bytes_max)
    if spool_size is None:
        spool_size = SPOOL_BYTES_DEFAULT
    check_within("--spool-bytes-max", spool_size, SPOOL_BYTES_MIN, SPOOL_BYTES_MAX, "bytes")
    destination = said.destination()
    spools = DiskSpools(work_root, log, server=destination.server, bytes_max=spool_size)
    try:
        # Before gRPC, which starts threads: no process with threads forks.
        keeper = start_keeper(lifeline=spools.lifeline())
    except LaunchError as error:
        spools.close()
        raise CommandFailed(str(error)) from None

    import asyncio

    from airunner.cli.working import Site, work
    from airunner.jobs import Millis
    from airunner.worker.worker import WorkerOptions

    options = WorkerOptions(
        name=name or socket.gethostname(),
        queues=queues,
        slots=slots,
        span=Millis(visibility_timeout * 1000),
        once=once,
        idle_exit=idle_exit,
        drain_timeout=drain_timeout,
    )
    site = Site(
        destination=destination,
        keeper=keeper,
        work_root=work_root,
        keep_workspace=keep_workspace,
        allow_local_repositories=allow_local_repositories,
        log=log,
        spools=spools,
        lifeline=lifeline_fd,
    )
    raise typer.Exit(asyncio.run(work(options, site)))
