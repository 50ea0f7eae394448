"""The survey of a write-ahead log before SQLite opens it: its frames, a torn tail, damage.

SQLite reads a `-wal` file up to its first bad frame and silently drops the rest. That is right for a
torn tail, whose transaction was never acknowledged, and wrong for a flipped bit with acknowledged
transactions behind it. So this module reads the file first, frame by frame, by SQLite's file format.

How it works
============

    header   magic, version, page size, round, salt, salt, checksum, checksum     32 bytes
    frame    page, pages of the database if it commits else 0, salt, salt,
             checksum, checksum, and the page                                      24 bytes + page

The checksum of each frame continues the checksum of the frame before. A frame is good if its salts are
those of the header and its checksum continues the one before. Behind the first bad frame, a frame is
good if its salts are those of the header and its checksum continues either the checksum that the
frame before it stores or the checksum computed for that frame. So one damaged frame hides no other.

    torn tail    no good frame belongs to a later transaction than the first bad frame. SQLite had not
                 acknowledged that transaction; it is dropped and reported
    damage       a good frame does. With synchronous=FULL a transaction is synced before the next is
                 written, so no power cut can cause this
    left-overs   frames with other salts behind the end, of an earlier round: not reported

The transaction of a bad frame ends at the first commit frame from there on that can be trusted. That
may be the bad frame itself: if its salts are right, if its checksum is, or if flipping one bit of its
number of pages makes the checksum right.

A damaged header makes SQLite drop the whole file. Frames behind it that continue each other are damage
too, unless the database already has the newest version of each page: then they are of an earlier
round, and nothing is lost.

Limits: in the last transaction a flipped bit and a torn tail look alike; both are dropped and reported.
A file cut between two transactions is a shorter log, which this module cannot detect. With
synchronous=NORMAL transactions are not synced one by one, so a power cut may leave a hole, which is
reported as damage; only a kill of the process leaves a clean end for sure.

What was rejected: comparing the file with SQLite's recovery (which has then checkpointed, and has
overwritten data that a salvage needs); a C extension for the checksums (a log is some MiB, and Python,
64 bytes at a time, takes less than a second for 64 MiB).
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO, Final

from airunner.log.log import LogDamaged

Checksum = tuple[int, int]
Salts = tuple[int, int]

HEADER_BYTES: Final = 32
FRAME_HEADER_BYTES: Final = 24
_MAGIC: Final = 0x377F0682  # checksums over little-endian words; one more: over big-endian ones
_VERSION: Final = 3_007_000
_PAGE_BYTES: Final = (512, 65_536)  # a power of two between these
_MASK: Final = 0xFFFFFFFF
_DATABASE_HEADER_BYTES: Final = 100


@dataclass(frozen=True, slots=True)
class Damage:
    """The first bad frame that has good frames of a later transaction behind it."""

    frame: int  # 1, 2, 3 ...; 0: the header
    offset: int  # in bytes, from the beginning of the file
    page: int  # of the database, as the frame says; 0: the header
    good_after: int  # frames


@dataclass(frozen=True, slots=True)
class Scan:
    """The result of a survey. SQLite keeps the first `committed` frames."""

    page_size: int = 0  # bytes; 0: there is no header
    good: int = 0  # frames before the first bad one
    committed: int = 0  # good frames up to the last commit frame
    dropped: int = 0  # frames of this round behind them, whole or partial
    dropped_bytes: int = 0
    damage: Damage | None = None

    @property
    def notes(self) -> tuple[str, ...]:
        """A sentence if a torn tail was dropped."""
        if not self.dropped:
            return ()
        note = (
            f"dropped a torn tail of {self.dropped} frames ({self.dropped_bytes} bytes) behind frame "
            f"{self.committed} of the write-ahead log: a transaction that was never acknowledged"
        )
        return (note,)


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame and the result of its checks."""

    number: int  # 1, 2, 3 ...
    page: int
    commit: int  # pages of the database after its transaction; 0: it ends no transaction
    data: bytes
    current: bool  # true if its salts are those of this round
    checked: bool  # true if its checksum continues the frame before
    ends: bool  # true if it seems to end a transaction

    @property
    def good(self) -> bool:
        return self.current and self.checked and self.page > 0


@dataclass(frozen=True, slots=True)
class _Head:
    """The fields of the header, or their values guessed from the frames."""

    order: str  # byte order of the checksummed words: "<" or ">"
    page_size: int
    salts: Salts
    seeds: tuple[Checksum, ...]  # that the checksum of the first frame may continue

    @property
    def step(self) -> int:
        return FRAME_HEADER_BYTES + self.page_size


