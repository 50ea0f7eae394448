"""`airunner worker`: takes jobs from a server and runs them on this machine."""

import os
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from airunner.cli.client_settings import settings
from airunner.cli.exit_codes import USAGE, CommandFailed
from airunner.cli.options import (
    FOLDERS,
    CaCert,
    JobsDir,
    Lifeline,
    Server,
    Token,
    TokenFile,
    WorkspacesDir,
)
from airunner.model.limits import (
    SETUP_TIMEOUT_SECONDS,
    SPOOL_BYTES_DEFAULT,
    SPOOL_BYTES_MAX,
    SPOOL_BYTES_MIN,
    VISIBILITY_SECONDS_MAX,
    VISIBILITY_SECONDS_MIN,
    WORKER_SLOTS_MAX,
    WORKER_VISIBILITY_SECONDS_DEFAULT,
)
from airunner.model.units import show_size

if TYPE_CHECKING:
    from collections.abc import Mapping


def worker(
    queue: Annotated[
        list[str] | None,
        typer.Option(
            "--queue",
            metavar="NAME",
            help="Queue to serve; repeatable, in order of preference (default: default).",
        ),
    ] = None,
    slots: Annotated[
        int,
        typer.Option("--slots", min=1, max=WORKER_SLOTS_MAX, metavar="N", help="Concurrent jobs."),
    ] = os.cpu_count() or 1,
    visibility_timeout: Annotated[
        int,
        typer.Option(
            "--visibility-timeout",
            min=VISIBILITY_SECONDS_MIN,
            max=VISIBILITY_SECONDS_MAX,
            metavar="SECONDS",
            help="Lease time: after this time without contact, the jobs go to another worker.",
        ),
    ] = WORKER_VISIBILITY_SECONDS_DEFAULT,
    once: Annotated[
        bool, typer.Option("--once", help="Run one job, and exit with its exit code.")
    ] = False,
    max_jobs: Annotated[
        int | None,
        typer.Option(
            "--max-jobs", min=1, metavar="N", help="Run N jobs in total, then exit with 0."
        ),
    ] = None,
    idle_exit: Annotated[
        float | None,
        typer.Option(
            "--idle-exit",
            min=0.0,
            metavar="SECONDS",
            help="Exit with 0 after this time without a job.",
        ),
    ] = None,
    dry_run: Annotated[
        Path | None,
        typer.Option(
            "--dry-run",
            metavar="FILE",
            help="Run the job of FILE without a server, as `airunner run` does.",
        ),
    ] = None,
    name: Annotated[
        str | None,
        typer.Option(
            "--name",
            metavar="NAME",
            help="Name of the worker's pool (default: the host name). Several workers may share "
            "a name; each process has its own id.",
        ),
    ] = None,
    env: Annotated[
        list[str] | None,
        typer.Option(
            "--env",
            metavar="NAME=VALUE",
            help="Environment variable of all jobs; repeatable. A job's own value wins.",
        ),
    ] = None,
    path: Annotated[
        str | None,
        typer.Option(
            "--path",
            metavar="FOLDERS",
            help="PATH of all jobs, such as /opt/bin:/usr/bin (default: the system's usual folders).",
        ),
    ] = None,
    jobs_dir: JobsDir = None,
    drain_timeout: Annotated[
        float,
        typer.Option(
            "--drain-timeout",
            min=0.0,
            metavar="SECONDS",
            help="Time that running jobs get to finish after the first signal.",
        ),
    ] = 60.0,
    setup_timeout: Annotated[
        float,
        typer.Option(
            "--setup-timeout",
            min=1.0,
            metavar="SECONDS",
            help="Time for the set-up of a job: the clone of its repository, or the copy of its "
            "source.",
        ),
    ] = float(SETUP_TIMEOUT_SECONDS),
    work_dir: Annotated[
        Path | None,
        typer.Option(
            "--work-dir",
            metavar="DIR",
            help="Folder for workspaces and spools (default: work in your cache folder).",
            rich_help_panel=FOLDERS,
        ),
    ] = None,
    workspaces_dir: WorkspacesDir = None,
    spool_bytes_max: Annotated[
        str | None,
        typer.Option(
            "--spool-bytes-max",
            metavar="SIZE",
            help="Output of each job that may wait for the server in --work-dir; the job blocks "
            f"when its spool is full (default: {show_size(SPOOL_BYTES_DEFAULT)}).",
            rich_help_panel=FOLDERS,
        ),
    ] = None,
    keep_workspace: Annotated[
        bool,
        typer.Option(
            "--keep-workspace",
            help="Keep workspaces, for debugging.",
            rich_help_panel=FOLDERS,
        ),
    ] = False,
    allow_local_repositories: Annotated[
        bool,
        typer.Option(
            "--allow-local-repositories",
            help="Let jobs clone repositories from the file system of this machine.",
            rich_help_panel=FOLDERS,
        ),
    ] = False,
    log_format: Annotated[
        str,
        typer.Option("--log-format", help="Format of the log on standard error: console or json."),
    ] = "console",
    lifeline_fd: Lifeline = None,
    server: Server = None,
    token: Token = None,
    token_file: TokenFile = None,
    ca_cert: CaCert = None,
) -> None:
    """Take jobs from a server and run them on this machine, until SIGTERM.

    The first SIGTERM or Ctrl-C drains the worker: it takes no new job, running jobs get
    --drain-timeout to finish, and unfinished jobs return to their place in line. The second signal
    kills the running jobs. A worker needs no open port.

    [bold]Examples[/bold]

    airunner worker --server build.example.org:8443 --token-file worker.token --queue gpu --slots 2

    airunner worker --once

    airunner worker --jobs-dir /srv/jobs --workspaces-dir /srv/workspaces
    """
    from airunner.cli.processes.folders import check_worker, work_folder
    from airunner.cli.processes.logging import log_format_named, open_journal
    from airunner.worker.process import LaunchError
    from airunner.worker.spool.disk_spools import DiskSpools
    from airunner.worker.supervisor.supervisor import start_supervisor

    log = open_journal(log_format_named(log_format))
    if once and max_jobs is not None:
        raise CommandFailed("give --once or --max-jobs, not both", USAGE)
    if dry_run is not None:
        raise typer.Exit(_dry_run(dry_run, jobs_dir, workspaces_dir or work_dir, keep_workspace))
    queues = _queues(queue)
    job_environment = _job_environment(env, path)
    connection = settings(server, token, token_file, ca_cert)
    work_root = work_folder(work_dir)
    workspaces = workspaces_dir.absolute() if workspaces_dir else work_root
    check_worker(jobs_dir, workspaces, work_root)
    spool_size = _spool_size(spool_bytes_max)
    endpoint = connection.endpoint()
    spools = DiskSpools(work_root, log, server=endpoint.server, bytes_max=spool_size)
    try:
        # Before gRPC starts its threads: a process with threads must not fork.
        supervisor = start_supervisor(lifeline=spools.lifeline())
    except LaunchError as error:
        spools.close()
        raise CommandFailed(str(error)) from None
    import asyncio

    from airunner.cli.processes.worker_process import WorkerSetup, work
    from airunner.model.jobs import Millis
    from airunner.worker.worker import WorkerOptions

    options = WorkerOptions(
        name=name or socket.gethostname(),
        queues=queues,
        slots=slots,
        span=Millis(visibility_timeout * 1000),
        jobs_max=1 if once else max_jobs,
        idle_exit=idle_exit,
        drain_timeout=drain_timeout,
    )
    setup = WorkerSetup(
        endpoint=endpoint,
        supervisor=supervisor,
        sources=jobs_dir,
        workspaces=workspaces,
        keep_workspace=keep_workspace,
        allow_local_repositories=allow_local_repositories,
        log=log,
        job_environment=job_environment,
        spools=spools,
        setup_seconds=setup_timeout,
        lifeline=lifeline_fd,
    )
    code = asyncio.run(work(options, setup))
    raise typer.Exit(code if once else 0)


