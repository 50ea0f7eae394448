"""Pages of the events that watchers of a job, or of all jobs, see, read from the disk.

Each page is read in a transaction of its own, which ends before the page is used: an open transaction
keeps SQLite from restarting the write-ahead log, so a slow watcher would fill the disk. No event
between two pages can be missed, because rows keep their sequences for ever: retention only replaces
output by OutputCuts.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path
from typing import Any, Final

from airunner.log.records import FACTS
from airunner.log.sqlite.damage import reported_as_damage
from airunner.log.sqlite.names import NEWEST, OLDEST
from airunner.log.sqlite.rows import (
    FACT_COLUMNS,
    REPORT_COLUMNS,
    FactRow,
    ReportRow,
    fact_event,
    report_event,
)
from airunner.log.sqlite.schema import connect
from airunner.model.facts import (
    ArtifactKept,
    CancelRequested,
    Enqueued,
    Event,
    Finished,
    Forgotten,
    Leased,
    OutputDropped,
    Returned,
)
from airunner.model.jobs import JobId, Position
from airunner.model.limits import KIB

PAGE_ROWS: Final = 256  # in one page, of each table
PAGE_BYTES: Final = 512 * KIB  # of reports in one page; the last report may exceed it

_SEEN: Final = tuple(
    FACTS[kind] for kind in (Enqueued, Leased, Returned, CancelRequested, ArtifactKept, Finished)
)
_KINDS: Final = "SELECT DISTINCT kind FROM facts WHERE job = ? AND kind IN (?, ?)"
_AND_SEEN: Final = f"AND kind IN ({', '.join(map(str, _SEEN))})"
_FACTS: Final = (
    f"SELECT {FACT_COLUMNS} FROM facts WHERE job = ? AND last > ? {_AND_SEEN} "  # noqa: S608  # our own words
    f"ORDER BY last LIMIT {PAGE_ROWS}"
)
_REPORTS: Final = (
    f"SELECT {REPORT_COLUMNS} FROM reports WHERE job = ? AND last > ? "  # noqa: S608  # as above
    f"ORDER BY last LIMIT {PAGE_ROWS}"
)
_ALL_FACTS: Final = (
    f"SELECT {FACT_COLUMNS} FROM facts WHERE place > ? {_AND_SEEN} "  # noqa: S608  # as above
    f"ORDER BY place LIMIT {PAGE_ROWS}"
)
_ALL_REPORTS: Final = (
    f"SELECT {REPORT_COLUMNS} FROM reports WHERE place > ? ORDER BY place LIMIT {PAGE_ROWS}"  # noqa: S608  # as above
)
_COLUMNS: Final = REPORT_COLUMNS.split(", ")
_JOB: Final = _COLUMNS.index("job")  # the same in both tables, as are place and last
_RECORD: Final = _COLUMNS.index("record")


@dataclass(frozen=True, slots=True)
class Page:
    events: list[Event]
    through: int | None  # the sequence or position up to which the page is complete; None: the end


class Reader:
    """A connection that reads, for one thread."""

    def __init__(self, path: Path, *, vfs: str | None = None) -> None:
        self._path = path
        self._connection = connect(path, vfs=vfs)

    def page(self, id: JobId, after: int, reported: bool = True) -> Page:
        """The next events of a job, oldest first; at least one, unless there are none.

        Without `reported` the page has no Reported. Raises LogDamaged.
        """
        with reported_as_damage(self._path, f"reading job {id} on from sequence {after + 1}"):
            return self._at_one_moment(lambda: self._page(id, after, reported=reported))

    def page_of_all(self, after: Position) -> Page:
        """The next events of all jobs, in the order of their positions.

        Raises LogDamaged.
        """
        with reported_as_damage(self._path, f"reading on from position {after + 1}"):
            return self._at_one_moment(lambda: self._page_of_all(after))

    def ends(self) -> tuple[int, int]:
        """The positions of the oldest and of the newest event; 0, 0: there is none."""
        with reported_as_damage(self._path, "looking for its ends"):
            oldest, newest = self._connection.execute(
                f"SELECT ({OLDEST}), ({NEWEST})"
            ).get  # our own words
            return oldest, newest

    def close(self) -> None:
        self._connection.close()

    def _at_one_moment(self, read: Callable[[], Page]) -> Page:
        self._connection.execute("BEGIN")
        try:
            return read()
        finally:
            if self._connection.in_transaction:  # an error may have ended it
                self._connection.execute("ROLLBACK")

    def _page(self, id: JobId, after: int, *, reported: bool) -> Page:
        gone = self._gone(id)
        if FACTS[Forgotten] in gone:
            return Page([], through=None)
        facts = self._all(_FACTS, id, after)
        reports, cut = self._reports(_REPORTS, id, after) if reported else ([], False)
        return _merged(facts, reports, cut=cut, gone={id: gone}, order="last")

    def _page_of_all(self, after: Position) -> Page:
        facts = self._all(_ALL_FACTS, after)
        reports, cut = self._reports(_ALL_REPORTS, after)
        gone = {id: self._gone(id) for id in {row[_JOB] for row in (*facts, *reports)}}
        return _merged(facts, reports, cut=cut, gone=gone, order="place")

    def _gone(self, id: JobId) -> set[int]:
        """The kinds of the retention facts about a job."""
        return {kind for (kind,) in self._all(_KINDS, id, FACTS[OutputDropped], FACTS[Forgotten])}

    def _reports(self, query: str, *values: str | int) -> tuple[list[ReportRow], bool]:
        """The next rows of reports, and true if PAGE_BYTES ended them."""
        found, size = [], 0
        rows: Any = self._connection.execute(query, values)  # Any: rows of reports
        for row in rows:
            found.append(row)
            size += len(row[_RECORD])
            if size >= PAGE_BYTES:
                rows.close(True)
                return found, True
        return found, False

    def _all(self, query: str, *values: str | int) -> Any:  # Any: rows of that query
        return self._connection.execute(query, values).fetchall()


def _merged(
    facts: Sequence[FactRow],
    reports: Sequence[ReportRow],
    *,
    cut: bool,
    gone: Mapping[str, set[int]],
    order: str,
) -> Page:
    """The rows of both tables as one page, up to the point that both have reached."""
    column, key = _COLUMNS.index(order), attrgetter(order)
    there = {job for job, kinds in gone.items() if FACTS[Forgotten] not in kinds}
    dropped = {job for job in there if FACTS[OutputDropped] in gone[job]}
    events = [fact_event(row) for row in facts if row[_JOB] in there]
    events += [
        report_event(row, dropped=row[_JOB] in dropped) for row in reports if row[_JOB] in there
    ]
    events.sort(key=key)
    ends = [facts[-1][column]] if len(facts) == PAGE_ROWS else []
    ends += [reports[-1][column]] if cut or len(reports) == PAGE_ROWS else []
    if not ends:
        return Page(events, through=None)
    through = min(map(int, ends))
    return Page([event for event in events if key(event) <= through], through)