def scan(wal: Path) -> Scan:
    """Surveys a write-ahead log; an empty result if there is no such file.

    Raises LogDamaged, which names the first bad frame, also if the database is missing: SQLite would
    then delete the write-ahead log.
    """
    found = survey(wal)
    if found.damage:
        raise LogDamaged(explained(wal, found.damage))
    database = _database(wal)
    if found.committed and not (database.is_file() and database.stat().st_size):
        raise LogDamaged(
            f"{wal} has {found.committed} frames of a log, but {database} is not there or empty: "
            "restore that file, or move this one away to begin a new log"
        )
    return found


def explained(wal: Path, damage: Damage) -> str:
    """The message for a damaged write-ahead log, with the remedy."""
    database = _database(wal)
    part = (
        f"frame {damage.frame} (page {damage.page}, at byte {damage.offset})"
        if damage.frame
        else "the header"
    )
    return (
        f"{wal}: {part} is damaged, and {damage.good_after} good frames of acknowledged transactions "
        f"follow it: `airunner log check {database}` names all that is damaged; `airunner log "
        f"salvage {database} OUT` writes what can still be read to a new log"
    )


def survey(wal: Path) -> Scan:
    """Surveys like scan(), but returns damage in the result."""
    if not wal.is_file():
        return Scan()
    with wal.open("rb") as file:
        header = file.read(HEADER_BYTES)
        if (head := _head(header)) is not None:
            return _walk(_frames(file, head), head, wal.stat().st_size)
        guessed = _guess(file, header, wal)
        if guessed is None:
            return Scan()
        good = sum(frame.good for frame in _frames(file, guessed))
        if _is_checkpointed(wal, guessed):
            return Scan(page_size=guessed.page_size)
        return Scan(page_size=guessed.page_size, damage=Damage(0, 0, 0, good))


def kept_frames(wal: Path) -> Iterator[Frame]:
    """The frames that SQLite keeps. If the file is damaged, the frames that it should have kept.

    These are the frames of this round up to the last good commit frame. Damaged frames are among them,
    because the undamaged part of their pages may still be of use.
    """
    found = survey(wal)
    last = found.committed
    if not found.page_size:
        return
    with wal.open("rb") as file:
        header = file.read(HEADER_BYTES)
        head = _head(header) or _guess(file, header, wal)
        assert head
        if found.damage:
            ends = (frame for frame in _frames(file, head) if frame.good and frame.commit)
            last = max((frame.number for frame in ends), default=0)
        for frame in _frames(file, head):
            if frame.number > last:
                return
            if frame.current or frame.checked:
                yield frame


def checksum(order: str, data: bytes, before: Checksum = (0, 0)) -> Checksum:
    """SQLite's checksum over pairs of 32-bit words; the size of the data is a multiple of 8 bytes."""
    words = iter(struct.unpack(f"{order}{len(data) // 4}I", data))
    one, two = before
    if len(data) % 64:
        for x, y in zip(words, words, strict=True):
            one = (one + x + two) & _MASK
            two = (two + y + one) & _MASK
        return one, two
    for a, b, c, d, e, f, g, h, i, j, k, m, n, o, p, q in zip(*[words] * 16, strict=True):
        one += a + two
        two += b + one
        one += c + two
        two += d + one
        one += e + two
        two += f + one
        one += g + two
        two += h + one
        one += i + two
        two += j + one
        one += k + two
        two += m + one
        one += n + two
        two += o + one
        one = (one + p + two) & _MASK
        two = (two + q + one) & _MASK
    return one, two


def _walk(frames: Iterator[Frame], head: _Head, size: int) -> Scan:
    """The result for a file with a good header."""
    found, ended, last = Scan(page_size=head.page_size), False, 0
    bad: Frame | None = None
    good_after = later = 0
    for frame in frames:
        if frame.current:
            last = frame.number
        if bad is None and frame.good:
            committed = frame.number if frame.commit else found.committed
            found = replace(found, good=frame.number, committed=committed)
            continue
        if bad is None:
            bad = frame
        elif frame.good:
            good_after += 1
            later += ended
        ended = ended or frame.ends
    if bad is not None and later:
        offset = HEADER_BYTES + (bad.number - 1) * head.step
        return replace(found, damage=Damage(bad.number, offset, bad.page, good_after))
    whole, rest = divmod(max(size - HEADER_BYTES, 0), head.step)
    partial = rest if last == whole else 0  # else it is behind left-overs of another round
    dropped = max(last - found.committed, 0)
    return replace(
        found,
        dropped=dropped + bool(partial),
        dropped_bytes=dropped * head.step + partial,
    )


