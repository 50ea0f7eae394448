"""The SQLite log keeps the contract of every log, and its own promises about disks."""

import asyncio
import os
import random
from collections.abc import Awaitable, Callable, Sequence
from contextlib import aclosing, closing
from pathlib import Path
from stat import S_IMODE
from typing import Any, ClassVar

import apsw
import pytest
from msgspec import structs

from airunner.log.cuts import NewestCuts
from airunner.log.log import Fsync, Log, LogDamaged, LogFailed, LogFull, LogRefused
from airunner.log.sqlite import schema
from airunner.log.sqlite.event_cache import EventCache
from airunner.log.sqlite.lock import LogInUse
from airunner.log.sqlite.log import SqliteLog
from airunner.log.sqlite.reader import PAGE_ROWS
from airunner.model.facts import Event, Forgotten, Renewed, Reported, ReportTotals, sequence_count
from airunner.model.jobs import Instant, JobId, Millis, Position, TaskToken, digest
from airunner.model.limits import KIB, MIB, WAL_BYTES_MAX
from airunner.model.reports import Chunk, Output, OutputCut, ProcessStarted, Remark, Stream
from airunner.store.engine import replayed
from airunner.store.retention import Retention
from tests.log.log_contract import (
    CODEC,
    NOW,
    ONE,
    TWO,
    LogContract,
    Writer,
    by_id,
    of_all,
    output,
    read,
    walked,
    without_gap,
)
from tests.promises import holds, promise

THREE = JobId("three")


class TestSqliteLog(LogContract):
    loop: ClassVar[type[asyncio.AbstractEventLoop]] = asyncio.SelectorEventLoop

    @pytest.fixture(autouse=True)
    def in_a_folder(self, tmp_path: Path) -> None:
        self.folder = tmp_path
        self.logs: list[SqliteLog] = []

    def make(self) -> Log:
        self.logs.append(log := SqliteLog.open(self.folder / f"{len(self.logs)}.db", codec=CODEC))
        return log

    async def end(self) -> None:
        for log in self.logs:
            await log.close()


class TestSqliteLogReadFromDisk(TestSqliteLog):
    """The same, with no event in memory."""

    def make(self) -> Log:
        log = super().make()
        assert isinstance(log, SqliteLog)
        log._recent = EventCache(0)
        return log


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "jobs.db"


def opened(path: Path, story: Callable[[SqliteLog], Awaitable[None]]) -> None:
    """Open the log, let the story happen, and close it."""

    async def main() -> None:
        log = SqliteLog.open(path)
        try:
            await story(log)
        finally:
            await log.close()

    asyncio.run(main())


def wal_of(path: Path) -> Path:
    return path.with_name(f"{path.name}-wal")


def size_of(path: Path) -> int:
    return path.stat().st_size


def large(size: int) -> Output:
    return Output((Chunk(Stream.STDOUT, os.urandom(size), NOW),))


def rows(log: SqliteLog, query: str) -> Any:  # Any: rows of that query
    with closing(schema.connect(log.path)) as connection:
        return connection.execute(query).fetchall()


def set_pages_max(log: SqliteLog, pages: int) -> None:
    """Let the database have no more pages than that, as if its disk were full."""
    log._writing.submit(log._writer._connection.pragma, "max_page_count", pages).result()


# What is kept


def test_a_log_that_was_closed_says_the_same_when_it_is_opened_again(path: Path) -> None:
    walk = walked()
    told: list[Event] = []

    async def write(log: SqliteLog) -> None:
        await log.append(walk.log)
        await log.trimmed()
        told.extend(await read(log))

    async def read_back(log: SqliteLog) -> None:
        assert await read(log) == told
        twin = replayed(told)
        assert by_id(twin) == by_id(walk.engine)
        assert twin.tail == walk.engine.tail

    opened(path, write)
    opened(path, read_back)
    assert sorted(each.name for each in path.parent.iterdir()) == ["jobs.db", "jobs.db.lock"]


