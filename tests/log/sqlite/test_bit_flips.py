"""One flipped bit, wherever it is, and who finds it.

A small log is written and closed; then one bit of a copy is flipped, and all is done that can be
done with a log: a server starts on it and replays it, every job is read, and it is checked. What
is said must be what was written, or an error; never something else, and never less.

    in a fact                found by whoever starts a server
    in a report              found by whoever reads its job, and by a start if it is the newest of
                             a job that has not ended
    anywhere else in use     found by `airunner log check`, if nothing that reads comes by
    in a free page           found by nobody: nothing that was written is there

Without page checksums rows have only their own. Those hold for every column of every row that
is read from it; a reader takes some of them from the index, and then only a check finds that the
two differ. Nor does anybody else find what is wrong with an index itself.

In the write-ahead log a start finds every flip but those in the last transaction, which looks
like a torn tail: it is dropped, and said.

What a salvage writes is sound, says no more than was written, and says what was lost.
"""

import asyncio
import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import apsw
import pytest

from airunner.log.log import LogDamaged, LogRefused
from airunner.log.sqlite.log import SqliteLog
from airunner.log.sqlite.repair.check import check
from airunner.log.sqlite.repair.salvage import salvage
from airunner.log.sqlite.rows import FACT_COLUMNS, REPORT_COLUMNS
from airunner.log.sqlite.schema import PAGE_BYTES, connect
from airunner.log.sqlite.wal import FRAME_HEADER_BYTES, HEADER_BYTES, survey
from airunner.model.job_events import JobEvent
from airunner.model.jobs import Job, JobId
from tests.log.log_contract import read
from tests.log.sqlite.btree import Btree, Row
from tests.log.sqlite.event_samples import (
    MEMORY,
    NAME,
    Chapter,
    Story,
    crowded,
    engine_of,
    is_chapter,
    known,
    quiet,
    seen,
    walked,
)
from tests.promises import holds

SYSTEM = "unix"  # SQLite's own way to the disk, which knows nothing of page checksums
FLIPS_A_PAGE = 12
INDEXED = (
    "job",
    "last",
    "size",
    "cut",
)  # which a reader takes from the index, where they are whole


@dataclass(frozen=True, slots=True)
class Truth:
    """A log that nobody has damaged, and what it says."""

    path: Path
    vfs: str | None
    jobs: Sequence[Job]
    streams: Mapping[JobId, Sequence[JobEvent]]

    @property
    def data(self) -> bytes:
        return self.path.read_bytes()


@dataclass(frozen=True, slots=True)
class Found:
    """Who has noticed that a log is damaged."""

    start: bool  # of a server
    reading: bool  # one of the jobs
    checking: bool


def written(path: Path, story: Story, vfs: str | None = None) -> Truth:
    async def write() -> Truth:
        log = SqliteLog.open(path, vfs=vfs)
        for batch in story.batches:
            await log.append(batch)
        await log.trimmed()
        await log.close()
        log = SqliteLog.open(path, vfs=vfs)
        engine = await engine_of(log)
        streams = {id: seen(await read(log, id)) for id in story.ids}
        await log.close()
        return Truth(path, vfs, known(engine), streams)

    return asyncio.run(write())


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Truth:
    return written(tmp_path_factory.mktemp("small") / NAME, walked(7, steps=80, batch_max=10))


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Truth:
    """Without page checksums."""
    story = walked(7, steps=80, batch_max=10)
    return written(tmp_path_factory.mktemp("bare") / NAME, story, SYSTEM)


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> Truth:
    """With pages of every kind."""
    truth = written(tmp_path_factory.mktemp("wide") / NAME, asyncio.run(crowded()))
    assert {2, 5, 10, 13} <= set(kinds(truth.data).values())  # trees of two levels
    return truth


@holds("log-file/checksums-on-every-read")
def test_a_flip_in_any_column_of_a_fact_is_found_by_a_start(small: Truth) -> None:
    for row, column, at in columns(small, "facts", FACT_COLUMNS):
        assert noticed(small, at).start, (row.key, column)


