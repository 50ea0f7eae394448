"""The migration of an older log to the format of today, and the refusal of a newer one.

A log has two numbers, both in SQLite's `user_version` (schema.py). The format says how its tables
look; migration n, counted from 1, brings format n to n + 1, in a transaction of its own that also
writes the new number, so a migration that was interrupted goes on from there. Before the first one
the whole log is copied to FILE.v<N>.backup; an existing copy is kept, and the next is
FILE.v<N>.backup.2. The feature level says which kinds of records the log may hold; it rises without
a migration, as soon as a server that knows the new kinds opens the log.

What was rejected: comparing the tables with those of today's format (a guess); migrations that can
be undone (the copy is the way back).
"""

from collections.abc import Callable, Sequence
from itertools import count
from pathlib import Path
from typing import Final

import apsw

from airunner.log.records import FEATURE_LEVEL
from airunner.log.sqlite.backup import backup
from airunner.log.sqlite.names import add_names
from airunner.log.sqlite.schema import Version, check_version, read_version

Migration = Callable[[apsw.Connection], None]

MIGRATIONS: Final[Sequence[Migration]] = (add_names,)


def migrate(
    connection: apsw.Connection,
    path: Path,
    migrations: Sequence[Migration] = MIGRATIONS,
    level: int = FEATURE_LEVEL,
) -> tuple[str, ...]:
    """Brings the log at `path` to today's format and feature level; a sentence for each change.

    The connection may write, is in no transaction, and has the log to itself. Errors of a migration
    and of the copy pass through, and the log then has the format that it had before. Raises
    LogRefused if a later airunner wrote it.
    """
    found, today = read_version(connection), Version(len(migrations) + 1, level)
    check_version(path, found, today)
    notes = list[str]()
    if found.format < today.format:
        kept = _free(path.with_name(f"{path.name}.v{found.format}.backup"))
        backup(path, kept, artifacts=False, named=False)
        for format in range(found.format, today.format):
            with connection:  # commits, or takes everything back
                migrations[format - 1](connection)
                connection.pragma("user_version", Version(format + 1, found.level).number)
        change = f"brought the log from format {found.format} to {today.format}"
        notes.append(f"{change}; the log as it was before is {kept}")
    if found.level < today.level:
        connection.pragma("user_version", today.number)
        change = f"raised the log's feature level from {found.level} to {today.level}"
        notes.append(f"{change}: an older airunner can no longer open it")
    return tuple(notes)


def _free(name: Path) -> Path:
    """The name, or a similar name that no file has."""
    if not name.exists():
        return name
    others = (name.with_name(f"{name.name}.{number}") for number in count(2))
    return next(other for other in others if not other.exists())
