"""What watchers see of a job, read from disk a page at a time.

Each page is read in a transaction of its own, which is over before anybody looks at the page: a
reader that holds one open would keep the write-ahead log from being reused, so a slow watcher
would fill the disk. Nothing between two pages can be missed, because rows keep their sequences
for ever: retention only puts a mark where output was.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from airunner.facts import (
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
from airunner.jobs import JobId
from airunner.limits import KIB
from airunner.log.damage import named
from airunner.log.records import FACTS
from airunner.log.rows import FACT_COLUMNS, REPORT_COLUMNS, fact_event, report_event
from airunner.log.schema import connect

PAGE_ROWS: Final = 256  # in one page, of either table
PAGE_BYTES: Final = 512 * KIB  # of reports in one page, and what is left of the last one

_SEEN: Final = tuple(
    FACTS[kind] for kind in (Enqueued, Leased, Returned, CancelRequested, ArtifactKept, Finished)
)
_KINDS: Final = "SELECT DISTINCT kind FROM facts WHERE job = ? AND kind IN (?, ?)"
_FACTS: Final = (
    f"SELECT {FACT_COLUMNS} FROM facts WHERE job = ? AND last > ? "  # noqa: S608  # our own words
    f"AND kind IN ({', '.join(map(str, _SEEN))}) ORDER BY last LIMIT {PAGE_ROWS}"
)
_REPORTS: Final = (
    f"SELECT {REPORT_COLUMNS} FROM reports WHERE job = ? AND last > ? "  # noqa: S608  # as above
    f"ORDER BY last LIMIT {PAGE_ROWS}"
)
_RECORD: Final = REPORT_COLUMNS.split(", ").index("record")


@dataclass(frozen=True, slots=True)
class Page:
    events: list[Event]
    more: bool  # False: these were the last


class Reader:
    """A connection for one thread."""

    def __init__(self, path: Path, *, vfs: str | None = None) -> None:
        self._path = path
        self._connection = connect(path, vfs=vfs)

    def page(self, id: JobId, after: int) -> Page:
        """The next events of a job, oldest first; at least one, if there is one.

        Raises LogDamaged.
        """
        with named(self._path, f"reading job {id} on from sequence {after + 1}"):
            self._connection.execute("BEGIN")
            try:
                return self._page(id, after)
            finally:
                if self._connection.in_transaction:  # an error may have ended it
                    self._connection.execute("ROLLBACK")

    def close(self) -> None:
        self._connection.close()

    def _page(self, id: JobId, after: int) -> Page:
        gone = {kind for (kind,) in self._all(_KINDS, id, FACTS[OutputDropped], FACTS[Forgotten])}
        if FACTS[Forgotten] in gone:
            return Page([], more=False)
        dropped = FACTS[OutputDropped] in gone
        facts = [fact_event(row) for row in self._all(_FACTS, id, after)]
        reports, size, cut = [], 0, False
        rows = self._connection.execute(_REPORTS, (id, after))
        for row in rows:
            reports.append(report_event(row, dropped=dropped))
            size += len(row[_RECORD])
            if size >= PAGE_BYTES:
                cut = True
                rows.close(True)
                break
        ends = [each[-1].last for each in (facts, reports) if len(each) == PAGE_ROWS]
        ends += [reports[-1].last] if cut else []
        events = sorted([*facts, *reports], key=lambda event: event.last)
        if not ends:
            return Page(events, more=False)
        return Page([event for event in events if event.last <= min(ends)], more=True)

    def _all(self, query: str, *values: str | int) -> Any:  # Any: rows of that query
        return self._connection.execute(query, values).fetchall()
