"""The check of a log, from its bytes up to the seals of its jobs.

    write-ahead log   frames, as at the start of a server; not while a server has the log open
    pages             their checksums, and SQLite's own check of its trees and indexes
    names             the checksums of the log's names
    rows              their checksums, and that their records can be decoded
    jobs              sequences, positions, links and seals (history.py)
    artifacts         each file, its size and its digest (artifacts.py)

The check reads everything once, a row at a time, in a consistent view, and changes nothing. A finding
does not end the check, unless the rest cannot be read.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import apsw

from airunner.log.records import FACT_CODEC, FactCodec
from airunner.log.sqlite.damage import is_damage, reported_as_failure
from airunner.log.sqlite.names import NAMED_FORMAT, read_names
from airunner.log.sqlite.repair.artifacts import find_fault, stored_artifacts
from airunner.log.sqlite.repair.history import events, history_of, jobs, subject_events
from airunner.log.sqlite.rows import DamagedEvent, DamagedRow
from airunner.log.sqlite.schema import Version, check_version, read_version
from airunner.log.sqlite.snapshot import snapshot
from airunner.log.sqlite.wal import Scan, explained, wal_of

_FINDINGS_MAX: Final = 100  # of SQLite's own check
_TWICE: Final = "SELECT place FROM facts JOIN reports USING (place) LIMIT 100"


@dataclass(slots=True)
class Checked:
    """The result of a check, so far."""

    jobs: int = 0
    events: int = 0
    output_bytes: int = 0
    artifacts: int = 0
    artifact_bytes: int = 0
    findings: int = 0
    notes: tuple[str, ...] = ()


@reported_as_failure()
def check(path: Path, tell: Callable[[str], None], codec: FactCodec = FACT_CODEC) -> Checked:
    """Checks the log at `path` and calls `tell` with each finding.

    Raises LogRefused if there is no log, LogDamaged if its first page cannot be read, LogFailed.
    """
    seen = Checked()
    with snapshot(path) as log:
        version = read_version(log.connection)
        check_version(path, version)
        seen.notes = _notes(log.scan)
        for finding in _findings(path, log.connection, version, codec, seen):
            seen.findings += 1
            tell(finding)
        if log.scan is not None and log.scan.damage:
            seen.findings += 1
            tell(explained(wal_of(path), log.scan.damage))
    return seen


def _notes(scan: Scan | None) -> tuple[str, ...]:
    if scan is None:
        return ("a server has the log open: its write-ahead log was scanned when that started",)
    return scan.notes


def _findings(
    path: Path, connection: apsw.Connection, version: Version, codec: FactCodec, seen: Checked
) -> Iterator[str]:
    yield from _pages(connection)
    try:
        if version.format >= NAMED_FORMAT:
            read_names(connection)
    except (apsw.Error, UnicodeDecodeError, DamagedRow) as error:
        yield _unreadable("the log's names cannot be read", error)
    try:
        for (place,) in connection.execute(_TWICE):
            yield f"position {place} has two events"
        for job in jobs(connection):
            yield from _job(connection, job, seen)
        for event in subject_events(connection, codec):
            seen.events += 1
            if isinstance(event, DamagedEvent):
                yield str(event)
        yield from _artifacts(path, connection, seen)
    except (apsw.Error, UnicodeDecodeError) as error:
        yield _unreadable("the rows cannot all be listed", error)


def _pages(connection: apsw.Connection) -> Iterator[str]:
    """The findings of SQLite's own check. It cannot read a page with a wrong checksum."""
    try:
        for (line,) in connection.execute(f"PRAGMA integrity_check({_FINDINGS_MAX})"):
            if line != "ok":
                yield f"SQLite finds: {str(line).replace(chr(10), '; ')}"
    except apsw.Error as error:
        yield _unreadable("the pages cannot all be checked", error)


def _job(connection: apsw.Connection, job: str, seen: Checked) -> Iterator[str]:
    """The findings of one job: each damaged row, and the first event that does not fit the others."""
    seen.jobs += 1
    try:
        history = history_of(connection, job)
        whole = history is not None
        for event in events(connection, job):
            seen.events += 1
            if isinstance(event, DamagedEvent):
                whole = False
                yield str(event)
            elif whole and history and (why := history.follow(event)):
                whole = False
                yield f"job {job}: the event at position {event.place} (sequence {event.first}): {why}"
        seen.output_bytes += history.output_bytes if history else 0
    except (apsw.Error, UnicodeDecodeError) as error:
        yield _unreadable(f"job {job} cannot be read whole", error)


def _artifacts(path: Path, connection: apsw.Connection, seen: Checked) -> Iterator[str]:
    for each in stored_artifacts(connection):
        seen.artifacts += 1
        seen.artifact_bytes += each.artifact.size
        if fault := find_fault(path, each):
            yield fault


def _unreadable(finding: str, error: Exception) -> str:
    if isinstance(error, apsw.Error) and not is_damage(error):
        raise error
    return f"{finding}: {error}"