def test_an_append_that_was_answered_is_on_disk_while_the_log_is_open(path: Path) -> None:
    async def story(log: SqliteLog) -> None:
        writer = Writer(log)
        await writer.run(ONE, output("a"))
        assert rows(log, "SELECT kind FROM facts ORDER BY place") == [(1,), (2,), (6,)]
        assert rows(log, "SELECT count(*) FROM reports") == [(1,)]

    opened(path, story)


def test_an_open_job_is_replayed_without_its_reports(path: Path) -> None:
    async def story(log: SqliteLog) -> None:
        writer = Writer(log)
        queue, token = writer.engine.queue, digest(TaskToken("token of one"))
        await writer.run(TWO, output("x"), output("y"))
        await writer.run(ONE, ends=False)
        for number in range(1, 30):
            facts = queue.publish(token, [(number, output("a"))], now=NOW)
            await writer.append(writer.engine.record(facts, NOW))
        events = await read(log)
        assert not [event for event in events if isinstance(event.fact, Reported)]
        tallies = [event.fact for event in events if isinstance(event.fact, ReportTotals)]
        assert tallies == [ReportTotals(ONE, 29, 29, 0)]
        assert by_id(replayed(events)) == by_id(writer.engine)

    opened(path, story)


@holds("logs/log-of-a-job-is-bounded")
def test_marks_that_follow_each_other_take_one_row(path: Path) -> None:
    async def story(log: SqliteLog) -> None:
        writer = Writer(log)
        await writer.run(TWO, ends=False)
        writer.engine.queue.retention = Retention(reports_per_job=6)
        remarks = (Remark(f"remark {number}") for number in range(500))
        await writer.run(ONE, *remarks, output("a"), *[Remark("more")] * 9, ends=False)
        assert len(rows(log, "SELECT place FROM reports")) == 3 + 1 + 1 + 1 + 1
        assert by_id(replayed(await read(log))) == by_id(writer.engine)
        events = await read(log, ONE)
        without_gap(events)
        assert events[-1].last == writer.engine.table.job(ONE).sequence

        writer.events.clear()
        token = digest(TaskToken("token of one"))
        facts = writer.engine.queue.publish(
            token, [(511, Remark("x")), (512, output("b"))], now=NOW
        )
        more = writer.engine.queue.publish(
            digest(TaskToken("token of two")), [(1, OutputCut(1, 1))], now=NOW
        )
        await writer.append(writer.engine.record([*facts, *more, *more], NOW))
        assert len(rows(log, "SELECT place FROM reports")) == 7 + 1 + 1
        assert by_id(replayed(await read(log))) == by_id(writer.engine)

    opened(path, story)


def test_renewals_do_not_pile_up(path: Path) -> None:
    async def story(log: SqliteLog) -> None:
        writer = Writer(log)
        await writer.run(ONE, ends=False)
        token = digest(TaskToken("token of one"))
        for later in range(50):
            now = Instant(NOW + later)
            facts = writer.engine.queue.renew(token, span=Millis(9_000), now=now)
            await writer.append(writer.engine.record([*facts, *facts], now))
        renewals = [event for event in await read(log) if isinstance(event.fact, Renewed)]
        assert renewals == writer.events[-1:]
        facts = writer.engine.queue.give_back(token)
        await writer.append(writer.engine.record(facts, NOW))
        assert len(rows(log, "SELECT place FROM facts")) == 3

    opened(path, story)


# Memory and disk


def seamless(events: Sequence[Event]) -> list[Event]:
    """The events with joined marks, each mark as short as its last sequence.

    A mark of the disk may begin before the place from which the memory was read.
    """
    ends = list[Event]()
    for event in NewestCuts().join(events).events:
        fact = event.fact
        if isinstance(fact, Reported) and isinstance(fact.report, OutputCut):
            short = structs.replace(fact, report=OutputCut(1, 0))
            ends.append(structs.replace(event, fact=short, first=event.last, at=Instant(0)))
        else:
            ends.append(event)
    return ends


