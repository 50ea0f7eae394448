"""Retention's work on the rows, a slice at a time.

That output was dropped, or a job forgotten, is so from the moment that the fact is in the log:
readers look for it. What is left is to give the space back, and that may take long; so it is
cut into slices, each a transaction of its own that rewrites or deletes no more than a bounded
number of rows and bytes, and appends go in between.

What there is to do stands in the table `trims`, by the place of the fact that asks for it: the
row comes with the fact and goes with the last slice. So a crash at any point loses no work.

    OutputDropped   each row of output becomes a mark with the same sequences and size. A row
                    that is damaged stays as it is, so that it is not whitewashed
    Forgotten       the reports go, then the facts, and at last the fact itself: but not while it
                    is the newest of the log, because the highest place must stay known

Marks keep one row each though they could be joined: a reader may be in the middle of them, and
what was read from a sequence once is read from there again.
"""

from collections import deque
from collections.abc import Iterable
from contextlib import suppress
from typing import Any, Final

import apsw

from airunner.log.records import FACTS, REPORTS
from airunner.log.sqlite.names import NEWEST
from airunner.log.sqlite.rows import REPORT_COLUMNS, DamagedEvent, report_event, report_row
from airunner.model.facts import Forgotten
from airunner.model.limits import TRIM_BYTES_MAX
from airunner.model.reports import Output

TRIM_ROWS: Final = 512  # in one slice

_FORGOTTEN: Final = FACTS[Forgotten]
_WORK: Final = (
    "SELECT facts.place, facts.job, facts.kind FROM trims JOIN facts USING (place) ORDER BY place"
)
_OUTPUT: Final = (
    f"SELECT {REPORT_COLUMNS} FROM reports "  # noqa: S608  # our own words
    f"WHERE job = ? AND last > ? AND kind = {REPORTS[Output]} ORDER BY last LIMIT {TRIM_ROWS}"
)
_COLUMNS: Final = REPORT_COLUMNS.split(", ")
_LAST, _SIZE = _COLUMNS.index("last"), _COLUMNS.index("size")
_REPLACE: Final = f"REPLACE INTO reports({REPORT_COLUMNS}) VALUES ({', '.join('?' * 12)})"  # noqa: S608  # as above
_REPORTS: Final = f"SELECT place, size FROM reports WHERE job = ? ORDER BY last LIMIT {TRIM_ROWS}"  # noqa: S608  # as above
_OTHERS: Final = f"SELECT place FROM facts WHERE job = ? AND kind != {_FORGOTTEN}"  # noqa: S608  # as above

Task = tuple[int, str, int]  # place, job and kind of the fact that asks for it


class Trim:
    """What retention has yet to do, on the writer's connection and thread."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection
        rows: Any = connection.execute(_WORK)  # Any: tasks
        self._work: deque[Task] = deque(rows)
        self._at = 0  # the sequence up to which the first task's output has been seen to
        self._newest: Task | None = None  # all done but for the fact, the newest of the log

    @property
    def pending(self) -> bool:
        """Whether there is something to do now."""
        return bool(self._work)

    def add(self, tasks: Iterable[Task]) -> None:
        """More work, which the table has already; and the log has something newer in any case."""
        self._work.extend(tasks)
        if self._newest is not None:
            self._work.append(self._newest)
            self._newest = None

    def slice(self) -> None:
        """Do a bounded part of the first task, in a transaction.

        After an error the caller rolls back what SQLite itself has not.
        """
        place, job, kind = task = self._work[0]
        at: int | None = 0
        newest = False
        self._connection.execute("BEGIN IMMEDIATE")
        if kind == _FORGOTTEN:
            done = not self._delete_some(job)
            newest = done and self._finish(place, job)
        else:
            at = self._mark_some(job)
            done = at is None
            if done:
                self._settle(place)
        self._connection.execute("COMMIT")
        # Only now is it in the log, so only now is it true here.
        self._at = at or 0
        if done:
            self._work.popleft()
        if newest:
            self._newest = task

    def _mark_some(self, job: str) -> int | None:
        """Put marks in the place of some output; up to which sequence, None: there is no more."""
        rows: Any = self._connection.execute(_OUTPUT, (job, self._at))  # Any: rows of reports
        marks, size, at = [], 0, None
        for row in rows:
            at = row[_LAST]
            with suppress(DamagedEvent):
                marks.append(report_row(report_event(row, dropped=True)))
            if (size := size + row[_SIZE]) >= TRIM_BYTES_MAX:
                break
        rows.close(True)
        self._connection.executemany(_REPLACE, marks)
        return at

    def _delete_some(self, job: str) -> bool:
        """Delete some reports; False: there is none left."""
        rows: Any = self._connection.execute(_REPORTS, (job,))  # Any: places and sizes
        places, size = [], 0
        for place, bytes_ in rows:
            places.append((place,))
            size += bytes_
            if size >= TRIM_BYTES_MAX:
                break
        rows.close(True)
        self._connection.executemany("DELETE FROM reports WHERE place = ?", places)
        return bool(places)

    def _finish(self, place: int, job: str) -> bool:
        """Delete the facts of a job without reports; True: but for the newest of the log."""
        others: Any = self._connection.execute(_OTHERS, (job,)).fetchall()  # Any: places
        for table in ("trims", "facts"):
            self._connection.executemany(f"DELETE FROM {table} WHERE place = ?", others)  # noqa: S608  # as above
        if place == self._connection.execute(NEWEST).get:
            return True
        self._connection.execute("DELETE FROM facts WHERE place = ?", (place,))
        self._settle(place)
        return False

    def _settle(self, place: int) -> None:
        self._connection.execute("DELETE FROM trims WHERE place = ?", (place,))
