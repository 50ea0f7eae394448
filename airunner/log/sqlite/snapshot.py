"""A consistent view of a log, with or without a server that writes it.

One read transaction is the view. While it is open, SQLite cannot restart its write-ahead log, which
grows by the events that are appended meanwhile; neither side waits for the other.

If no server has the log open, its write-ahead log is surveyed first, as at the start of a server:
SQLite would silently drop every frame behind a damaged one. A running server has done that already.
"""

from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import apsw

from airunner.log.log import LogRefused
from airunner.log.sqlite.damage import reported_as_damage
from airunner.log.sqlite.lock import FileLock, LogInUse
from airunner.log.sqlite.schema import connect, is_empty
from airunner.log.sqlite.wal import Scan, survey, wal_of


@dataclass(frozen=True, slots=True)
class Snapshot:
    connection: apsw.Connection  # reads only, inside one transaction
    scan: Scan | None  # of the write-ahead log; None: a server has the log open


@contextmanager
def snapshot(path: Path) -> Iterator[Snapshot]:
    """A view of the log at `path`, which stays unchanged.

    Raises LogRefused if there is no log, LogDamaged if its first page cannot be read.
    """
    require_log(path)
    with ExitStack() as opened:
        scan = None
        with ExitStack() as alone:
            with suppress(LogInUse):
                alone.callback(FileLock(path).release)
                scan = survey(wal_of(path))
            with reported_as_damage(path, "opening it"):
                connection = opened.enter_context(closing(connect(path)))
                connection.execute("BEGIN; SELECT count(*) FROM sqlite_schema")
        yield Snapshot(connection, scan)


def require_log(path: Path) -> None:
    """Raises LogRefused unless there is a log at the path."""
    if not path.is_file():
        raise LogRefused(f"there is no log at {path}")
    if is_empty(path):
        raise LogRefused(f"{path} is empty: no log was ever made in it")