@holds("log-file/slow-reader-pins-nothing")
def test_the_window_says_what_the_disk_would_say(path: Path) -> None:
    async def story(log: SqliteLog) -> None:
        walk, dice = walked(), random.Random(5)
        left, ids = list(walk.log), {event.job for event in walk.log[::9]}
        answers = 0
        while left:
            size = dice.choice([1, 5, 20])
            await log.append(left[:size])
            del left[:size]
            for id in sorted(ids):
                for after in (0, 3):
                    near = log._recent.since(id, after)
                    answers += near is not None
                    if near is not None:
                        assert seamless(near) == seamless(log._reader.page(id, after).events)
            place = dice.choice([0, log._recent._whole or 0, dice.randint(0, walk.log[-1].place)])
            all_near = log._recent.since_place(Position(place))
            if all_near is not None:
                answers += 1
                page, near = log._reader.page_of_all(Position(place)), seamless(all_near)
                assert near == seamless(page.events)[: len(near)]
        assert answers > 100

    opened(path, story)


@holds("log-file/slow-reader-pins-nothing")
def test_a_watcher_that_keeps_up_does_not_touch_the_disk(path: Path) -> None:
    async def story(log: SqliteLog) -> None:
        writer = Writer(log)
        await writer.run(ONE, output("a"), output("b"))
        log._reading.shutdown()  # whoever asks it now, fails
        assert await read(log, ONE) == writer.visible(ONE)
        assert await of_all(log) == writer.visible(ONE)
        log._reading = type(log._reading)(1)

    opened(path, story)


def test_what_is_read_does_not_grow_with_what_there_is(path: Path) -> None:
    async def story(log: SqliteLog) -> None:
        writer = Writer(log)
        await writer.run(ONE, *[large(64 * KIB)] * 40)
        page = log._reader.page(ONE, 0)
        kept = [event.fact.report for event in page.events if isinstance(event.fact, Reported)]
        assert page.through is not None
        assert sum(report.size for report in kept if isinstance(report, Output)) <= MIB
        log._recent = EventCache(0)
        assert await read(log, ONE) == writer.visible(ONE)

    opened(path, story)


def test_nor_does_what_is_read_of_all_jobs(path: Path) -> None:
    async def story(log: SqliteLog) -> None:
        writer = Writer(log)
        for number in range(100):  # more facts than fit in a page, and fewer reports
            await writer.run(JobId(f"job-{number}"), output("a"))
        await writer.run(ONE, *[large(64 * KIB)] * 40)
        await writer.run(TWO, *[output("b")] * 600)
        pages = [log._reader.page_of_all(Position(0))]
        while (through := pages[-1].through) is not None:
            pages.append(log._reader.page_of_all(Position(through)))
        assert len(pages) > 8
        assert max(len(page.events) for page in pages) <= 2 * PAGE_ROWS
        told = [event for page in pages for event in page.events]
        assert told == [event for event in writer.events if sequence_count(event.fact)]
        log._recent = EventCache(0)
        assert await of_all(log) == told

    opened(path, story)


@promise(
    "log-file/slow-reader-pins-nothing",
    "A slow reader pins no page of the log. A reader that keeps up never touches the disk.",
)
def test_a_slow_reader_does_not_keep_the_write_ahead_log_from_being_used_again(
    path: Path,
) -> None:
    async def story(log: SqliteLog) -> None:
        writer = Writer(log)
        log._recent = EventCache(0)
        await writer.run(ONE, *[large(64 * KIB)] * 20)
        async with aclosing(log.read(ONE)) as events:
            got = [await anext(events)]
            await writer.run(TWO, *[large(64 * KIB)] * 400)
            await log.trimmed()
            assert size_of(wal_of(path)) < 2 * WAL_BYTES_MAX
            got += [event async for event in events]
        assert got == writer.visible(ONE)

    opened(path, story)


# Retention


