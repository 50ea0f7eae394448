"""The salvage of a damaged log: its readable parts as a new log.

Every page that may contain rows is read by itself (pages.py, leaf_pages.py), so a damaged page costs
only its own rows; a row is used if its checksum fits. Each job keeps its longest intact beginning: the
events before the first one that is missing or does not fit the events before it (history.py). A job
whose Enqueued cannot be read is left out. So the new log is a log that a server could have written if it
had stopped earlier for some jobs than for others. Every intact fact about another subject is kept: a
missing one cannot be found.

The new log differs from the original: a job that loses its end runs again, and a job that loses its
Forgotten is back. Each loss is reported, by name as far as a name can be read. The new log has a new
name and no former one (names.py).

What was rejected: SQLite's own recovery (it knows neither jobs nor checksums of rows, and not every
build has it); keeping events behind a missing one (every reader would take the gap in the sequences for
an error of its own).
"""

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import apsw

from airunner.log.log import LogRefused
from airunner.log.records import FACT_CODEC, FACTS, FactCodec
from airunner.log.sqlite.backup import new, remove
from airunner.log.sqlite.damage import reported_as_failure
from airunner.log.sqlite.lock import FileLock
from airunner.log.sqlite.repair.artifacts import copy, new_folder, stored_artifacts
from airunner.log.sqlite.repair.history import History, events, history_of, jobs
from airunner.log.sqlite.repair.leaf_pages import FACT, Row, is_leaf, rows
from airunner.log.sqlite.repair.pages import Page, Pages
from airunner.log.sqlite.rows import (
    FACT_COLUMNS,
    REPORT_COLUMNS,
    DamagedEvent,
    fact_event,
    report_event,
)
from airunner.log.sqlite.schema import (
    APPLICATION_ID,
    Version,
    check_version,
    checksum_vfs,
    connect,
    create,
    use_wal,
)
from airunner.model.facts import Forgotten, OutputDropped
from airunner.model.limits import MIB
from airunner.system.sync import sync

Tell = Callable[[str], None]