@holds("log-file/checksums-on-every-read")
def test_a_flip_in_any_column_of_a_report_is_found_by_whoever_reads_its_job(small: Truth) -> None:
    for row, column, at in columns(small, "reports", REPORT_COLUMNS):
        found = noticed(small, at)
        assert found.start or found.reading, (row.key, column)


def test_without_page_checksums_a_flip_in_a_fact_is_still_found_by_a_start(bare: Truth) -> None:
    for row, column, at in columns(bare, "facts", FACT_COLUMNS):
        assert noticed(bare, at).start, (row.key, column)


def test_without_page_checksums_a_flip_in_a_report_is_still_found_by_a_reader(bare: Truth) -> None:
    for row, column, at in columns(bare, "reports", REPORT_COLUMNS):
        found = noticed(bare, at)
        told = found.start or found.reading
        assert told or (found.checking and column in INDEXED), (row.key, column)


def test_without_page_checksums_a_check_finds_what_misleads_a_server(bare: Truth) -> None:
    for page, at in spots(bare):
        try:
            noticed(bare, at)
        except (AssertionError, KeyError):  # it was not told the truth
            with flipped(bare, at) as path:
                assert is_found_wrong(path), (page, at)


@holds("log-file/checksums-on-every-read")
def test_a_flip_on_any_page_in_use_is_found_by_a_check(wide: Truth) -> None:
    for page, at in spots(wide):
        if page not in free_leaves(wide.data):
            assert noticed(wide, at).checking, (page, at)


def test_a_flip_on_a_page_that_is_free_changes_nothing(wide: Truth) -> None:
    free = free_leaves(wide.data)
    assert free
    for page, at in spots(wide):
        if page in free:
            assert noticed(wide, at) == Found(start=False, reading=False, checking=False)


# The write-ahead log


@holds("log-file/damage-is-not-a-torn-tail")
def test_a_flip_in_any_frame_but_the_last_transaction_s_refuses_a_start_and_names_it(
    unfinished: "Unfinished",
) -> None:
    for frame, at in unfinished.bytes_of(range(1, unfinished.ends[-2] + 1)):
        with unfinished.flipped(at) as path:
            if at % 5 == 0:
                assert is_found_wrong(path)
            with pytest.raises(LogDamaged, match=f"frame {frame} .*airunner log salvage"):
                SqliteLog.open(path)


def test_a_flip_in_the_head_of_the_write_ahead_log_refuses_a_start(
    unfinished: "Unfinished",
) -> None:
    for at in range(HEADER_BYTES):
        with (
            unfinished.flipped(at) as path,
            pytest.raises(LogDamaged, match=r"the header .*airunner log salvage"),
        ):
            SqliteLog.open(path)


@holds("log-file/damage-is-not-a-torn-tail")
def test_a_flip_in_the_last_transaction_is_a_torn_tail_which_is_dropped_and_said(
    unfinished: "Unfinished",
) -> None:
    """But for the number that says whether a frame ends one, which makes it look like two."""
    last = {place: unfinished.chapters[place] for place in unfinished.places[-2:-1]}
    for _, at in unfinished.bytes_of(range(unfinished.ends[-2] + 1, unfinished.ends[-1] + 1)):
        with unfinished.flipped(at) as path:
            try:
                log = SqliteLog.open(path)
            except LogDamaged:
                assert part_of_frame(at) in range(4, 8)
                continue
            try:
                assert [note for note in log.notes if "torn tail" in note]
                asyncio.run(is_chapter(log, last))
            finally:
                asyncio.run(log.close())


def test_without_the_scan_sqlite_drops_what_follows_a_flip_without_a_word(
    unfinished: "Unfinished",
) -> None:
    """What the scan is for: these logs would be shorter, and nobody told."""
    for _, at in unfinished.bytes_of(range(1, unfinished.ends[-2] + 1)):
        with unfinished.flipped(at) as path:
            connection = connect(path)
            highest = connection.execute("SELECT max(place) FROM facts").get
            connection.close()
            assert highest is None or highest < unfinished.places[-2]