@promise(
    "log-file/space-comes-back",
    "Disk space comes back when retention removes output or jobs. The work happens in slices "
    "between appends, and a restart continues where the last server was.",
)
def test_space_is_given_back_while_appends_go_on(path: Path) -> None:
    async def story(log: SqliteLog) -> None:
        writer = Writer(log)
        await writer.run(ONE, ProcessStarted(1, NOW), *[large(256 * KIB)] * 100)
        await writer.run(TWO, output("b"))
        await log.trimmed()
        full = size_of(path)
        assert full > 20 * MIB
        await writer.drop(ONE)
        writing = asyncio.ensure_future(writer.run(THREE, *[output("c")] * 20))
        await log.trimmed()
        await writing
        assert size_of(path) < full / 8
        log._recent = EventCache(0)
        events = await read(log, ONE)
        without_gap(events)
        reports = [event.fact.report for event in events if isinstance(event.fact, Reported)]
        assert reports == [ProcessStarted(1, NOW), *[OutputCut(1, 256 * KIB)] * 100]
        assert [event.link for event in events] == [
            event.link for event in writer.visible(ONE)[:-1]
        ]
        assert await read(log, TWO) == writer.visible(TWO)
        assert await read(log, THREE) == writer.visible(THREE)
        assert by_id(replayed(await read(log))) == by_id(writer.engine)

    opened(path, story)


@holds("log-file/space-comes-back")
def test_dropped_output_is_hidden_before_its_space_is_given_back(path: Path) -> None:
    async def story(log: SqliteLog) -> None:
        writer = Writer(log)
        log._recent = EventCache(0)
        await writer.run(ONE, *[large(KIB)] * 5)
        log._closing = True  # no housekeeping
        await writer.drop(ONE)
        before = await read(log, ONE)
        assert rows(log, "SELECT sum(size) FROM reports") == [(5 * KIB,)]
        log._closing = False
        await writer.run(TWO)
        await log.trimmed()
        assert rows(log, "SELECT sum(size) FROM reports") == [(0,)]
        assert await read(log, ONE) == before

    opened(path, story)


def test_whoever_reads_while_retention_works_sees_every_sequence_once(path: Path) -> None:
    async def story(log: SqliteLog) -> None:
        walk, left, forgotten = walked(), list(walked().log), set[JobId]()
        ids = sorted({event.job for event in left})[::5]
        log._recent = EventCache(20 * KIB)

        async def watch(id: JobId) -> None:
            seen: list[Event] = []
            ended = False
            while id not in forgotten and not ended:
                ended = not left  # so this is the last look
                seen += await read(log, id, seen[-1].last if seen else 0)
                without_gap(seen)
                await asyncio.sleep(0)
            assert id in forgotten or seen[-1].last == walk.engine.table.job(id).sequence

        async with asyncio.TaskGroup() as tasks:
            for id in ids:
                tasks.create_task(watch(id))
            while left:
                batch = left[:5]
                forgotten |= {each.fact.id for each in batch if isinstance(each.fact, Forgotten)}
                await log.append(batch)
                del left[:5]
        await log.trimmed()
        assert by_id(replayed(await read(log))) == by_id(walk.engine)

    opened(path, story)


@holds("log-file/space-comes-back")
def test_retention_goes_on_where_the_last_server_left_it(path: Path) -> None:
    ended: list[Writer] = []

    async def ask(log: SqliteLog) -> None:
        writer = Writer(log)
        await writer.run(ONE, *[large(KIB)] * 3)
        await writer.run(TWO, *[large(KIB)] * 3)
        log._closing = True
        await writer.drop(ONE)
        await writer.forget(TWO)
        ended.append(writer)

    async def wait(log: SqliteLog) -> None:
        told = await read(log)
        assert replayed(told).tail == ended[0].engine.tail
        await log.trimmed()
        assert rows(log, "SELECT DISTINCT job FROM reports") == [(ONE,)]
        assert rows(log, "SELECT sum(size), sum(cut) FROM reports") == [(0, 3 * KIB)]
        assert await read(log) == [each for each in told if each.job == ONE] + told[-1:]

    opened(path, ask)
    opened(path, wait)


