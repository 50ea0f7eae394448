"""What a write-ahead log still holds, found before SQLite opens it.

SQLite reads a `-wal` file up to its first bad frame and drops the rest without a word. That is
right for a torn tail, which nobody was told of, and wrong for a flipped bit with acknowledged
transactions behind it. So the file is read here first, frame by frame, by SQLite's file format.

How it works
============

    header   magic, version, page size, round, salt, salt, checksum, checksum     32 bytes
    frame    page, pages of the database if it commits else 0, salt, salt,
             checksum, checksum, and the page                                      24 bytes + page

A checksum runs on from frame to frame. A frame is good while its salts are the header's and its
checksum follows from the one before. Behind the first bad frame one is good if its salts are
the header's and its checksum follows from the checksum that the frame before it stores, or that
is computed for that frame; so one damaged frame hides no other.

    torn tail    no good frame stands in a later transaction than the first bad frame: SQLite had
                 not answered for that transaction, which is dropped, and said
    damage       one does. With synchronous=FULL a transaction is synced before the next is
                 written, so no power cut can leave that
    left-overs   frames of other salts behind the end are of an earlier round: nothing to say

The end of the transaction of a bad frame is the first commit that can be trusted from it on. It
may be the bad frame's own: if its salts are right; if its checksum is; or if one flipped bit
in the number of pages makes it so.

A header that is damaged makes SQLite drop the whole file. Frames that follow each other behind
it are damage too, unless the database has the newest of each page already: then they are of an
earlier round, and nothing is lost.

What cannot be told apart: in the last transaction, a flipped bit and a torn tail; both are
dropped and said. A cut between two transactions is a shorter log, and not seen here at all. With
synchronous=NORMAL transactions are not synced one by one, so a power cut may leave a hole that
is reported as damage; only a kill of the process is then sure to leave a clean end.

What was rejected: comparing what SQLite has recovered with the file (it has then checkpointed
and overwritten what a salvage needs); one pass of a C extension (a log is some MiB, and a
checksum of 64 bytes at a time takes Python less than a second for 64 MiB).
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
    """The first bad frame that good ones of a later transaction follow."""

    frame: int  # 1, 2, 3 ...; 0: the header
    offset: int  # bytes from the beginning of the file
    page: int  # of the database, as the frame says; 0: the header
    good_after: int  # frames


@dataclass(frozen=True, slots=True)
class Scan:
    """What a write-ahead log holds. SQLite keeps `committed` frames of it."""

    page_size: int = 0  # bytes; 0: there is no header
    good: int = 0  # frames from the first on without a bad one
    committed: int = 0  # of these, up to the last that commits
    dropped: int = 0  # frames of this round behind those, whole or not
    dropped_bytes: int = 0
    damage: Damage | None = None

    @property
    def notes(self) -> tuple[str, ...]:
        """What is worth saying of a log that is not damaged."""
        if not self.dropped:
            return ()
        said = (
            f"dropped a torn tail of {self.dropped} frames ({self.dropped_bytes} bytes) behind frame "
            f"{self.committed} of the write-ahead log: a transaction that nobody was answered for"
        )
        return (said,)


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame, and whether it is what was written."""

    number: int  # 1, 2, 3 ...
    page: int
    commit: int  # pages of the database after the transaction that it ends; 0: it ends none
    data: bytes
    current: bool  # its salts are those of this round
    checked: bool  # its checksum follows from the frame before
    ends: bool  # a transaction, as far as can be told

    @property
    def good(self) -> bool:
        return self.current and self.checked and self.page > 0


@dataclass(frozen=True, slots=True)
class _Head:
    """What a header says, or what its frames say in its place."""

    order: str  # of the words that are summed: "<" or ">"
    page_size: int
    salts: Salts
    seeds: tuple[Checksum, ...]  # from which the first frame's checksum may follow

    @property
    def step(self) -> int:
        return FRAME_HEADER_BYTES + self.page_size


