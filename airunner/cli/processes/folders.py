"""Checks of the folders of `airunner worker` and `airunner run`, before a job starts.

Sources, workspaces and spools must be in separate folders. A source is copied, so a source that
contains workspaces or spools would be copied into itself, or give a job the lease tokens of other
jobs. Everything below a folder of workspaces is removed.
"""

import os
from pathlib import Path

from airunner.cli.exit_codes import CommandFailed


def work_folder(work_dir: Path | None) -> Path:
    """The folder for workspaces and spools: `work_dir`, or `work` in the user's cache folder."""
    from platformdirs import user_cache_path

    return (work_dir or user_cache_path("airunner") / "work").absolute()


def resolved(path: Path) -> Path:
    """The absolute path without links. Raises CommandFailed if a link leads to itself."""
    try:
        return path.resolve()
    except RuntimeError:
        raise CommandFailed(f"cannot use {path}: a link on the way leads to itself") from None


def check_sources(jobs_dir: Path) -> None:
    """Raises CommandFailed unless the root folder of sources exists and is readable."""
    if not jobs_dir.is_dir():
        why = "is not a folder" if jobs_dir.exists() else "does not exist"
        raise CommandFailed(f"--jobs-dir: {jobs_dir} {why}: name the folder that has the sources")
    if not os.access(jobs_dir, os.R_OK | os.X_OK):
        raise CommandFailed(f"--jobs-dir: {jobs_dir} cannot be read: give this user access to it")


def check_apart(jobs_dir: Path, folder: Path, flag: str = "--workspaces-dir") -> None:
    """Raises CommandFailed if the folders are the same or nested, after resolving links."""
    sources, other = resolved(jobs_dir), resolved(folder)
    if sources.is_relative_to(other) or other.is_relative_to(sources):
        how = "are the same" if sources == other else "are nested"
        raise CommandFailed(
            f"--jobs-dir {jobs_dir} and {flag} {folder} {how}: sources are copied and workspaces are "
            "removed, so name two separate folders"
        )


def check_worker(jobs_dir: Path | None, workspaces: Path, work: Path) -> None:
    """Raises CommandFailed unless a worker can start with these folders."""
    if jobs_dir is None:
        return
    check_sources(jobs_dir)
    check_apart(jobs_dir, work, "--work-dir")
    check_apart(jobs_dir, workspaces)


def check_results(results: Path) -> None:
    """Raises CommandFailed if a run would replace a folder that is not the results of a run."""
    from airunner.worker.workspace.results.earlier import NotReplaceable, check_replaceable

    if Path.cwd().is_relative_to(resolved(results)):
        raise CommandFailed(
            f"--results: a run would replace {results}, which contains the current folder: name "
            "another folder"
        )
    try:
        check_replaceable(str(results))
    except NotReplaceable as found:
        raise CommandFailed(
            f"{results} would be replaced, and {found}: move it, or name another folder with --results"
        ) from None