def test_a_job_that_is_forgotten_leaves_only_the_newest_place(path: Path) -> None:
    async def story(log: SqliteLog) -> None:
        writer = Writer(log)
        await writer.run(ONE, output("a"))
        await writer.forget(ONE)
        await log.trimmed()
        assert await read(log) == [writer.events[-1]]
        assert isinstance(writer.events[-1].fact, Forgotten)
        await writer.run(TWO)
        await log.trimmed()
        assert {event.job for event in await read(log)} == {TWO}
        assert rows(log, "SELECT count(*) FROM trims") == [(0,)]

    opened(path, story)


@holds("log-file/checksums-on-every-read")
def test_a_damaged_row_is_not_whitewashed_by_retention(path: Path) -> None:
    async def story(log: SqliteLog) -> None:
        writer = Writer(log)
        await writer.run(ONE, output("a"), output("b"))
        change(path, "UPDATE reports SET record = x'010203' WHERE last = 3")
        await writer.drop(ONE)
        await log.trimmed()
        with pytest.raises(LogDamaged, match="sequence 3"):
            await read(log, ONE)
        with pytest.raises(LogDamaged, match=f"job {ONE}, up to sequence 3"):
            await of_all(log)
        assert rows(log, "SELECT last FROM reports WHERE size > 0") == [(3,)]

    opened(path, story)


# A full disk


@promise(
    "log-file/full-append-leaves-nothing",
    "An append to a full disk leaves nothing behind and may be repeated. Housekeeping that finds "
    "no room fails no request.",
)
def test_an_append_to_a_full_disk_leaves_nothing_and_may_be_tried_again(path: Path) -> None:
    async def story(log: SqliteLog) -> None:
        writer = Writer(log)
        await writer.run(ONE, output("a"), ends=False)
        before = await read(log)
        set_pages_max(log, 1)  # as few as there are
        facts = writer.engine.queue.publish(
            digest(TaskToken("token of one")), [(2, output("b")), (3, large(512 * KIB))], now=NOW
        )
        events = writer.engine.record(facts, NOW)
        for _ in range(3):
            with pytest.raises(LogFull, match=r"no room to append to .*jobs\.db"):
                await log.append(events)
            assert await read(log) == before
            assert (await read(log, ONE))[-1].last == 3
        set_pages_max(log, 1_000_000)
        await log.append(events)
        assert (await read(log, ONE))[-2:] == events
        assert by_id(replayed(await read(log))) == by_id(writer.engine)

    opened(path, story)


@holds("log-file/full-append-leaves-nothing")
def test_housekeeping_that_finds_no_room_fails_no_append(path: Path) -> None:
    async def story(log: SqliteLog) -> None:
        writer = Writer(log)
        await writer.run(ONE, *[large(4 * KIB)] * 50)
        log._writer._trim.slice = _no_room  # type: ignore[method-assign]  # a disk that is full just then
        await writer.drop(ONE)
        await log.trimmed()
        await writer.run(TWO)
        del log._writer._trim.slice
        await writer.run(THREE)
        await log.trimmed()
        assert rows(log, "SELECT sum(size) FROM reports") == [(0,)]

    opened(path, story)


def _no_room() -> None:
    raise apsw.FullError


# Failure and damage


@promise(
    "log-file/failed-log-stays-closed",
    "A log that failed in another way accepts nothing more. The failed log stays as it is.",
)
def test_a_log_that_has_failed_once_takes_nothing_more(path: Path) -> None:
    async def story(log: SqliteLog) -> None:
        writer = Writer(log)
        await writer.run(ONE)
        with pytest.raises(LogFailed, match="UNIQUE constraint failed"):
            await log.append(writer.events[:1])
        with pytest.raises(LogFailed, match="UNIQUE constraint failed"):
            await writer.run(TWO)
        assert [event.job for event in await read(log)] == [ONE] * 3

    opened(path, story)


@holds("log-file/failed-log-stays-closed")
def test_a_log_that_has_failed_is_left_as_it_is(path: Path) -> None:
    async def story(log: SqliteLog) -> None:
        writer = Writer(log)
        await writer.run(ONE)
        with pytest.raises(LogFailed, match="UNIQUE constraint failed"):
            await log.append(writer.events[:1])

    opened(path, story)
    assert size_of(wal_of(path)) > 0

    async def read_back(log: SqliteLog) -> None:
        assert len(await read(log, ONE)) == 3

    opened(path, read_back)


