"""The check that the rows of a job form one intact history.

A history is intact if its sequences are 1, 2, 3 ... without a gap or a duplicate, its positions grow
with them, each link continues the one before, and the end fits its seal. This finds more than the
checksums of single rows, and needs only the rows.

An OutputCut in the place of output that retention dropped keeps the link of that output, which cannot
be computed again. So the chain is accepted there, and checked behind it.
"""

from collections.abc import Generator, Iterator
from heapq import merge
from typing import Any, Final

import apsw

from airunner.log.records import FACT_CODEC, FACTS, SUBJECT_KINDS, FactCodec
from airunner.log.sqlite.rows import (
    FACT_COLUMNS,
    REPORT_COLUMNS,
    DamagedEvent,
    fact_event,
    report_event,
)
from airunner.model.facts import (
    Enqueued,
    Event,
    Finished,
    Forgotten,
    OutputDropped,
    Reported,
    sequence_count,
)
from airunner.model.job_events import job_event
from airunner.model.proof.chain import next_link
from airunner.model.proof.seal import NOTHING, Seal
from airunner.model.reports import Output, OutputCut

_FACT_COLUMNS: Final = len(FACT_COLUMNS.split(", "))
_ORDER: Final = "WHERE job = ? ORDER BY last, place"
_FACTS: Final = f"SELECT {FACT_COLUMNS} FROM facts {_ORDER}"  # noqa: S608  # our own words
_REPORTS: Final = f"SELECT {REPORT_COLUMNS} FROM reports {_ORDER}"  # noqa: S608  # as above
_HAS: Final = "SELECT count(*) FROM facts WHERE job = ? AND kind = ?"
_OF_SUBJECTS: Final = f"kind BETWEEN {SUBJECT_KINDS[0]} AND {SUBJECT_KINDS[-1]}"
_NEXT: Final = (
    f"SELECT min(job) FROM (SELECT min(job) AS job FROM facts WHERE job > ?1 AND NOT {_OF_SUBJECTS} "  # noqa: S608  # as above
    "UNION ALL SELECT min(job) FROM reports WHERE job > ?1)"
)
_SUBJECT_FACTS: Final = f"SELECT {FACT_COLUMNS} FROM facts WHERE {_OF_SUBJECTS} ORDER BY place"  # noqa: S608  # as above


class History:
    """Checks one job's events in their order."""

    def __init__(self, *, dropped: bool) -> None:
        """`dropped`: retention has dropped the job's output."""
        self.last = 0  # the sequence up to which the history is intact
        self.ended = False
        self.output_bytes = 0
        self.dropped = dropped
        self._place, self._link = 0, NOTHING
        self._cut = 0

    def follow(self, event: Event) -> str | None:
        """Adds the next event. Returns None, or why it does not fit the events before it."""
        if event.place <= self._place:
            return f"its position {event.place} is before the position of the event that it follows"
        if not sequence_count(event.fact):
            return None if event.first == self.last else self._gap(event.first)
        if event.first != self.last + 1:
            return self._gap(event.first - 1)
        if self.ended or isinstance(event.fact, Enqueued) != (self.last == 0):
            return "it follows the job's end" if self.ended else "the job has no beginning or two"
        if not self._links(event):
            return "its link does not continue the link before it"
        self._count(event)
        if isinstance(event.fact, Finished) and not self._sealed(event, event.fact.seal):
            return "the job's seal does not fit its events"
        self.last, self._place, self._link = event.last, event.place, event.link
        self.ended = isinstance(event.fact, Finished)
        return None

    def _gap(self, before: int) -> str:
        if before < self.last:
            return f"it begins at sequence {before + 1}, but earlier events reach {self.last}"
        return f"the events of sequences {self.last + 1} to {before} are missing"

    def _links(self, event: Event) -> bool:
        fact = event.fact
        if self.dropped and isinstance(fact, Reported) and isinstance(fact.report, OutputCut):
            return True
        seen = job_event(event)
        assert seen
        return next_link(self._link, seen) == event.link

    def _count(self, event: Event) -> None:
        match event.fact:
            case Reported(report=Output() as output):
                self.output_bytes += output.size
            case Reported(report=OutputCut(size=size)):
                self._cut += size
            case _:
                pass

    def _sealed(self, event: Event, seal: Seal | None) -> bool:
        if seal is None:
            return True
        same = (self.output_bytes, self._cut) == (seal.size, seal.cut)
        if self.dropped:  # the rows do not tell output that retention cut from output cut before
            same = self.output_bytes + self._cut == seal.size + seal.cut
        return same and (seal.count, seal.digest) == (event.last, event.link)


def jobs(connection: apsw.Connection) -> Iterator[str]:
    """Yields the id of every job that has a row, in order."""
    job = ""
    while (job := connection.execute(_NEXT, (job,)).get) is not None:
        yield job


def events(connection: apsw.Connection, job: str) -> Generator[Event | DamagedEvent, None, None]:
    """Yields the events of a job in the order of their sequences, and each damaged row as an error."""
    facts: Any = connection.execute(_FACTS, (job,))  # Any: rows of that query
    reports: Any = connection.execute(_REPORTS, (job,))  # Any: as above
    for row in merge(facts, reports, key=_order):
        try:
            yield fact_event(row) if len(row) == _FACT_COLUMNS else report_event(row)
        except DamagedEvent as damaged:
            yield damaged


def subject_events(
    connection: apsw.Connection, codec: FactCodec = FACT_CODEC
) -> Iterator[Event | DamagedEvent]:
    """Yields the facts about other subjects in the order of the log, and damaged rows as errors.

    These facts have neither sequences nor a chain, so a missing one cannot be found.
    """
    rows: Any = connection.execute(_SUBJECT_FACTS)  # Any: rows of that query
    for row in rows:
        try:
            yield fact_event(row, codec)
        except DamagedEvent as damaged:
            yield damaged


def history_of(connection: apsw.Connection, job: str) -> History | None:
    """An empty history for the job's events; None: the job is forgotten and its rows are being deleted."""
    if connection.execute(_HAS, (job, FACTS[Forgotten])).get:
        return None
    return History(dropped=bool(connection.execute(_HAS, (job, FACTS[OutputDropped])).get))


def _order(row: Any) -> tuple[int, int]:  # Any: a row of either table
    return row[4], row[0]
