"""The pages of a log on the disk, read without SQLite, which gives up at the first bad page.

A page has several versions: the frames of the write-ahead log, newest first, and the page of the
database file. The newest version counts; an older one is used only if every newer one is damaged. A
page of the file is sound if its own checksum fits, a frame if it is a good frame (its page gets a
checksum of its own at the checkpoint).

Free pages still contain deleted rows. SQLite records them twice: in the pointer map, whose pages lie
among the others and have the type of each page, and in the free list, a chain that begins in page 1.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from airunner.log.sqlite.schema import CHECKSUM_BYTES, PAGE_BYTES
from airunner.log.sqlite.wal import FRAME_HEADER_BYTES, HEADER_BYTES, checksum, kept_frames, wal_of

_PENDING_BYTE: Final = 0x40000000  # SQLite locks the page of this byte, and never uses it
_FREE, _OVERFLOWS = 2, (3, 4)  # types in a pointer map
_PAGE_SIZES: Final = tuple(512 << n for n in range(8))


@dataclass(frozen=True, slots=True)
class Page:
    number: int  # 1, 2, 3 ...
    data: bytes
    sound: bool


class Pages:
    """The pages of one log, while no process writes it."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("rb")
        self._wal = wal_of(path).open("rb") if wal_of(path).is_file() else None
        self.size, self.reserved = self._layout()
        self._frames: dict[int, list[tuple[int, bool]]] = {}  # by page: number, true if good
        self.count = path.stat().st_size // self.size
        for frame in kept_frames(wal_of(path)):
            self._frames.setdefault(frame.page, []).append((frame.number, frame.good))
        good = (page for page, frames in self._frames.items() if any(good for _, good in frames))
        self.count = max(self.count, *good, 0)
        self._free = self._free_list()

    @property
    def usable(self) -> int:
        """The bytes of a page without the reserved bytes at its end."""
        return self.size - self.reserved

    def versions(self, number: int) -> Iterator[Page]:
        """Yields the versions of a page, newest first, up to the first sound one."""
        for frame, good in reversed(self._frames.get(number, [])):
            assert self._wal
            self._wal.seek(HEADER_BYTES + (frame - 1) * (FRAME_HEADER_BYTES + self.size))
            yield Page(number, self._wal.read(FRAME_HEADER_BYTES + self.size)[-self.size :], good)
            if good:
                return
        self._file.seek((number - 1) * self.size)
        data = self._file.read(self.size)
        if len(data) == self.size:
            yield Page(number, data, self._is_sound(data))

    def newest(self, number: int) -> Page | None:
        return next(self.versions(number), None)

    def data(self, number: int) -> bytes:
        """The bytes of the newest version, sound or not; no bytes if there is none."""
        if number in self._frames:
            page = self.newest(number)
            return page.data if page else b""
        self._file.seek((number - 1) * self.size)
        return self._file.read(self.size)

    def used(self) -> Iterator[int]:
        """Yields the number of every page that may be part of a tree."""
        each = self.usable // 5  # entries in a page of it
        for first in range(1, self.count + 1, each + 1):
            # A page of the map comes before the pages that it describes; page 1 has no entry.
            numbers = range(first + 2, min(first + 1 + each, self.count) + 1)
            mapped = self.newest(first + 1)
            if first == 1:
                yield 1
            for number in numbers:
                if number == _PENDING_BYTE // self.size + 1:
                    continue
                kind = mapped.data[5 * (number - first - 2)] if mapped and mapped.sound else None
                if kind not in (_FREE, *_OVERFLOWS) and (kind or not self._free[number]):
                    yield number

    def close(self) -> None:
        self._file.close()
        if self._wal:
            self._wal.close()

    def _layout(self) -> tuple[int, int]:
        """The size of a page and its reserved bytes."""
        header = self._file.read(100).ljust(100, b"\0")
        size = int.from_bytes(header[16:18], "big")
        size = 65_536 if size == 1 else size
        size = size if size in _PAGE_SIZES else PAGE_BYTES
        self._file.seek(size)
        mapped = self._file.read(size)
        checked = len(mapped) == size and any(mapped) and _is_checked(mapped)
        return size, CHECKSUM_BYTES if checked or header[20] == CHECKSUM_BYTES else 0

    def _is_sound(self, data: bytes) -> bool:
        return not self.reserved or _is_checked(data)

    def _free_list(self) -> bytearray:
        """For each page, 1 if the free list has it."""
        free = bytearray(self.count + 1)
        trunk = self._number(self.newest(1), 32)
        while 0 < trunk <= self.count and not free[trunk]:
            free[trunk] = True
            page = self.newest(trunk)
            for at in range(min(self._number(page, 4), self.usable // 4 - 2)):
                if 0 < (number := self._number(page, 8 + 4 * at)) <= self.count:
                    free[number] = True
            trunk = self._number(page, 0)
        return free

    @staticmethod
    def _number(page: Page | None, at: int) -> int:
        return int(struct.unpack_from(">I", page.data, at)[0]) if page and page.sound else 0


def _is_checked(data: bytes) -> bool:
    """True if a page ends with its checksum."""
    return struct.pack("<2I", *checksum("<", data[:-CHECKSUM_BYTES])) == data[-CHECKSUM_BYTES:]