def test_damage_that_housekeeping_meets_is_told_by_the_next_append(path: Path) -> None:
    ended: list[Writer] = []

    async def write(log: SqliteLog) -> None:
        writer = Writer(log)
        await writer.run(ONE, *[large(20 * KIB)] * 5)
        ended.append(writer)

    async def trim(log: SqliteLog) -> None:
        ended[0].log = log
        await ended[0].drop(ONE)
        await log.trimmed()
        with pytest.raises(LogDamaged, match=r"making room in it: `airunner log check .*jobs\.db`"):
            await ended[0].run(TWO)

    opened(path, write)
    whole = bytearray(path.read_bytes())
    whole[-schema.PAGE_BYTES + 100] ^= 1  # in the last page, which is of output
    path.write_bytes(whole)
    opened(path, trim)


def change(path: Path, query: str) -> None:
    """Change the file behind the log's back."""
    with closing(schema.connect(path, write=True)) as connection:
        connection.execute(query)


@promise(
    "log-file/checksums-on-every-read",
    "A read returns the written bytes, or an error that names the place. Every row and every page "
    "has a checksum that is checked at each read, and retention never rewrites damage into a valid "
    "row.",
)
@pytest.mark.parametrize(
    "what",
    [
        "place = place + 100",
        "job = 'one', kind = kind",
        "at = at + 1",
        "last = last + 4",
        "link = zeroblob(32)",
        "record = CAST(record || x'00' AS BLOB)",
        "crc = crc + 1",
    ],
)
@pytest.mark.parametrize("table", ["facts", "reports"])
def test_no_column_of_a_row_can_change_and_be_believed(path: Path, table: str, what: str) -> None:
    async def write(log: SqliteLog) -> None:
        await Writer(log).run(TWO, output("a"), output("b"), ends=False)

    async def read_back(log: SqliteLog) -> None:
        with pytest.raises(LogDamaged, match=r"position .* `airunner log salvage .*jobs\.db OUT`"):
            await read(log)
        with pytest.raises(LogDamaged, match=r"`airunner log check .*jobs\.db`"):
            await read(log, ONE if "job" in what else TWO)

    opened(path, write)
    rows_max = "(SELECT max(last) FROM reports)" if table == "reports" else "2"
    change(path, f"UPDATE {table} SET {what} WHERE last = {rows_max}")
    if "job" in what:  # the replay asks for the reports of jobs that it knows
        change(path, f"UPDATE facts SET job = 'one' WHERE '{table}' = 'reports'")
    opened(path, read_back)


@holds("log-file/checksums-on-every-read")
@pytest.mark.parametrize("column", ["attempt", "sent", "size", "cut", "kind"])
def test_nor_can_what_only_reports_have(path: Path, column: str) -> None:
    async def write(log: SqliteLog) -> None:
        await Writer(log).run(ONE, output("a"))

    async def read_back(log: SqliteLog) -> None:
        with pytest.raises(LogDamaged, match=r"at position 4 \(job one, up to sequence 3\)"):
            await read(log, ONE)

    opened(path, write)
    change(path, f"UPDATE reports SET {column} = {column} + 1")
    opened(path, read_back)


@pytest.mark.parametrize(("table", "gone"), [("reports", "3 to 3"), ("facts", "1 to 2")])
def test_a_row_that_is_gone_leaves_a_gap_that_is_told(path: Path, table: str, gone: str) -> None:
    async def write(log: SqliteLog) -> None:
        await Writer(log).run(ONE, output("a"), output("b"))

    async def read_back(log: SqliteLog) -> None:
        with pytest.raises(LogDamaged, match=f"job one has no sequences {gone}, but later ones"):
            await read(log, ONE)

    opened(path, write)
    change(path, f"DELETE FROM {table} WHERE last < 4")
    opened(path, read_back)


