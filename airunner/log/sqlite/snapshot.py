"""A log as it is at one moment, read beside the server that writes it or without one.

One read transaction holds the moment. While it is open SQLite cannot begin its write-ahead log
anew, which therefore grows by what is appended meanwhile; nobody waits for anybody.

When no server has the log, its write-ahead log is surveyed first, as at a server's start:
SQLite would drop what follows a damaged frame without a word. A server has done that already.
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
    """The log at `path`; nothing of it is changed.

    Raises LogRefused if there is none, LogDamaged if not even its beginning can be read.
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
    """Raise LogRefused unless there is a log at the path."""
    if not path.is_file():
        raise LogRefused(f"there is no log at {path}")
    if is_empty(path):
        raise LogRefused(f"{path} is empty: no log was ever made in it")
