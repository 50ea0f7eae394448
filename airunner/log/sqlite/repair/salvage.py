"""What can still be read of a damaged log, as a new log.

Every page that may hold rows is read for itself (pages.py, leaves.py), so a damaged page costs
no more than what is on it; a row is believed if its own checksum fits. From the rows each job
keeps its longest intact beginning: up to the first event that is missing or does not hold together
with those before (history.py). A job whose Enqueued cannot be read is left out. So the new log is
one that a server could have written, had it stopped sooner for some jobs than for others. Of facts
about other subjects every intact one is kept, because nothing tells whether one is missing.

That is not the same as what was: a job that loses its end runs again. What was lost is told by
name, as far as anything of it is left that has a name.

What was rejected: SQLite's own recovery (it knows neither jobs nor checksums of rows, and is not in
every build); keeping events behind a missing one (their sequences would have a gap, which every
reader takes for a mistake of its own).
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
    """What came of it so far."""

    jobs: int = 0  # in the new log
    events: int = 0
    open: int = 0  # of these jobs, those without an end
    shortened: int = 0  # of these jobs
    left_out: int = 0
    damaged_pages: int = 0
    damaged_rows: int = 0
    artifacts: int = 0  # of these jobs, copied
    lost_artifacts: int = 0  # that the new log names

    @property
    def lost(self) -> bool:
        damage = self.damaged_pages + self.damaged_rows + self.lost_artifacts
        return bool(self.shortened + self.left_out + damage)


@reported_as_failure()
def salvage(path: Path, out: Path, tell: Tell, codec: FactCodec = FACT_CODEC) -> Salvaged:
    """Write what can still be read of the log at `path` to a new one, telling what cannot.

    Nothing of the old log is changed, and no server may have it. Raises LogRefused if one has,
    if there is no log, or if there is something at `out` already; LogFailed if the new log cannot be
    written. Then there is nothing at `out`.
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
        _is_ours(path, pages)
        os.close(os.open(part, os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        opened.callback(remove, part)
        files = folder.with_name(f"{part.name}-artifacts")
        opened.callback(shutil.rmtree, files, ignore_errors=True)
        with closing(connect(part, write=True)) as connection:
            create(connection, checksums=checksum_vfs() is not None)
            connection.execute("PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF")
            _gather(connection, pages, codec, done, tell)
            for job in jobs(connection):
                _keep(connection, job, done, tell)
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


def _is_ours(path: Path, pages: Pages) -> None:
    """Raise LogRefused if the file is something else, as far as it can say."""
    first = pages.newest(1)
    if first is None:
        raise LogRefused(f"{path} is no log of airunner: it has not even one page")
    if first.sound:
        if not first.data.startswith(MAGIC) or _number(first, 68) != APPLICATION_ID:
            raise LogRefused(f"{path} is no log of airunner: name another file")
        check_version(path, Version.of(_number(first, 60)))


def _number(page: Page, at: int) -> int:
    return int.from_bytes(page.data[at : at + 4], "big")


def _gather(
    connection: apsw.Connection, pages: Pages, codec: FactCodec, done: Salvaged, tell: Tell
) -> None:
    """Put every row that can be believed into the new log, of several of a place the newest."""
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
                wrong = _wrong(row, page, codec)
                if wrong is None and not isinstance(row, int):
                    yield row
                elif wrong:
                    done.damaged_rows += 1
                    tell(wrong)


def _wrong(row: Any, page: Page, codec: FactCodec) -> str | None:  # Any: a row that may be anything
    """What is wrong with a row; "": not known to be one, None: nothing."""
    if isinstance(row, int):
        return f"the event at place {row} makes no sense" if page.sound else ""
    try:
        fact_event(row, codec) if len(row) == FACT else report_event(row)
    except DamagedEvent as damaged:
        return str(damaged)
    return None


def _keep(connection: apsw.Connection, job: str, done: Salvaged, tell: Tell) -> None:
    """Of one job's rows in the new log, keep the longest beginning that holds together."""
    history = history_of(connection, job)
    if history is None:
        connection.execute(_ALL_REPORTS, (job,))
        connection.execute(_ALL_FACTS, (job, FACTS[Forgotten]))
        return
    broken = _broken(connection, job, history)
    if broken and history.dropped:  # and the fact that says so is behind that
        broken = _broken(connection, job, history := History(dropped=False))
    if broken:
        last, place, why = broken
        seen = connection.execute(_SEEN, (job,)).get
        for table in ("facts", "reports"):
            cut = f"DELETE FROM {table} WHERE job = ? AND (last, place) >= (?, ?)"  # noqa: S608  # our own words
            connection.execute(cut, (job, last, place))
        if not history.last:
            done.left_out += 1
            tell(f"job {job} is left out, of which sequence {seen} is there: {why}")
            return
        done.shortened += 1
        tell(f"job {job} ends at sequence {history.last} of {seen}: {why}")
    done.jobs += 1
    done.open += not history.ended


def _broken(connection: apsw.Connection, job: str, history: History) -> tuple[int, int, str] | None:
    """The last sequence and the place of the first event that does not follow, and why."""
    with closing(events(connection, job)) as found:
        for event in found:
            assert not isinstance(event, DamagedEvent)  # none of those came in
            if why := history.follow(event):
                return event.last, event.place, why
    return None