def scan(wal: Path) -> Scan:
    """What the write-ahead log holds; nothing if there is no such file.

    Raises LogDamaged, which names the first bad frame; also if the database is not there, because
    SQLite would then delete what is.
    """
    found = survey(wal)
    if found.damage:
        raise LogDamaged(explained(wal, found.damage))
    database = _database(wal)
    if found.committed and not (database.is_file() and database.stat().st_size):
        raise LogDamaged(
            f"{wal} has {found.committed} frames of a log, but {database} is not there or empty: put "
            "that back, or move this file away to begin a new log"
        )
    return found


def explained(wal: Path, damage: Damage) -> str:
    """What is damaged, and what to do about it."""
    database = _database(wal)
    what = (
        f"frame {damage.frame} (page {damage.page}, at byte {damage.offset})"
        if damage.frame
        else "the header"
    )
    return (
        f"{wal}: {what} is damaged, and {damage.good_after} good frames follow it, which hold what "
        f"was acknowledged: `airunner log check {database}` names all that is damaged; `airunner log "
        f"salvage {database} OUT` writes what can still be read to a new log"
    )


def survey(wal: Path) -> Scan:
    """As scan(), but damage is told in the answer."""
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
    """The frames that SQLite keeps; if the file is damaged, what was written of all that it should.

    Those are the frames of this round up to the last good one that ends a transaction. The damaged
    ones are among them, because of a page that is wrong in one place the rest may still do.
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
    """SQLite's sum over pairs of 32-bit words; the size of the data is a multiple of 8 bytes."""
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
    """The verdict over a log whose header is good."""
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
    partial = rest if last == whole else 0  # else it lies behind the left-overs of another round
    dropped = max(last - found.committed, 0)
    return replace(
        found,
        dropped=dropped + bool(partial),
        dropped_bytes=dropped * head.step + partial,
    )


def _frames(file: BinaryIO, head: _Head) -> Iterator[Frame]:
    """Every whole frame, one at a time."""
    file.seek(HEADER_BYTES)
    befores, number, followed = head.seeds, 0, True
    while len(raw := file.read(head.step)) == head.step:
        number += 1
        page, commit, *salts, one, two = struct.unpack_from(">6I", raw)
        start, data, stored = raw[:8], raw[FRAME_HEADER_BYTES:], (one, two)
        current = tuple(salts) == head.salts
        if not current and not followed:  # a left-over behind another: most of a file may be these
            yield Frame(number, page, commit, data, current=False, checked=False, ends=False)
            befores = (stored,)
            continue
        computed = [_summed(head, start, data, before) for before in befores]
        checked = stored in computed
        if current and not checked and not commit:
            ends = any(_was_commit(head, page, data, before, stored) for before in befores)
        else:  # what left-overs say of each other is no word about this round
            ends = commit > 0 and (current or (checked and followed))
        yield Frame(number, page, commit, data, current, checked, ends)
        befores, followed = (stored,) if checked else (stored, computed[0]), current


def _summed(head: _Head, start: bytes, data: bytes, before: Checksum) -> Checksum:
    return checksum(head.order, data, checksum(head.order, start, before))


def _was_commit(head: _Head, page: int, data: bytes, before: Checksum, stored: Checksum) -> bool:
    """Whether a frame that ends no transaction ended one before one bit of that flipped."""
    starts = (struct.pack(">2I", page, 1 << bit) for bit in range(32))
    return any(_summed(head, start, data, before) == stored for start in starts)


def _head(header: bytes) -> _Head | None:
    """The header as SQLite takes it; None if it takes none."""
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
    """The header under which frames behind a damaged one are good; None: none are."""
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
    """Whether the database has the newest version of every page that the frames commit."""
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
            used = head.page_size - reserved[0]  # the rest is a checksum that a checkpoint adds
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
    """The database that a write-ahead log belongs to."""
    return wal.with_name(wal.name.removesuffix("-wal"))


def _page_size(database: Path) -> int:
    """In bytes, as the database's header says; 0: it says none."""
    if not database.is_file():
        return 0
    with database.open("rb") as file:
        header = file.read(_DATABASE_HEADER_BYTES)
    size = int.from_bytes(header[16:18], "big")
    return 65_536 if size == 1 else size


def _is_page_size(size: int) -> bool:
    low, high = _PAGE_BYTES
    return low <= size <= high and size & (size - 1) == 0
