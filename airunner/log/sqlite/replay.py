"""The events of a replay: all facts in order, and the sums of the reports of each open job.

More output must not make a start slower. So only the newest report of each job without an end is
read; one ReportTotals at its position stands for all reports of the job, and their sizes are summed in
the index. The seal of a job with an end has these sums.

One read transaction gives a consistent view and lasts until the generator is closed. Meanwhile SQLite
cannot restart the write-ahead log, so a replay is meant for the start of a server.
"""

from collections.abc import Generator, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, Final

import apsw

from airunner.log.records import FACT_CODEC, FACTS, REPORTS, FactCodec
from airunner.log.sqlite.damage import reported_as_damage
from airunner.log.sqlite.rows import FACT_COLUMNS, REPORT_COLUMNS, fact_event, report_event
from airunner.log.sqlite.schema import connect
from airunner.model.facts import Event, Finished, Forgotten, Leased, ReportTotals
from airunner.model.jobs import Instant, JobId, Position
from airunner.model.jobs import Sequence as EventSequence
from airunner.model.proof.seal import Link
from airunner.model.reports import Output, OutputCut

PAGE_ROWS: Final = 2_000

_LOWEST: Final = -(1 << 63)  # of all rowids, so that a row with a damaged position is read too

_FINISHED, _FORGOTTEN, _LEASED = FACTS[Finished], FACTS[Forgotten], FACTS[Leased]
_UNUSUAL: Final = (
    "SELECT job, max(kind = ?) AS gone FROM facts GROUP BY job "
    "HAVING gone OR (max(kind = ?) AND NOT max(kind = ?))"
)
_FACTS: Final = f"SELECT {FACT_COLUMNS} FROM facts WHERE place > ? ORDER BY place"  # noqa: S608  # our own words
_NEWEST: Final = f"SELECT {REPORT_COLUMNS} FROM reports WHERE job = ? ORDER BY last DESC LIMIT 1"  # noqa: S608  # as above
_SIZES: Final = "SELECT sum(size), sum(cut) FROM reports INDEXED BY reports_of_job WHERE job = ?"
_OTHERS: Final = (
    "SELECT count(*) FROM reports INDEXED BY reports_of_job "  # noqa: S608  # as above
    f"WHERE job = ? AND size = 0 AND cut = 0 AND kind NOT IN ({REPORTS[Output]}, {REPORTS[OutputCut]})"
)
_SENT: Final = (
    "SELECT sent FROM reports WHERE job = ? AND attempt = ? AND sent > 0 ORDER BY last DESC LIMIT 1"
)


def pages(
    path: Path, after: int, *, vfs: str | None = None, codec: FactCodec = FACT_CODEC
) -> Generator[list[Event], None, None]:
    """The events of a replay whose position is higher than `after`, some thousand at a time.

    Raises LogDamaged.
    """
    connection = connect(path, vfs=vfs)
    try:
        with reported_as_damage(path, "replaying it"):
            connection.execute("BEGIN")
            yield from _pages(connection, after, codec)
    finally:
        connection.close()


def _pages(connection: apsw.Connection, after: int, codec: FactCodec) -> Iterator[list[Event]]:
    forgotten: set[str] = set()
    tallies: list[Event] = []
    # Any, here and below: apsw does not know the columns of a query.
    unusual: Any = connection.execute(_UNUSUAL, (_FORGOTTEN, _LEASED, _FINISHED))
    for job, gone in unusual:
        if gone:
            forgotten.add(job)
        elif (tally := _tally(connection, job)) is not None:
            tallies.append(tally)
    tallies = sorted((each for each in tallies if each.place > after), key=_place, reverse=True)
    rows: Any = connection.execute(_FACTS, (after or _LOWEST,))
    while some := list(islice(rows, PAGE_ROWS)):
        events = [
            fact_event(row, codec)
            for row in some
            if row[1] not in forgotten or row[2] == _FORGOTTEN
        ]
        if tallies and events:
            due = []
            while tallies and tallies[-1].place < events[-1].place:
                due.append(tallies.pop())
            events = sorted([*events, *due], key=_place) if due else events
        yield events
    if tallies:
        yield tallies[::-1]


def _tally(connection: apsw.Connection, job: Any) -> Event | None:
    """The sums of the job's reports, at the position of the newest; None: it has no report."""
    row: Any = connection.execute(_NEWEST, (job,)).get
    if row is None:
        return None
    newest = report_event(row)
    sizes: Any = connection.execute(_SIZES, (job,)).get
    size, cut = sizes
    others: Any = connection.execute(_OTHERS, (job,)).get
    sent: Any = row[6] or connection.execute(_SENT, (job, row[5])).get or 0
    return Event(
        place=Position(newest.place),
        at=Instant(newest.at),
        fact=ReportTotals(JobId(job), sent, size, cut, others),
        first=EventSequence(newest.last),
        link=Link(newest.link),
    )


def _place(event: Event) -> int:
    return event.place
