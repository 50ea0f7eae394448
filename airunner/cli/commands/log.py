"""`airunner log`: look after the file that a server keeps its jobs in."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from airunner.cli.exit_codes import DIFFERS, OURS, USAGE, CommandFailed
from airunner.cli.render.streams import note, printable, say
from airunner.model.units import show_count, show_size

FileArgument = Annotated[
    Path, typer.Argument(metavar="FILE", help="A server's log: PATH of --store sqlite:PATH.")
]
OutArgument = Annotated[
    Path, typer.Argument(metavar="OUT", help="The file to write; there is none of that name yet.")
]


def check(file: FileArgument) -> None:
    """Read all of a log and name everything in it that is not as it was written.

    Its pages, rows, numbers, links and seals are checked, the artifacts in the folder beside it, and
    the end of it that a crash may have torn. Nothing is changed, and a server may go on beside it.
    Exits with 0 if the log is sound, 1 if there are findings, 2 if there is no log.

    [bold]Example[/bold]   airunner log check ~/.local/share/airunner/jobs.db
    """
    from airunner.log.sqlite.repair.check import check as checked

    with _log_errors(file):
        seen = checked(file, _say_finding)
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
    """Write what can still be read of a damaged log to a new one, and name what is lost.

    Each job keeps its events up to the first that is missing or damaged; a job whose beginning is
    lost is left out, and one whose end is lost runs again on the next server. Artifacts that are as
    they were kept are copied to a folder beside OUT. FILE stays as it is, and no server may be
    using it. Exits with 0 if nothing is lost, 1 if something is, 2 if there is no log.

    [bold]Example[/bold]   airunner log salvage jobs.db saved.db
    """
    from airunner.log.sqlite.repair.salvage import salvage as salvaged

    with _log_errors(file):
        done = salvaged(file, out, _say_finding)
    said = f"{show_count(done.jobs, 'job')} and {show_count(done.events, 'event')} are in {out}"
    if done.shortened or done.left_out:
        said += f": {done.shortened} lost their end, and {done.left_out} more are left out"
    if done.artifacts:
        said += f"; {show_count(done.artifacts, 'artifact')} beside it"
    if done.lost and done.open:
        said += f"; a server will go on with {show_count(done.open, 'job')} that have no end there"
    say(said)
    if done.lost:
        raise typer.Exit(DIFFERS)


def backup(file: FileArgument, out: OutArgument) -> None:
    """Copy a log as it is now, whether a server is using it or not.

    The copy is complete once it has its name, and is itself a log that a server can use. Its artifacts
    are in OUT-artifacts then. A damaged log is not copied: that exits with 1, and so does
    a copy from which artifacts are missing, which are named.

    [bold]Example[/bold]   airunner log backup jobs.db "jobs-$(date +%F).db"
    """
    from airunner.log.sqlite.backup import backup as copied

    with _log_errors(file):
        done = copied(file, out)
    beside = f", and {_artifact_total(done.files, done.size)} beside it" if done.files else ""
    note(f"wrote {out} ({show_size(out.stat().st_size)}){beside}")
    for each in done.lost:
        _say_finding(each)
    if done.lost:
        raise typer.Exit(DIFFERS)


def _say_finding(finding: str) -> None:
    say(printable(finding))


def _artifact_total(count: int, size: int) -> str:
    return f"{show_count(count, 'artifact')} of {show_size(size)}"


@contextmanager
def _log_errors(file: Path) -> Iterator[None]:
    """CommandFailed, in one sentence, for what stands in the way."""
    import apsw

    from airunner.log.log import LogDamaged, LogRefused

    try:
        yield
    except LogRefused as error:
        raise CommandFailed(str(error), USAGE) from None
    except LogDamaged as error:
        raise CommandFailed(str(error), DIFFERS) from None
    except OSError as error:
        named = f"{error.filename}: " if error.filename else ""
        raise CommandFailed(f"{named}{error.strerror}", OURS) from None
    except apsw.FullError:
        raise CommandFailed("there is no room left to write to", OURS) from None
    except apsw.Error as error:
        raise CommandFailed(f"{file}: SQLite says: {error}", OURS) from None