MAGIC: Final = b"SQLite format 3\0"
_BATCH_BYTES: Final = 16 * MIB  # of records in one transaction
_RETENTION: Final = (FACTS[OutputDropped], FACTS[Forgotten])
_FACT: Final = f"INSERT OR IGNORE INTO facts({FACT_COLUMNS}) VALUES(?, ?, ?, ?, ?, ?, ?, ?)"
_REPORT: Final = (
    f"INSERT OR IGNORE INTO reports({REPORT_COLUMNS}) VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
_ALL_REPORTS: Final = "DELETE FROM reports WHERE job = ?"
_ALL_FACTS: Final = "DELETE FROM facts WHERE job = ? AND kind != ?"
_COUNT: Final = "SELECT (SELECT count(*) FROM facts) + (SELECT count(*) FROM reports)"
_TRIMS: Final = "INSERT INTO trims SELECT place FROM facts WHERE kind IN (?, ?)"
_SEEN: Final = (
    "SELECT max(last) FROM (SELECT max(last) AS last FROM facts WHERE job = ?1 "
    "UNION ALL SELECT max(last) FROM reports WHERE job = ?1)"
)


@dataclass(slots=True)
class Salvaged:
    """The result of a salvage, so far."""

    jobs: int = 0  # in the new log
    events: int = 0
    open: int = 0  # jobs in the new log without an end
    shortened: int = 0  # jobs in the new log that lost events
    left_out: int = 0  # jobs that are not in the new log
    damaged_pages: int = 0
    damaged_rows: int = 0
    artifacts: int = 0  # copied
    lost_artifacts: int = 0  # named by the new log, and not copied

    @property
    def lost(self) -> bool:
        damage = self.damaged_pages + self.damaged_rows + self.lost_artifacts
        return bool(self.shortened + self.left_out + damage)


@reported_as_failure()
def salvage(path: Path, out: Path, tell: Tell, codec: FactCodec = FACT_CODEC) -> Salvaged:
    """Writes the readable parts of the log at `path` to a new log, and calls `tell` with each loss.

    The old log stays unchanged, and no server may have it open. Raises LogRefused if a server has, if
    there is no log, if a later airunner wrote it, or if `out` exists; LogFailed if the new log cannot be
    written. After an error nothing is at `out`.
    """
    new(path, out)
    folder = new_folder(out)
    if not path.is_file():
        raise LogRefused(f"there is no log at {path}")
    done = Salvaged()
    part = out.with_name(f".{out.name}.{os.getpid()}.part")
    with ExitStack() as opened:
        opened.callback(FileLock(path).release)
        pages = opened.enter_context(closing(Pages(path)))
        _check_first_page(path, pages)
        os.close(os.open(part, os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        opened.callback(remove, part)
        files = folder.with_name(f"{part.name}-artifacts")
        opened.callback(shutil.rmtree, files, ignore_errors=True)
        with closing(connect(part, write=True)) as connection:
            create(connection, checksums=checksum_vfs() is not None)
            connection.execute("PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF")
            _gather(connection, pages, codec, done, tell)
            for job in jobs(connection):
                _shorten(connection, job, done, tell)
            connection.execute(_TRIMS, _RETENTION)
            done.events = int(connection.execute(_COUNT).get)
            wanted = list(stored_artifacts(connection))
            use_wal(connection)
        if done.damaged_pages and not done.events:
            raise LogRefused(f"nothing of a log of airunner can be read in {path}")
        sync(part)
        copied = copy(path, wanted, files, digest=True)
        done.artifacts, done.lost_artifacts = copied.files, len(copied.lost)
        for each in copied.lost:
            tell(each)
        if copied.files:
            files.rename(folder)
        part.rename(out)
    sync(out.parent)
    return done


def _check_first_page(path: Path, pages: Pages) -> None:
    """Raises LogRefused if page 1 is sound and says that the file is something else."""
    first = pages.newest(1)
    if first is None:
        raise LogRefused(f"{path} is no log of airunner: it has no whole page")
    if first.sound:
        if not first.data.startswith(MAGIC) or _number(first, 68) != APPLICATION_ID:
            raise LogRefused(f"{path} is no log of airunner: name another file")
        check_version(path, Version.of(_number(first, 60)))


def _number(page: Page, at: int) -> int:
    return int.from_bytes(page.data[at : at + 4], "big")


def _gather(
    connection: apsw.Connection, pages: Pages, codec: FactCodec, done: Salvaged, tell: Tell
) -> None:
    """Inserts every row with a right checksum into the new log; of one position, the newest row."""
    size = 0
    connection.execute("BEGIN")
    for row in _rows(pages, codec, done, tell):
        connection.execute(_FACT if len(row) == FACT else _REPORT, row)
        record = row[-2]
        size += len(record) if isinstance(record, bytes) else 0
        if size > _BATCH_BYTES:
            connection.execute("COMMIT; BEGIN")
            size = 0
    connection.execute("COMMIT")


def _rows(pages: Pages, codec: FactCodec, done: Salvaged, tell: Tell) -> Iterator[Row]:
    for number in pages.used():
        for page in pages.versions(number):
            if not page.sound:
                done.damaged_pages += 1
                tell(f"page {number} is damaged")
            if not is_leaf(page):
                continue
            for row in rows(pages, page):
                fault = _fault(row, page, codec)
                if fault is None and not isinstance(row, int):
                    yield row
                elif fault:
                    done.damaged_rows += 1
                    tell(fault)


def _fault(row: Any, page: Page, codec: FactCodec) -> str | None:  # Any: a row of unknown content
    """The fault of a row, in a sentence; "": it may not be a row at all, None: it has none."""
    if isinstance(row, int):
        return f"the event at position {row} makes no sense" if page.sound else ""
    try:
        fact_event(row, codec) if len(row) == FACT else report_event(row)
    except DamagedEvent as damaged:
        return str(damaged)
    return None


def _shorten(connection: apsw.Connection, job: str, done: Salvaged, tell: Tell) -> None:
    """Deletes the rows of a job in the new log that are not part of its longest intact beginning."""
    history = history_of(connection, job)
    if history is None:
        connection.execute(_ALL_REPORTS, (job,))
        connection.execute(_ALL_FACTS, (job, FACTS[Forgotten]))
        return
    broken = _broken(connection, job, history)
    if broken and history.dropped:  # the OutputDropped is behind the fault, and is deleted too
        broken = _broken(connection, job, history := History(dropped=False))
    if broken:
        last, place, why = broken
        seen = connection.execute(_SEEN, (job,)).get
        for table in ("facts", "reports"):
            cut = f"DELETE FROM {table} WHERE job = ? AND (last, place) >= (?, ?)"  # noqa: S608  # our own words
            connection.execute(cut, (job, last, place))
        if not history.last:
            done.left_out += 1
            tell(f"job {job} is left out, though it had events up to sequence {seen}: {why}")
            return
        done.shortened += 1
        tell(f"job {job} ends at sequence {history.last} of {seen}: {why}")
    done.jobs += 1
    done.open += not history.ended


def _broken(connection: apsw.Connection, job: str, history: History) -> tuple[int, int, str] | None:
    """Last sequence and position of the first event that does not fit, and why; None: all fit."""
    with closing(events(connection, job)) as found:
        for event in found:
            assert not isinstance(event, DamagedEvent)  # damaged rows were not inserted
            if why := history.follow(event):
                return event.last, event.place, why
    return None
