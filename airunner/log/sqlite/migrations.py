"""From the format of an older log to the one of today, by number.

A log says its format in `user_version`. Migration n, counted from 1, brings format n to n + 1, in a
transaction of its own that also says the new number; so a log that was left in the middle goes
on from there. Before the first one the whole log is copied to FILE.v<N>.backup, and a copy that is
there already is not touched: the next is FILE.v<N>.backup.2.

What was rejected: comparing the tables with what they should be (a guess about what is meant);
migrations that are undone (the copy is what goes back).
"""

from collections.abc import Callable, Sequence
from itertools import count
from pathlib import Path
from typing import Final

import apsw

from airunner.log.log import LogRefused
from airunner.log.sqlite.backup import backup

Migration = Callable[[apsw.Connection], None]

MIGRATIONS: Final[Sequence[Migration]] = ()


def migrate(
    connection: apsw.Connection, path: Path, migrations: Sequence[Migration] = MIGRATIONS
) -> tuple[str, ...]:
    """Bring the log at `path` to the format of today; what was done, for people to read.

    The connection may write, is in no transaction, and has the log to itself. What a migration or
    the copy raises goes through, and the log then has the format that it had before. Raises
    LogRefused if a later airunner wrote it.
    """
    found, today = int(connection.pragma("user_version")), len(migrations) + 1
    check_format(path, found, today)
    if found == today:
        return ()
    kept = _free(path.with_name(f"{path.name}.v{found}.backup"))
    backup(path, kept, artifacts=False)
    for number in range(found, today):
        with connection:  # commits, or takes everything back
            migrations[number - 1](connection)
            connection.pragma("user_version", number + 1)
    return (f"brought the log from format {found} to {today}; what it was is in {kept}",)


def check_format(path: Path, found: int, today: int = len(MIGRATIONS) + 1) -> None:
    """Raise LogRefused if a later airunner wrote the log."""
    if found > today:
        raise LogRefused(
            f"{path} has format {found}, and this airunner knows formats up to {today}: use the "
            "version that wrote it, or a later one"
        )


def _free(name: Path) -> Path:
    """The name, or one like it that no file has."""
    if not name.exists():
        return name
    others = (name.with_name(f"{name.name}.{number}") for number in count(2))
    return next(other for other in others if not other.exists())
