"""The deletion of rows that retention has removed, in slices.

Output is dropped, or a job forgotten, as soon as the fact is in the log, because readers look for that
fact. The remaining work is to free the space, which may take long. So it is done in slices: each is a
transaction that rewrites or deletes a bounded number of rows and bytes, and appends run in between.

The table `trims` lists the pending work, by the position of the fact that causes it. The row is
inserted with the fact and deleted with the last slice, so a crash at any point loses no work.

    OutputDropped   each row of output becomes an OutputCut with the same sequences and size. A
                    damaged row stays unchanged, so no valid checksum covers the damage up
    Forgotten       the reports are deleted, then the facts, and last the Forgotten itself. It stays
                    while it is the newest event of the log, because the highest position must stay
                    known

OutputCuts stay one row each although they could be merged: a reader may be between two of them, and a
read that is repeated from a sequence gives the same events.
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

Task = tuple[int, str, int]  # position, job and kind of the fact that causes the work


class Trim:
    """The pending work of retention, on the writer's connection and thread."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection
        rows: Any = connection.execute(_WORK)  # Any: tasks
        self._work: deque[Task] = deque(rows)
        self._at = 0  # the sequence up to which the first task is done
        self._newest: Task | None = None  # done, except for the fact, which is the newest event

    @property
    def pending(self) -> bool:
        """True if there is work to do now."""
        return bool(self._work)

    def add(self, tasks: Iterable[Task]) -> None:
        """Adds work that the table already has. Any call means that the log has a newer event."""
        self._work.extend(tasks)
        if self._newest is not None:
            self._work.append(self._newest)
            self._newest = None

    def slice(self) -> None:
        """Does a bounded part of the first task, in a transaction.

        After an error the caller rolls the transaction back, unless SQLite has done so.
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
        # The transaction is durable, so the fields may follow it.
        self._at = at or 0
        if done:
            self._work.popleft()
        if newest:
            self._newest = task

    def _mark_some(self, job: str) -> int | None:
        """Replaces some output by OutputCuts; the last sequence done, None: no output is left."""
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
        """Deletes some reports; False: none was left."""
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
        """Deletes the facts of a job without reports; True: one stays, the newest event of the log."""
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
