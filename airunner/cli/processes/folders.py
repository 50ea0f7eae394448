"""The folders that a worker or a run is told of: what must hold before a job is taken.

Sources, workspaces and spools lie apart. A source is copied, so one that has workspaces or spools
in it would be copied into itself, or bring a job the tokens of others; and what is below a folder of
workspaces is removed.
"""

import os
import re
from pathlib import Path
from typing import Final

from airunner.cli.exit_codes import CommandFailed

_RESULT: Final = re.compile(
    r"result\.json|step_\d+\.log"
)  # what a run leaves, also if it is killed


def work_folder(work_dir: Path | None) -> Path:
    """Where a worker has workspaces and spools unless it was told otherwise."""
    from platformdirs import user_cache_path

    return (work_dir or user_cache_path("airunner") / "work").absolute()


def check_sources(jobs_dir: Path) -> None:
    """Raise CommandFailed unless the root of sources is there and can be looked into."""
    if not jobs_dir.is_dir():
        there = "is not a folder" if jobs_dir.exists() else "is not there"
        raise CommandFailed(f"--jobs-dir: {jobs_dir} {there}: name the folder that has the sources")
    if not os.access(jobs_dir, os.R_OK | os.X_OK):
        raise CommandFailed(f"--jobs-dir: {jobs_dir} cannot be read: give this user access to it")


def check_apart(jobs_dir: Path, folder: Path, flag: str = "--workspaces-dir") -> None:
    """Raise CommandFailed if one of them is, or is in, the other, by whatever links."""
    one, other = jobs_dir.resolve(), folder.resolve()
    if one.is_relative_to(other) or other.is_relative_to(one):
        how = "are the same" if one == other else "are in one another"
        raise CommandFailed(
            f"--jobs-dir {jobs_dir} and {flag} {folder} {how}: sources are copied and workspaces are "
            "removed, so name two folders that are apart"
        )


def check_worker(jobs_dir: Path | None, workspaces: Path, work: Path) -> None:
    """Raise CommandFailed unless a worker can be started on these folders."""
    if jobs_dir is None:
        return
    check_sources(jobs_dir)
    check_apart(jobs_dir, work, "--work-dir")
    check_apart(jobs_dir, workspaces)


def check_results(results: Path) -> None:
    """Raise CommandFailed if a run would replace what no run of airunner has made."""
    if Path.cwd().is_relative_to(results.resolve()):
        raise CommandFailed(
            f"--results: {results} is replaced by each run, and we are in it: name another folder"
        )
    if not os.path.lexists(results):
        return
    try:
        names = os.listdir(results)
    except OSError:
        names = [""]
    if names and not any(_RESULT.fullmatch(name) for name in names):
        raise CommandFailed(
            f"{results} has no results of airunner in it, and would be replaced: move it, or name "
            "another folder with --results"
        )