# What a salvage saves


@holds("log-file/salvage-keeps-intact-beginnings")
def test_a_salvage_of_a_damaged_log_is_sound_and_says_what_was_lost(
    wide: Truth, tmp_path: Path
) -> None:
    free = free_leaves(wide.data)
    lossy = 0
    for number, (_, at) in enumerate(spot for spot in spots(wide) if spot[0] not in free):
        if number % 13 == 0:
            with flipped(wide, at) as path:
                lossy += salvaged(path, tmp_path / f"{number}", wide.streams)
    assert lossy


def test_a_salvage_reads_around_a_flip_in_the_write_ahead_log(
    unfinished: "Unfinished", tmp_path: Path
) -> None:
    streams = unfinished.chapters[unfinished.places[-1]].streams
    frames = unfinished.bytes_of(range(1, unfinished.ends[-2] + 1))
    for number, (_, at) in enumerate(frames):
        if number % 11 == 0:
            with unfinished.flipped(at) as path:
                salvaged(path, tmp_path / f"{number}", streams)


def salvaged(path: Path, out: Path, streams: Mapping[JobId, Sequence[JobEvent]]) -> bool:
    """Salvage a log; whether something of it was lost, of each job no more than its end."""
    told = list[str]()
    before = {each.name: each.read_bytes() for each in path.parent.iterdir()}
    lost = salvage(path, out, told.append).lost
    after = {each.name: each.read_bytes() for each in path.parent.iterdir()}
    assert before == {name: after[name] for name in before}
    assert bool(told) == lost
    assert not is_found_wrong(out)

    async def hold() -> None:
        log = SqliteLog.open(out)
        try:
            await engine_of(log)
            for id, stream in streams.items():
                left = seen(await read(log, id))
                assert left == stream[: len(left)]
                assert left == stream or told
        finally:
            await log.close()

    asyncio.run(hold())
    return lost


def part_of_frame(at: int) -> int:
    """How many bytes behind the beginning of its frame a byte of a write-ahead log stands."""
    return (at - HEADER_BYTES) % (FRAME_HEADER_BYTES + PAGE_BYTES)


@dataclass(frozen=True, slots=True)
class Unfinished:
    """A log whose server was killed before anything was checkpointed."""

    files: Mapping[str, bytes]
    chapters: Mapping[int, Chapter]
    places: Sequence[int]  # the highest after each transaction
    ends: Sequence[int]  # the last frame of each transaction: 1, 2, 3 ...

    def bytes_of(self, frames: Iterable[int]) -> Iterator[tuple[int, int]]:
        """Each frame with a byte of every part of it."""
        step = FRAME_HEADER_BYTES + PAGE_BYTES
        for frame in frames:
            dice, start = random.Random(frame), HEADER_BYTES + (frame - 1) * step
            for part in range(0, FRAME_HEADER_BYTES, 4):  # page, commit, salts, checksums
                yield frame, start + part + dice.randrange(4)
            for _ in range(3):
                yield frame, start + dice.randrange(FRAME_HEADER_BYTES, step)

    @contextmanager
    def flipped(self, at: int) -> Iterator[Path]:
        """The log with one bit of this byte of its write-ahead log another."""
        with TemporaryDirectory(dir=MEMORY) as folder:
            for name, data in self.files.items():
                (Path(folder) / name).write_bytes(data)
            wal = Path(folder) / f"{NAME}-wal"
            flipped = bytearray(wal.read_bytes())
            flipped[at] ^= 1 << random.Random(at).randrange(8)
            wal.write_bytes(flipped)
            yield Path(folder) / NAME