def _queues(names: list[str] | None) -> tuple[str, ...]:
    from airunner.model.spec import check_queue

    queues = tuple(dict.fromkeys(names or ["default"]))
    for each in queues:
        check_queue(each, "--queue")
    return queues


def _job_environment(env: list[str] | None, path: str | None) -> "Mapping[str, str]":
    """The variables of all jobs. Raises CommandFailed or InvalidRequest, with the flag."""
    from airunner.cli.submit_flags import name_values
    from airunner.model.validation import check_environment
    from airunner.worker.host_runtime import host_environment
    from airunner.worker.workspace.git_environment import PATH
    from airunner.worker.workspace.variables import AIRUNNER_PREFIX

    variables = name_values("--env", env)
    check_environment("--env", variables)
    for name in variables:
        if name.startswith(AIRUNNER_PREFIX):
            raise CommandFailed(f"--env: {name} is a variable that airunner sets", USAGE)
    if path is not None:
        check_environment("--path", {"PATH": path})
    if path is not None and not all(folder.startswith("/") for folder in path.split(":")):
        raise CommandFailed(
            f"--path: {path!r} is not a list of absolute paths with : between", USAGE
        )
    return host_environment(PATH if path is None else path, variables)


def _spool_size(text: str | None) -> int:
    """The size of --spool-bytes-max in bytes."""
    from airunner.cli.submit_flags import size_bytes
    from airunner.model.validation import check_range

    size = size_bytes("--spool-bytes-max", text)
    bytes_max = SPOOL_BYTES_DEFAULT if size is None else size
    check_range("--spool-bytes-max", bytes_max, SPOOL_BYTES_MIN, SPOOL_BYTES_MAX, "bytes")
    return bytes_max


def _dry_run(file: Path, jobs_dir: Path | None, workspaces: Path | None, keep: bool) -> int:
    from airunner.cli.commands.run import dry_run

    if str(file).startswith("-"):
        raise CommandFailed(
            "--dry-run needs a job file, as in `airunner worker --dry-run job.yaml`", USAGE
        )
    return dry_run(file, jobs_dir=jobs_dir, workspaces_dir=workspaces, keep_workspace=keep)
