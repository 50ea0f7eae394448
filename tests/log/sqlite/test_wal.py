"""Write-ahead logs that SQLite has written, cut and damaged, against what SQLite makes of them."""

import struct
from collections.abc import Iterator
from pathlib import Path

import apsw
import pytest

from airunner.log.log import LogDamaged
from airunner.log.sqlite.wal import (
    FRAME_HEADER_BYTES,
    HEADER_BYTES,
    Damage,
    Scan,
    checksum,
    kept_frames,
    scan,
    survey,
)
from tests.promises import holds, promise

PAGE = 512
STEP = FRAME_HEADER_BYTES + PAGE


def connect(path: Path) -> apsw.Connection:
    connection = apsw.Connection(str(path))
    connection.pragma("page_size", PAGE)
    connection.pragma("journal_mode", "wal")
    connection.pragma("wal_autocheckpoint", 0)
    return connection


def transactions(connection: apsw.Connection, sizes: tuple[int, ...]) -> None:
    """One for each size, that of its one row in bytes."""
    for size in sizes:
        connection.execute("INSERT INTO t(x) VALUES(randomblob(?))", (size,))


class Copies:
    """A database and its write-ahead log as a crash leaves them, as often as one likes."""

    def __init__(self, folder: Path, *, rounds: int = 1) -> None:
        path = folder / "made.db"
        connection = connect(path)
        connection.execute("CREATE TABLE t(id INTEGER PRIMARY KEY, x BLOB)")
        for _ in range(rounds):
            transactions(connection, (1_500, 100, 3_000, 20, 900))
            connection.pragma("wal_checkpoint", "PASSIVE")
        transactions(connection, (100, 1_500, 10, 1_000))
        self.database = path.read_bytes()
        self.wal = path.with_name("made.db-wal").read_bytes()
        connection.close()
        self._path = folder / "copy.db"

    @property
    def frames(self) -> int:
        """Of the current round."""
        return sum(self.wal[at + 8 : at + 16] == self.wal[16:24] for at in self.offsets())

    @property
    def commits(self) -> list[int]:
        """The numbers of the frames that end a transaction."""
        ends = (struct.unpack_from(">I", self.wal, at + 4)[0] for at in self.offsets())
        return [number for number, end in enumerate(ends, 1) if end and number <= self.frames]

    def offsets(self) -> range:
        return range(HEADER_BYTES, len(self.wal) - STEP + 1, STEP)

    def leave(self, wal: bytes) -> Path:
        """The path of the write-ahead log."""
        if not self._path.exists() or self._path.read_bytes() != self.database:
            self._path.write_bytes(self.database)
        path = self._path.with_name("copy.db-wal")
        path.write_bytes(wal)
        return path

    def recovered(self) -> int:
        """How many frames SQLite keeps of what leave() left."""
        self._path.with_name("copy.db-shm").unlink(missing_ok=True)
        connection = apsw.Connection(str(self._path))
        _, frames, _ = connection.execute("PRAGMA wal_checkpoint").fetchone() or (0, 0, 0)
        connection.close()
        return max(int(frames), 0)


@pytest.fixture
def copies(tmp_path: Path) -> Copies:
    return Copies(tmp_path, rounds=0)


def flipped(wal: bytes, at: int, bit: int) -> bytes:
    return wal[:at] + bytes([wal[at] ^ 1 << bit]) + wal[at + 1 :]


def bits(frame: int) -> Iterator[tuple[int, int]]:
    """Every bit of the frame's numbers, two of each other byte of its head, some of its page."""
    start = HEADER_BYTES + (frame - 1) * STEP
    yield from ((start + at, bit) for at in range(8) for bit in range(8))
    yield from ((start + at, bit) for at in range(8, FRAME_HEADER_BYTES) for bit in (0, 7))
    yield from ((start + FRAME_HEADER_BYTES + at, 3) for at in (0, 1, 100, PAGE - 1))


