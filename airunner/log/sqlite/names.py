"""The names of a log: the table `names`, a row for each name that the log has had.

Rules
- A name is random. A follower of all jobs sends the name with its position, so a server recognizes a
  position of another log.
- A log gets a new name where its events may from then on differ from those of another copy: a backup
  has a new name, because the original goes on. A salvaged log has a new name and no former one, because
  events may be missing in it.
- A former name stays valid for each position up to the one at which the next name was given: up to
  there both logs have the same events.
- Before format 2 every log was called `file`. A migrated log has that name up to the position of the
  migration, so a follower crosses the upgrade without a gap and without a repetition.

What was rejected: keeping the name in a backup (a server that is restored from last night's backup
would continue a follower of this morning at a position whose events it has never had).
"""

from collections.abc import Sequence
from secrets import token_hex
from struct import Struct
from typing import Any, Final, NamedTuple
from zlib import crc32

import apsw

from airunner.log.sqlite.rows import DamagedRow
from airunner.model.jobs import BEGINNING, Position

NAMED_FORMAT: Final = 2  # the first format with this table
OLD_NAME: Final = "file"  # of every log of an earlier format
TABLE: Final = """
CREATE TABLE names(
  number INTEGER PRIMARY KEY,
  name TEXT NOT NULL,
  since INTEGER NOT NULL,
  crc INTEGER NOT NULL
) STRICT;
"""
NEWEST: Final = (
    "SELECT max(ifnull((SELECT max(place) FROM facts), 0), "
    "ifnull((SELECT max(place) FROM reports), 0))"
)

OLDEST: Final = (
    "SELECT ifnull(min(place), 0) FROM (SELECT min(place) AS place FROM facts "
    "UNION ALL SELECT min(place) FROM reports)"
)

_NAME_BYTES: Final = 8  # of randomness
_NUMBERS: Final = Struct(">qq")


class Name(NamedTuple):
    """A name of the log. `since` is the position of the newest event when the log got the name."""

    name: str
    since: Position


class Names:
    """All names of one log, the oldest first; the last is its name now."""

    def __init__(self, names: Sequence[Name]) -> None:
        self._names = names

    @property
    def current(self) -> str:
        return self._names[-1].name

    def include(self, name: str, position: Position) -> bool:
        """True if the log of that name and this log have the same events up to the position."""
        if name == self.current:
            return True
        former = zip(self._names, self._names[1:], strict=False)
        return any(each.name == name and position <= after.since for each, after in former)


def give_name(connection: apsw.Connection) -> None:
    """Gives the log a new random name from its newest event on; the caller commits."""
    newest: Any = connection.execute(NEWEST).get
    _add(connection, Name(token_hex(_NAME_BYTES), Position(newest)))


def add_names(connection: apsw.Connection) -> None:
    """The migration to format 2: a random name, and the old one for the events that are there."""
    connection.execute(TABLE)
    _add(connection, Name(OLD_NAME, BEGINNING))
    give_name(connection)


def read_names(connection: apsw.Connection) -> Names:
    """The names of a log of format 2 or later. Raises DamagedRow."""
    rows: Any = connection.execute("SELECT number, name, since, crc FROM names ORDER BY number")
    names = list[Name]()
    for number, name, since, crc in rows:
        if number != len(names) + 1 or crc != _crc(number, name, since):
            raise DamagedRow(f"name {len(names) + 1} of the log is damaged")
        names.append(Name(name, Position(since)))
    if not names:
        raise DamagedRow("the log has no name")
    return Names(names)


def _add(connection: apsw.Connection, name: Name) -> None:
    number: Any = connection.execute("SELECT count(*) + 1 FROM names").get
    row = (number, *name, _crc(number, *name))
    connection.execute("INSERT INTO names(number, name, since, crc) VALUES (?, ?, ?, ?)", row)


def _crc(number: int, name: str, since: int) -> int:
    return crc32(_NUMBERS.pack(number, since) + name.encode())
