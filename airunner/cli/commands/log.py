"""`airunner log`: checks, salvages and backs up the SQLite log of a server."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from airunner.cli.exit_codes import DIFFERS, OURS, USAGE, CommandFailed
from airunner.cli.render.streams import note, say
from airunner.model.units import show_count, show_size

FileArgument = Annotated[
    str, typer.Argument(metavar="FILE", help="Log of a server: PATH of --store sqlite:PATH.")
]
OutArgument = Annotated[
    Path, typer.Argument(metavar="OUT", help="File to write; it must not exist yet.")
]


def check(file: FileArgument) -> None:
    """Check all of a log, and name everything in it that has changed since it was written.

    The check covers pages, rows, sequence numbers, links and seals, the artifacts in the folder
    beside the log, and the end of the log that a crash may have torn. It changes nothing, and a
    server may use the log meanwhile. Exit codes: 0: the log is sound; 1: there are findings;
    2: FILE is not a log.

    [bold]Example[/bold]   airunner log check ~/.local/share/airunner/jobs.db
    """
    from airunner.log.sqlite.repair.check import check as checked

    with _log_errors():
        seen = checked(_log_file(file), _say_finding)
    for line in seen.notes:
        note(line)
    beside = f", {_artifact_total(seen.artifacts, seen.artifact_bytes)}" if seen.artifacts else ""
    count = f"{show_count(seen.findings, 'finding')}" if seen.findings else "sound"
    say(
        f"{show_count(seen.jobs, 'job')}, {show_count(seen.events, 'event')}, "
        f"{show_size(seen.output_bytes)} of output{beside}: {count}"
    )
    if seen.findings:
        raise typer.Exit(DIFFERS)


def salvage(file: FileArgument, out: OutArgument) -> None:
    """Write the readable part of a damaged log to a new log, and name the losses.

    Each job keeps its events up to the first missing or damaged event. A job without its first event
    is left out. A job without its end runs again on the next server. Undamaged artifacts are copied
    to a folder beside OUT. FILE is not changed, and no server may be using it. Exit codes: 0: nothing
    is lost; 1: something is lost; 2: FILE is not a log.

    [bold]Example[/bold]   airunner log salvage jobs.db saved.db
    """
    from airunner.log.sqlite.repair.salvage import salvage as salvaged

    with _log_errors():
        done = salvaged(_log_file(file), out, _say_finding)
    summary = f"{show_count(done.jobs, 'job')} and {show_count(done.events, 'event')} are in {out}"
    if done.shortened or done.left_out:
        shortened, left_out = show_count(done.shortened, "job"), show_count(done.left_out, "job")
        summary += f": {shortened} lost events at the end, {left_out} left out"
    if done.artifacts:
        summary += f"; {show_count(done.artifacts, 'artifact')} beside it"
    if done.lost and done.open:
        summary += f"; a server will run {show_count(done.open, 'job')} without an end again"
    say(summary)
    if done.lost:
        raise typer.Exit(DIFFERS)


def backup(file: FileArgument, out: OutArgument) -> None:
    """Copy a log as it is now, even while a server is using it.

    The copy is complete once OUT exists, and a server can use it. Its artifacts are in OUT-artifacts.
    A damaged log is not copied. Exit codes: 0: the copy is complete; 1: the log is damaged, or
    artifacts are missing from the copy and are named.

    [bold]Example[/bold]   airunner log backup jobs.db "jobs-$(date +%F).db"
    """
    from airunner.log.sqlite.backup import backup as copied

    with _log_errors():
        done = copied(_log_file(file), out)
    beside = f", and {_artifact_total(done.files, done.size)} beside it" if done.files else ""
    note(f"wrote {out} ({show_size(out.stat().st_size)}){beside}")
    for each in done.lost:
        _say_finding(each)
    if done.lost:
        raise typer.Exit(DIFFERS)


def _say_finding(finding: str) -> None:
    say(finding)


def _log_file(text: str) -> Path:
    from airunner.log.storage import sqlite_file

    return sqlite_file(text)


def _artifact_total(count: int, size: int) -> str:
    return f"{show_count(count, 'artifact')} of {show_size(size)}"


@contextmanager
def _log_errors() -> Iterator[None]:
    """Turns the errors of a log into CommandFailed, with a sentence and an exit code."""
    from airunner.log.log import LogDamaged, LogFailed, LogRefused
    from airunner.log.storage import StorageRefused

    try:
        yield
    except (LogRefused, StorageRefused) as error:
        raise CommandFailed(str(error), USAGE) from None
    except LogDamaged as error:
        raise CommandFailed(str(error), DIFFERS) from None
    except LogFailed as error:
        raise CommandFailed(str(error), OURS) from None
