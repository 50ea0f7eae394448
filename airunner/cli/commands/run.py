"""`airunner run`: runs a job on this machine, without a server."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from airunner.cli.exit_codes import CommandFailed
from airunner.cli.options import FOLDERS, GroupMarkers, JobsDir, WorkspacesDir

if TYPE_CHECKING:
    from airunner.model.spec import JobSpec


def run(
    file: Annotated[
        Path,
        typer.Argument(metavar="FILE", help="Job file, YAML or JSON; or a folder with a job.json."),
    ],
    results: Annotated[
        Path,
        typer.Option(
            "--results",
            metavar="DIR",
            help="Folder for the job's logs, result.json and artifacts.",
            rich_help_panel=FOLDERS,
        ),
    ] = Path("results"),
    jobs_dir: JobsDir = None,
    workspaces_dir: WorkspacesDir = None,
    keep_workspace: Annotated[
        bool,
        typer.Option(
            "--keep-workspace",
            help="Keep the workspace, for debugging.",
            rich_help_panel=FOLDERS,
        ),
    ] = False,
    group_markers: GroupMarkers = False,
) -> None:
    """Run a job on this machine, as a worker would, and exit with its command's exit code.

    The command needs no server, no token and no network. The job's output is shown as it is
    written. Its logs, result.json and artifacts are stored in ./results and replace the results of
    the previous run. `source` names a folder below --jobs-dir, by default below the folder of the
    job file. The first Ctrl-C cancels the job, the second kills it. `airunner worker --dry-run FILE`
    does the same.

    [bold]Examples[/bold]

    airunner run job.yaml

    airunner run tests/login --results /tmp/login
    """
    raise typer.Exit(
        dry_run(
            file,
            results=results,
            jobs_dir=jobs_dir,
            workspaces_dir=workspaces_dir,
            keep_workspace=keep_workspace,
            group_markers=group_markers,
        )
    )


def dry_run(
    file: Path,
    *,
    results: Path = Path("results"),
    jobs_dir: Path | None,
    workspaces_dir: Path | None,
    keep_workspace: bool,
    group_markers: bool = False,
) -> int:
    """Runs the job of a file or folder, and returns the exit code for its outcome."""
    import logging

    from airunner.cli.processes.folders import (
        check_apart,
        check_results,
        check_sources,
        work_folder,
    )
    from airunner.cli.processes.logging import LogFormat, open_journal
    from airunner.worker.process import LaunchError
    from airunner.worker.supervisor.supervisor import start_supervisor

    spec, sources = _read(file, jobs_dir)
    workspaces = work_folder(workspaces_dir)
    if spec.source:
        check_sources(sources)
        check_apart(sources / spec.source, workspaces)
    check_results(results)
    try:
        supervisor = start_supervisor()  # forks, so before this process starts a thread
    except LaunchError as error:
        raise CommandFailed(str(error)) from None

    import asyncio

    from airunner.cli.processes.local_run import LocalSetup, run_locally

    setup = LocalSetup(
        supervisor=supervisor,
        workspaces=workspaces,
        keep_workspace=keep_workspace,
        sources=sources,
        results=results,
        group_markers=group_markers,
        log=open_journal(LogFormat.CONSOLE, level=logging.WARNING),
    )
    return asyncio.run(run_locally(spec, setup))


def _read(file: Path, jobs_dir: Path | None) -> tuple["JobSpec", Path]:
    """The job's spec, and the root folder of sources."""
    from airunner.cli.processes.folders import resolved
    from airunner.jobfile.reader import read_job_file
    from airunner.model.spec import JobSpec

    if not file.is_dir():
        return read_job_file(file).spec(), jobs_dir or file.absolute().parent
    folder = resolved(file)
    root = folder.parent if jobs_dir is None else resolved(jobs_dir)
    if folder == root or not folder.is_relative_to(root):
        raise CommandFailed(f"{file} is not below --jobs-dir {jobs_dir}: name a folder below it")
    return JobSpec(source=str(folder.relative_to(root))), root