@holds("log-file/checksums-on-every-read")
def test_a_flipped_bit_in_any_page_of_events_is_found(path: Path) -> None:
    async def write(log: SqliteLog) -> None:
        await Writer(log).run(ONE, *[large(20 * KIB)] * 5)

    async def read_back(log: SqliteLog) -> None:
        with pytest.raises(LogDamaged, match="airunner log salvage"):
            await read(log, ONE)

    opened(path, write)
    whole = path.read_bytes()
    for page in range(12, len(whole) // schema.PAGE_BYTES):  # past the tables' own, one by one
        broken = bytearray(whole)
        broken[page * schema.PAGE_BYTES + 1_000] ^= 1
        path.write_bytes(broken)
        opened(path, read_back)


# What is not a log, or not for us


def test_a_file_of_another_kind_is_refused_and_not_touched(path: Path) -> None:
    path.write_text("a list of things to do\n")
    path.chmod(0o640)
    with pytest.raises(LogRefused, match="it is no SQLite file"):
        SqliteLog.open(path)
    assert path.read_text() == "a list of things to do\n"
    assert S_IMODE(path.stat().st_mode) == 0o640
    assert list(path.parent.iterdir()) == [path]


def test_a_database_of_something_else_is_refused_and_not_touched(path: Path) -> None:
    with closing(apsw.Connection(str(path))) as other:
        other.execute("CREATE TABLE things(name)")
    before = path.read_bytes()
    with pytest.raises(LogRefused, match="a SQLite file, but no log of airunner"):
        SqliteLog.open(path)
    assert path.read_bytes() == before


def test_a_log_of_a_later_version_is_refused(path: Path) -> None:
    opened(path, read_nothing)
    change(path, "PRAGMA user_version=99")
    with pytest.raises(LogRefused, match="99"):
        SqliteLog.open(path)


def test_a_folder_that_is_not_there_is_not_made(path: Path) -> None:
    with pytest.raises(LogRefused, match="make the folder"):
        SqliteLog.open(path.parent / "none" / "jobs.db")


def test_a_log_tells_its_size_and_its_ends(path: Path) -> None:
    async def story(log: SqliteLog) -> None:
        writer = Writer(log)
        empty = await log.statistics()
        assert (empty.oldest, empty.newest, empty.events) == (0, 0, None)
        await writer.run(ONE, large(100 * KIB))
        await writer.run(TWO, output("a"))
        full = await log.statistics()
        assert (full.oldest, full.newest) == (1, writer.events[-1].place)
        assert (full.size or 0) > (empty.size or 0) + 100 * KIB
        await writer.forget(ONE)
        await writer.run(THREE)
        await log.trimmed()
        numbers = await log.statistics()
        assert numbers.oldest == min(event.place for event in writer.events if event.job == TWO)
        assert numbers.size == size_of(path) + size_of(wal_of(path))

    opened(path, story)


def test_a_log_has_one_server(path: Path) -> None:
    async def story(log: SqliteLog) -> None:
        with pytest.raises(LogInUse, match=str(os.getpid())):
            SqliteLog.open(path)

    opened(path, story)
    opened(path, read_nothing)


def test_a_log_is_its_owners_alone(path: Path) -> None:
    async def story(log: SqliteLog) -> None:
        await Writer(log).run(ONE)
        for each in path.parent.iterdir():
            assert S_IMODE(each.stat().st_mode) == 0o600

    opened(path, story)


@pytest.mark.parametrize("fsync", Fsync)
def test_fsync_is_what_was_asked_for(path: Path, fsync: Fsync) -> None:
    async def story() -> None:
        log = SqliteLog.open(path, fsync=fsync)
        asked = log._writing.submit(log._writer._connection.pragma, "synchronous").result()
        assert asked == {Fsync.FULL: 2, Fsync.NORMAL: 1}[fsync]
        await log.close()

    asyncio.run(story())


def test_a_log_without_page_checksums_says_so(path: Path) -> None:
    async def story() -> None:
        log = SqliteLog.open(path, vfs="unix")
        assert "has no page checksums" in log.notes[0]
        await log.close()

    asyncio.run(story())
    opened(path, read_nothing)


async def read_nothing(log: SqliteLog) -> None:
    assert await read(log) == []