def test_a_log_without_a_write_ahead_log_has_nothing_to_say(tmp_path: Path) -> None:
    assert scan(tmp_path / "none.db-wal") == Scan()
    (tmp_path / "empty.db-wal").touch()
    assert scan(tmp_path / "empty.db-wal") == Scan()


def test_a_whole_one_is_what_sqlite_says(copies: Copies) -> None:
    found = scan(copies.leave(copies.wal))
    assert (found.page_size, found.good, found.committed) == (PAGE, copies.frames, copies.frames)
    assert not found.notes
    assert copies.recovered() == copies.frames


@pytest.mark.parametrize("order", ["<", ">"])
def test_either_order_of_bytes_is_read(copies: Copies, order: str) -> None:
    """SQLite writes its machine's own; a file may come from another one."""
    header = struct.pack(">I", 0x377F0682 + (order == ">")) + copies.wal[4:24]
    before = checksum(order, header)
    wal = header + struct.pack(">2I", *before)
    for at in copies.offsets():
        start, page = copies.wal[at : at + 16], copies.wal[at + FRAME_HEADER_BYTES : at + STEP]
        before = checksum(order, page, checksum(order, start[:8], before))
        wal += start + struct.pack(">2I", *before) + page
    assert scan(copies.leave(wal)).committed == copies.frames
    assert copies.recovered() == copies.frames


@holds("log-file/damage-is-not-a-torn-tail")
def test_a_tail_cut_at_any_byte_is_torn_and_what_is_kept_is_what_sqlite_keeps(
    copies: Copies,
) -> None:
    kept = copies.commits[-2]
    for size in range(HEADER_BYTES + (kept - 1) * STEP, len(copies.wal)):
        found = scan(copies.leave(copies.wal[:size]))
        whole, rest = divmod(size - HEADER_BYTES, STEP)
        committed = max(number for number in copies.commits if number <= whole)
        assert (found.good, found.committed) == (whole, committed)
        assert found.dropped == whole - committed + bool(rest)
        assert found.dropped_bytes == (whole - committed) * STEP + rest
        assert bool(found.notes) is (found.dropped > 0)
        if size % 37 == 0:
            assert copies.recovered() == committed


@promise(
    "log-file/damage-is-not-a-torn-tail",
    "A server tells damage from a torn tail before SQLite discards either. It names a flipped bit "
    "that has a later transaction behind it, and refuses to serve that log.",
)
def test_a_flip_in_any_transaction_but_the_last_is_found_and_named(copies: Copies) -> None:
    for frame in range(1, copies.commits[-2] + 1):
        for at, bit in bits(frame):
            path = copies.leave(flipped(copies.wal, at, bit))
            damage = survey(path).damage
            assert damage, (frame, at, bit)
            assert damage.frame == frame
            assert damage.offset == HEADER_BYTES + (frame - 1) * STEP
    with pytest.raises(LogDamaged, match=r"frame \d+ .*airunner log salvage .*copy.db OUT"):
        scan(path)


def test_sqlite_itself_drops_what_follows_a_flip_without_a_word(copies: Copies) -> None:
    copies.leave(flipped(copies.wal, HEADER_BYTES + FRAME_HEADER_BYTES + 40, 0))
    assert copies.recovered() == 0


def test_a_flip_in_the_last_transaction_looks_like_a_torn_tail(copies: Copies) -> None:
    last = range(copies.commits[-2] + 1, copies.frames + 1)
    assert len(last) > 1
    for frame in last:
        at = HEADER_BYTES + (frame - 1) * STEP + FRAME_HEADER_BYTES
        found = scan(copies.leave(flipped(copies.wal, at, 1)))
        assert found.committed == copies.commits[-2]
        assert found.dropped == len(last)
        assert "torn tail" in found.notes[0]


@holds("log-file/damage-is-not-a-torn-tail")
def test_a_flip_in_the_header_is_found(copies: Copies) -> None:
    for at in range(HEADER_BYTES):
        for bit in range(8):
            damage = survey(copies.leave(flipped(copies.wal, at, bit))).damage
            assert damage == Damage(0, 0, 0, copies.frames), (at, bit)
    with pytest.raises(LogDamaged, match="the header is damaged"):
        scan(copies.leave(flipped(copies.wal, 5, 1)))


