"""`airunner run`: a job on this machine, without a server."""

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
        typer.Argument(
            metavar="FILE", help="A job file, YAML or JSON; or a folder with a job.json."
        ),
    ],
    results: Annotated[
        Path,
        typer.Option(
            "--results",
            metavar="DIR",
            help="For the job's logs, result.json and artifacts.",
            rich_help_panel=FOLDERS,
        ),
    ] = Path("results"),
    jobs_dir: JobsDir = None,
    workspaces_dir: WorkspacesDir = None,
    keep_workspace: Annotated[
        bool,
        typer.Option(
            "--keep-workspace",
            help="Do not delete the workspace, for debugging.",
            rich_help_panel=FOLDERS,
        ),
    ] = False,
    group_markers: GroupMarkers = False,
) -> None:
    """Run a job here, as a worker would, and exit with its command's exit code.

    It needs no server, no token and no network of its own. The job's output is shown as it comes; its
    logs, result.json and artifacts are in ./results, where those of the last run are replaced. `source`
    is a folder below --jobs-dir, or else below that of the job file. The first Ctrl-C cancels
    the job, the second kills it. `airunner worker --dry-run FILE` is the same.

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
    """Run the job of a file or a folder; the exit code that stands for its end."""
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
        supervisor = start_supervisor()  # while this process has one thread
    except LaunchError as error:
        raise CommandFailed(str(error)) from None

    import asyncio

    from airunner.cli.processes.local_run import LocalSetup, run_locally

    room = LocalSetup(
        supervisor=supervisor,
        workspaces=workspaces,
        keep_workspace=keep_workspace,
        sources=sources,
        results=results,
        group_markers=group_markers,
        log=open_journal(LogFormat.CONSOLE, level=logging.WARNING),
    )
    return asyncio.run(run_locally(spec, room))


def _read(file: Path, jobs_dir: Path | None) -> tuple["JobSpec", Path]:
    """The job, and the root of sources."""
    from airunner.jobfile.reader import read_job_file
    from airunner.model.spec import JobSpec

    if not file.is_dir():
        return read_job_file(file).spec(), jobs_dir or file.absolute().parent
    folder = file.resolve()
    root = folder.parent if jobs_dir is None else jobs_dir.resolve()
    if folder == root or not folder.is_relative_to(root):
        raise CommandFailed(f"{file} is not a folder below --jobs-dir {jobs_dir}: name one that is")
    return JobSpec(source=str(folder.relative_to(root))), root
