"""What is said when a log on disk is damaged."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import apsw

from airunner.log.log import LogDamaged
from airunner.log.sqlite.rows import DamagedRow
from airunner.model.jobs import JobId


def is_damage(error: Exception) -> bool:
    """Whether an error of a connection means that what is on disk is not what was written."""
    if isinstance(error, apsw.IOError):
        return extended(error) in (apsw.SQLITE_IOERR_DATA, apsw.SQLITE_IOERR_CORRUPTFS)
    return isinstance(error, apsw.CorruptError | apsw.NotADBError | UnicodeDecodeError | DamagedRow)


def extended(error: apsw.Error) -> int:
    """SQLite's extended result code, which apsw puts on its errors; 0: it has none."""
    return int(getattr(error, "extendedresult", 0))


@contextmanager
def reported_as_damage(path: Path, doing: str) -> Iterator[None]:
    """Raise LogDamaged for damage that is met within: where, while doing what, and what to do."""
    try:
        yield
    except (apsw.Error, UnicodeDecodeError, DamagedRow) as error:
        if not is_damage(error):
            raise
        what = str(error) if isinstance(error, DamagedRow) else f"SQLite reports {error}"
        raise LogDamaged(f"{path}: {what}, found while {doing}: {_remedy(path)}") from error


def missing_events(path: Path, id: JobId, first: int, last: int) -> str:
    """What is said of events that are not there, though later ones are."""
    return f"{path}: job {id} has no sequences {first} to {last}, but later ones: {_remedy(path)}"


def _remedy(path: Path) -> str:
    return (
        f"`airunner log check {path}` names all that is damaged; `airunner log salvage {path} OUT` "
        "writes what can still be read to a new log"
    )