@pytest.fixture(scope="module")
def unfinished(tmp_path_factory: pytest.TempPathFactory) -> Unfinished:
    folder, story = tmp_path_factory.mktemp("unfinished"), asyncio.run(quiet())

    async def live() -> Unfinished:
        log, ends = SqliteLog.open(folder / NAME), list[int]()
        for batch in story.batches:
            await log.append(batch)
            ends.append(survey(folder / f"{NAME}-wal").committed)
        files = {name: (folder / name).read_bytes() for name in (NAME, f"{NAME}-wal")}
        await log.close()
        places = [batch[-1].place for batch in story.batches]
        return Unfinished(files, await story.chapters(), places, ends)

    return asyncio.run(live())


# A log with one flipped bit


def noticed(truth: Truth, at: int) -> Found:
    """Flip a bit of this byte and do all that can be done; who has noticed.

    Asserts that whoever has not was told the truth.
    """
    with flipped(truth, at) as path:
        checking = is_found_wrong(path)
        start, reading = asyncio.run(served(path, truth))
        return Found(start, reading, checking)


@contextmanager
def flipped(truth: Truth, at: int) -> Iterator[Path]:
    """A copy of the log in which one bit of this byte is another."""
    with TemporaryDirectory(dir=MEMORY) as folder:
        path = Path(folder) / NAME
        data = bytearray(truth.data)
        data[at] ^= 1 << random.Random(at).randrange(8)
        path.write_bytes(data)
        yield path


def is_found_wrong(path: Path) -> bool:
    found = list[str]()
    try:
        check(path, found.append)
    except (LogDamaged, LogRefused):
        return True
    return bool(found)


async def served(path: Path, truth: Truth) -> tuple[bool, bool]:
    """Whether a start finds that the log is damaged, and whether somebody who reads does."""
    try:
        log = SqliteLog.open(path, vfs=truth.vfs)
    except (LogDamaged, LogRefused):
        return True, True
    start = reading = False
    try:
        try:
            assert known(await engine_of(log)) == truth.jobs
        except LogDamaged:
            start = True
        for id, stream in truth.streams.items():
            try:
                assert seen(await read(log, id)) == stream
            except LogDamaged:
                reading = True
    finally:
        await log.close()
    return start, reading


def columns(truth: Truth, table: str, names: str) -> Iterator[tuple[Row, str, int]]:
    """A byte of each column of each row of a table."""
    connection = apsw.Connection(str(truth.path), flags=apsw.SQLITE_OPEN_READONLY, vfs=SYSTEM)
    root = connection.execute("SELECT rootpage FROM sqlite_schema WHERE name = ?", (table,)).get
    connection.close()
    dice, count = random.Random(table), 0
    for row in Btree(truth.data).rows(root, names.split(", ")):
        for column, places in row.columns.items():
            yield row, column, dice.choice(places)
            count += 1
    assert count > 100


def spots(truth: Truth) -> Iterator[tuple[int, int]]:
    """Some bytes of each page: of its head, its cell pointers, its cells, its own checksum."""
    tree = Btree(truth.data)
    for page in range(1, tree.pages + 1):
        dice, start = random.Random(page), (page - 1) * tree.page_size
        ranges = [(0, 12), (12, 40), (40, tree.page_size - 8), (tree.page_size - 8, tree.page_size)]
        for low, high in ranges * (FLIPS_A_PAGE // len(ranges)):
            yield page, start + dice.randrange(low, high)


def kinds(data: bytes) -> dict[int, int]:
    """What each page is, as its first byte says; outside of any tree that says nothing."""
    size = Btree(data).page_size
    return {1 + at // size: data[at + 100 * (at == 0)] for at in range(0, len(data), size)}


def free_leaves(data: bytes) -> set[int]:
    """The pages that hold nothing at all, by the lists that the header begins."""
    size, found = Btree(data).page_size, set[int]()
    trunk = int.from_bytes(data[32:36], "big")
    while trunk:
        start = (trunk - 1) * size
        count = int.from_bytes(data[start + 4 : start + 8], "big")
        numbers = (start + 8 + 4 * n for n in range(count))
        found.update(int.from_bytes(data[at : at + 4], "big") for at in numbers)
        trunk = int.from_bytes(data[start : start + 4], "big")
    return found