def test_left_overs_of_an_earlier_round_are_no_damage(tmp_path: Path) -> None:
    copies = Copies(tmp_path)
    assert len(copies.offsets()) > copies.frames > 0
    found = scan(copies.leave(copies.wal))
    assert (found.committed, found.notes) == (copies.frames, ())
    assert copies.recovered() == copies.frames


def test_a_last_transaction_that_left_overs_show_through_is_torn(tmp_path: Path) -> None:
    """As a disk leaves it that has written the end of a transaction and not its middle."""
    copies = Copies(tmp_path)
    first, last = copies.commits[-2] + 1, copies.frames
    assert last - first > 2
    start, end = (HEADER_BYTES + number * STEP for number in (first - 1, last - 2))
    before = copies.wal[-(end - start) :]  # of the round before, in frames that chain
    found = scan(copies.leave(copies.wal[:start] + before + copies.wal[end:]))
    assert found.committed == copies.commits[-2]
    assert found.dropped == last - first + 1


def test_what_a_rolled_back_transaction_has_left_is_no_damage(tmp_path: Path) -> None:
    """Its frames are of this round, and follow each other; but none of them ends a transaction."""
    copies = Copies(tmp_path, rounds=0)
    path = copies.leave(copies.wal)
    connection = connect(path.with_name("copy.db"))
    connection.pragma("cache_size", 5)  # pages; the rest spill into the write-ahead log
    transactions(connection, (10,))
    connection.execute("BEGIN")
    transactions(connection, (9_000, 9_000))
    connection.execute("ROLLBACK")
    transactions(connection, (700,))
    wal = path.read_bytes()
    connection.close()
    found = scan(copies.leave(wal))
    assert found.dropped > 10
    assert copies.recovered() == found.committed > copies.frames


def test_a_torn_header_over_a_round_that_is_in_the_database_is_no_damage(tmp_path: Path) -> None:
    copies = Copies(tmp_path, rounds=0)
    path = copies.leave(copies.wal)
    connection = connect(path.with_name("copy.db"))
    connection.pragma("wal_checkpoint", "PASSIVE")
    copies.database = path.with_name("copy.db").read_bytes()
    transactions(connection, (10,))
    header = path.read_bytes()[:HEADER_BYTES]
    connection.close()
    for cut in range(13, HEADER_BYTES):
        torn = header[:cut] + copies.wal[cut:]
        assert survey(copies.leave(torn)).damage is None, cut


def test_one_without_its_database_is_not_given_up_for_nothing(copies: Copies) -> None:
    """SQLite deletes it, for it belongs to no page of the new database."""
    path = copies.leave(copies.wal)
    path.with_name("copy.db").write_bytes(b"")
    with pytest.raises(LogDamaged, match=r"copy.db is not there or empty: restore that file"):
        scan(path)
    path.with_name("copy.db").unlink()
    with pytest.raises(LogDamaged, match=rf"has {copies.frames} frames of a log"):
        scan(path)
    path.write_bytes(flipped(copies.wal, 2, 0))
    with pytest.raises(LogDamaged, match="the header is damaged"):
        scan(path)


def test_the_frames_of_a_damaged_one_are_read_around_the_damage(copies: Copies) -> None:
    at = HEADER_BYTES + FRAME_HEADER_BYTES + 7
    frames = list(kept_frames(copies.leave(flipped(copies.wal, at, 0))))
    assert [frame.number for frame in frames] == list(range(1, copies.frames + 1))
    assert [frame.number for frame in frames if not frame.good] == [1]
    without_header = list(kept_frames(copies.leave(flipped(copies.wal, 2, 0))))
    assert len(without_header) == copies.frames


def test_the_frames_of_a_torn_one_are_what_sqlite_keeps(copies: Copies) -> None:
    kept = [frame.number for frame in kept_frames(copies.leave(copies.wal[: -STEP // 2]))]
    assert kept == list(range(1, copies.commits[-2] + 1))
