"""The conversion of events to rows of the tables `facts` and `reports`, and back.

The checksum of a row is the CRC-32 of its columns as bytes: the numbers, big-endian, in 8 bytes each
except the kind (2), the size of the subject in bytes (2) and the size of the link (2); then the
subject, the link and the record. So a changed value, swapped columns and swapped rows are all found.
"""

from collections.abc import Sequence
from struct import Struct
from struct import error as StructError  # noqa: N812  # a name of its own says too little
from typing import Final, TypeAlias
from zlib import crc32

from airunner.log.records import (
    FACT_CODEC,
    REPORTS,
    SUBJECT_KINDS,
    FactCodec,
    Unreadable,
    decode_report,
    encode_report,
)
from airunner.model.facts import Event, Reported, ReportTotals, subject_of
from airunner.model.jobs import Instant, JobId, Position
from airunner.model.jobs import Sequence as EventSequence
from airunner.model.proof.seal import Link
from airunner.model.reports import Output, OutputCut, Report, count_sequences

FACT_COLUMNS: Final = "place, job, kind, at, last, link, record, crc"
REPORT_COLUMNS: Final = "place, job, kind, at, last, attempt, sent, size, cut, link, record, crc"
FactRow: TypeAlias = tuple[int, str, int, int, int, bytes, bytes, int]
ReportRow: TypeAlias = tuple[int, str, int, int, int, int, int, int, int, bytes, bytes, int]

_FACT: Final = Struct(">qqqHHH")
_REPORT: Final = Struct(">qqqqqqqHHH")
_WRONG: Final = "its checksum does not fit its columns"


class DamagedRow(Exception):
    """A row differs from the row that was written."""


class DamagedEvent(DamagedRow):
    """The row of an event differs from the row that was written."""

    def __init__(self, row: Sequence[object], why: str) -> None:
        self.place, self.job, self.last = row[0], row[1], row[4]
        self.why = why
        about = f"job {self.job}, up to sequence {self.last}"
        if row[2] in SUBJECT_KINDS:
            about = str(self.job)
        super().__init__(f"the event at position {self.place} ({about}) is damaged: {why}")


def fact_row(event: Event, codec: FactCodec = FACT_CODEC) -> FactRow:
    """The row of any fact except Reported."""
    fact = event.fact
    assert not isinstance(fact, Reported | ReportTotals)
    row = (
        event.place,
        subject_of(fact),
        codec.kind(fact),
        event.at,
        event.last,
        event.link,
        codec.encode(fact),
    )
    return (*row, _fact_crc(*row))


def report_row(event: Event) -> ReportRow:
    """The row of a Reported."""
    fact = event.fact
    assert isinstance(fact, Reported)
    report = fact.report
    row = (
        event.place,
        fact.id,
        REPORTS[type(report)],
        event.at,
        event.last,
        fact.attempt,
        fact.sent,
        report.size if isinstance(report, Output) else 0,
        report.size if isinstance(report, OutputCut) else 0,
        event.link,
        encode_report(report),
    )
    return (*row, _report_crc(*row))


def fact_event(row: FactRow, codec: FactCodec = FACT_CODEC) -> Event:
    """The event of a row of facts; raises DamagedEvent."""
    place, job, kind, at, last, link, record, crc = row
    try:
        if _fact_crc(place, job, kind, at, last, link, record) != crc:
            raise DamagedEvent(row, _WRONG)
        fact = codec.decode(record)
    except Unreadable as error:
        raise DamagedEvent(row, str(error)) from error
    except (StructError, AttributeError, TypeError) as error:
        raise DamagedEvent(row, _WRONG) from error
    return Event(Position(place), Instant(at), fact, EventSequence(last), Link(link))


def report_event(row: ReportRow, *, dropped: bool = False) -> Event:
    """The event of a row of reports, with an OutputCut in the place of output that was dropped.

    Raises DamagedEvent.
    """
    place, job, _, at, last, attempt, sent, _, _, link, record, crc = row
    try:
        if _report_crc(*row[:-1]) != crc:
            raise DamagedEvent(row, _WRONG)
        report = decode_report(record)
    except Unreadable as error:
        raise DamagedEvent(row, str(error)) from error
    except (StructError, AttributeError, TypeError) as error:
        raise DamagedEvent(row, _WRONG) from error
    if dropped:
        report = _mark(report)
    first = EventSequence(last - max(count_sequences(report), 1) + 1)
    fact = Reported(JobId(job), attempt, sent, report)
    return Event(Position(place), Instant(at), fact, first, Link(link))


def _mark(report: Report) -> Report:
    return OutputCut(count_sequences(report), report.size) if isinstance(report, Output) else report


def _fact_crc(
    place: int, job: str, kind: int, at: int, last: int, link: bytes, record: bytes
) -> int:
    name = job.encode()
    head = _FACT.pack(place, at, last, kind, len(name), len(link))
    return crc32(b"".join((head, name, link, record)))


def _report_crc(  # noqa: PLR0913, PLR0917  # a column each
    place: int,
    job: str,
    kind: int,
    at: int,
    last: int,
    attempt: int,
    sent: int,
    size: int,
    cut: int,
    link: bytes,
    record: bytes,
) -> int:
    name = job.encode()
    numbers = (place, at, last, attempt, sent, size, cut, kind, len(name), len(link))
    return crc32(record, crc32(b"".join((_REPORT.pack(*numbers), name, link))))