def _frames(file: BinaryIO, head: _Head) -> Iterator[Frame]:
    """Yields every whole frame."""
    file.seek(HEADER_BYTES)
    befores, number, followed = head.seeds, 0, True
    while len(raw := file.read(head.step)) == head.step:
        number += 1
        page, commit, *salts, one, two = struct.unpack_from(">6I", raw)
        start, data, stored = raw[:8], raw[FRAME_HEADER_BYTES:], (one, two)
        current = tuple(salts) == head.salts
        if (
            not current and not followed
        ):  # a left-over behind a left-over: most of a file may be these
            yield Frame(number, page, commit, data, current=False, checked=False, ends=False)
            befores = (stored,)
            continue
        computed = [_summed(head, start, data, before) for before in befores]
        checked = stored in computed
        if current and not checked and not commit:
            ends = any(_was_commit(head, page, data, before, stored) for before in befores)
        else:  # left-overs that continue each other prove nothing about this round
            ends = commit > 0 and (current or (checked and followed))
        yield Frame(number, page, commit, data, current, checked, ends)
        befores, followed = (stored,) if checked else (stored, computed[0]), current


def _summed(head: _Head, start: bytes, data: bytes, before: Checksum) -> Checksum:
    return checksum(head.order, data, checksum(head.order, start, before))


def _was_commit(head: _Head, page: int, data: bytes, before: Checksum, stored: Checksum) -> bool:
    """True if flipping one bit makes a frame without a commit a good commit frame."""
    starts = (struct.pack(">2I", page, 1 << bit) for bit in range(32))
    return any(_summed(head, start, data, before) == stored for start in starts)


def _head(header: bytes) -> _Head | None:
    """The header as SQLite reads it; None: SQLite rejects it."""
    if len(header) < HEADER_BYTES:
        return None
    magic, version, page_size, _, *salts, one, two = struct.unpack(">8I", header)
    order = ">" if magic & 1 else "<"
    if magic & ~1 != _MAGIC or version != _VERSION or not _is_page_size(page_size):
        return None
    if checksum(order, header[:24]) != (one, two):
        return None
    return _Head(order, page_size, (salts[0], salts[1]), ((one, two),))


def _guess(file: BinaryIO, header: bytes, wal: Path) -> _Head | None:
    """A header that makes frames behind a damaged header good; None: there is none."""
    if len(header) < HEADER_BYTES:
        return None
    page_sizes = {struct.unpack_from(">I", header, 8)[0], _page_size(_database(wal))}
    stored = struct.unpack_from(">2I", header, 24)
    for page_size in filter(_is_page_size, page_sizes):
        for order in "<>":
            file.seek(HEADER_BYTES)
            first = file.read(FRAME_HEADER_BYTES + page_size)
            if len(first) < FRAME_HEADER_BYTES + page_size:
                continue
            salts = struct.unpack_from(">2I", first, 8)
            head = _Head(order, page_size, salts, (stored, checksum(order, header[:24])))
            if any(frame.good for frame in _frames(file, head)):
                return head
    return None


def _is_checkpointed(wal: Path, head: _Head) -> bool:
    """True if the database has the newest version of every page that the frames commit."""
    newest: dict[int, int] = {}
    pages = 0
    pending: dict[int, int] = {}
    with wal.open("rb") as file:
        for frame in _frames(file, head):
            if not frame.good:
                continue
            pending[frame.page] = frame.number
            if frame.commit:
                newest |= pending
                pages = frame.commit
                pending = {}
        if not _database(wal).is_file():
            return False
        with _database(wal).open("rb") as database:
            reserved = database.read(_DATABASE_HEADER_BYTES)[20:21] or b"\0"
            used = head.page_size - reserved[0]  # a checkpoint fills the rest with a checksum
            for page, number in newest.items():
                file.seek(HEADER_BYTES + (number - 1) * head.step + FRAME_HEADER_BYTES)
                database.seek((page - 1) * head.page_size)
                if page <= pages and file.read(used) != database.read(used):
                    return False
    return True


def wal_of(database: Path) -> Path:
    """The write-ahead log of a database."""
    return database.with_name(f"{database.name}-wal")


def _database(wal: Path) -> Path:
    """The database of a write-ahead log."""
    return wal.with_name(wal.name.removesuffix("-wal"))


def _page_size(database: Path) -> int:
    """The page size of a database in bytes, by its header; 0: there is no database."""
    if not database.is_file():
        return 0
    with database.open("rb") as file:
        header = file.read(_DATABASE_HEADER_BYTES)
    size = int.from_bytes(header[16:18], "big")
    return 65_536 if size == 1 else size


def _is_page_size(size: int) -> bool:
    low, high = _PAGE_BYTES
    return low <= size <= high and size & (size - 1) == 0
