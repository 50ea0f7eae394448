"""Whether a log is what was written, from its bytes up to its jobs' seals.

    the write-ahead log   its frames, as at a server's start; not while one has the log open
    the pages             their own checksums, and what SQLite knows of its trees and indexes
    the rows              their checksums, and that their records can be decoded
    the jobs              sequences, places, links and seals (history.py)
    the artifacts         that each is beside the log, with its size and digest (shelves.py)

All of it is read once, a row at a time, at one moment; nothing is changed. A finding does not end
the check, unless nothing behind it can be reached.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import apsw

from airunner.log.records import FACT_CODEC, FactCodec
from airunner.log.sqlite.damage import is_damage, reported_as_failure
from airunner.log.sqlite.names import NAMED_FORMAT, read_names
from airunner.log.sqlite.repair.artifacts import stored_artifacts, wrong
from airunner.log.sqlite.repair.history import events, history_of, jobs, subject_events
from airunner.log.sqlite.rows import DamagedEvent, DamagedRow
from airunner.log.sqlite.schema import Version, check_version, read_version
from airunner.log.sqlite.snapshot import snapshot
from airunner.log.sqlite.wal import Scan, explained, wal_of

_FINDINGS_MAX: Final = 100  # that SQLite tells of its trees
_TWICE: Final = "SELECT place FROM facts JOIN reports USING (place) LIMIT 100"


@dataclass(slots=True)
class Checked:
    """What was seen so far."""

    jobs: int = 0
    events: int = 0
    output_bytes: int = 0
    artifacts: int = 0
    artifact_bytes: int = 0
    findings: int = 0
    notes: tuple[str, ...] = ()


@reported_as_failure()
def check(path: Path, tell: Callable[[str], None], codec: FactCodec = FACT_CODEC) -> Checked:
    """Read all of the log at `path`, and tell each finding as it comes.

    Raises LogRefused if there is no log, LogDamaged if not even its beginning can be read, LogFailed.
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
            yield f"place {place} has two events"
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
    """What SQLite finds; a page with a wrong checksum is one that it cannot get."""
    try:
        for (line,) in connection.execute(f"PRAGMA integrity_check({_FINDINGS_MAX})"):
            if line != "ok":
                yield f"SQLite finds: {str(line).replace(chr(10), '; ')}"
    except apsw.Error as error:
        yield _unreadable("the pages cannot all be checked", error)


def _job(connection: apsw.Connection, job: str, seen: Checked) -> Iterator[str]:
    """What is wrong with one job: each damaged row, and where its events first do not follow."""
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
                yield f"job {job}: the event at place {event.place} (sequence {event.first}): {why}"
        seen.output_bytes += history.output_bytes if history else 0
    except (apsw.Error, UnicodeDecodeError) as error:
        yield _unreadable(f"job {job} cannot be read whole", error)


def _artifacts(path: Path, connection: apsw.Connection, seen: Checked) -> Iterator[str]:
    for each in stored_artifacts(connection):
        seen.artifacts += 1
        seen.artifact_bytes += each.artifact.size
        if why := wrong(path, each):
            yield why


def _unreadable(what: str, error: Exception) -> str:
    if isinstance(error, apsw.Error) and not is_damage(error):
        raise error
    return f"{what}: {error}"
