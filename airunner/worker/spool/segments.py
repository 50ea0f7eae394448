"""Numbered records in files, appended at one end and let go of at the other.

    FOLDER/00000000000000000001        the file whose first record begins with number 1
    FOLDER/00000000000000000163        the next; files go one by one, as numbers are forgotten

    record   size of the body (4 bytes), first number (8), how many numbers (4), CRC-32 (4), body

Rules

1. A file is ended by the record that takes it past `segment_bytes`. It is deleted when
   all of it is forgotten, the newest too once it has ended. So space comes back while an attempt goes
   on, and what is forgotten but not yet deleted is less than one file.
2. The CRC is over the head and the body. A record that it does not fit is damage, and nothing
   behind it is read: numbers would be missing.
3. Only the newest file may end within a record: its writer was killed there, before anybody
   had heard of it. That rest is left out.
4. An append that fails leaves what was there as it was.

Rejected: one file with a hole punched at its start, which not every file system can; one file
that is written anew, shorter, which copies a long tail again and again; a table of SQLite,
which does more for each record than this does for a thousand.
"""

import os
import struct
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from zlib import crc32

from airunner.worker.spool.spool import SpoolDamaged

_HEAD: Final = struct.Struct(">IQI")
_CRC: Final = struct.Struct(">I")
HEAD_BYTES: Final = _HEAD.size + _CRC.size


@dataclass(slots=True)
class _Segment:
    first: int  # the number that the file is named after
    path: Path
    size: int  # bytes, of whole records


@dataclass(frozen=True, slots=True)
class Record:
    first: int
    width: int
    body: bytes


class Segments:
    """The records in one folder, which is there."""

    def __init__(self, folder: Path, segment_bytes: int) -> None:
        """Begin with what is in the folder. Raises OSError."""
        self._folder = folder
        self._segment_bytes = segment_bytes
        self._output: int | None = None  # the newest file, while it may grow
        self._cursor = (0, 0, 0)  # number, file and offset behind what was read last
        self.last = 0  # the highest number
        self._files = deque(
            _Segment(int(path.name), path, path.stat().st_size)
            for path in sorted(folder.iterdir())
            if path.name.isdigit()
        )
        if self._files:
            self._find_end()

    @property
    def size(self) -> int:
        """Bytes in all files."""
        return sum(each.size for each in self._files)

    def append(self, first: int, width: int, body: bytes) -> None:
        """Write one record. Raises OSError, and then nothing has changed."""
        if self._output is None:
            path = self._folder / f"{first:020}"
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC
            self._output = os.open(path, flags, 0o600)
            self._files.append(_Segment(first, path, 0))
        newest = self._files[-1]
        head = _HEAD.pack(len(body), first, width)
        parts = (head, _CRC.pack(crc32(body, crc32(head))), body)
        size = HEAD_BYTES + len(body)
        try:
            written = os.writev(self._output, parts)
            while written < size:  # the disk is full, and says so when it is asked for the rest
                written += os.write(self._output, b"".join(parts)[written:])
        except OSError:
            with suppress(OSError):
                os.ftruncate(self._output, newest.size)
            raise
        newest.size += size
        self.last = first + width - 1
        if newest.size >= self._segment_bytes:
            self.close()

    def read(self, after: int) -> Iterator[Record]:
        """The records that have numbers above `after`, from the first on.

        One file at most is in memory at a time. Raises SpoolDamaged.
        """
        number, at, offset = self._cursor
        if number != after or not any(each.first == at for each in self._files):
            offset = 0
            at = max((f.first for f in self._files if f.first <= after + 1), default=0)
        for segment in [each for each in self._files if each.first >= at]:
            for end, record in _records(segment, offset):
                if record.first + record.width - 1 > after:
                    yield record
                    self._cursor = (record.first + record.width - 1, segment.first, end)
            offset = 0

    def forget(self, upto: int) -> None:
        """Delete each file that has no number above `upto`."""
        while self._files:
            following = self._files[1].first if len(self._files) > 1 else self.last + 1
            if following - 1 > upto or (len(self._files) == 1 and self._output is not None):
                return
            with suppress(OSError):  # what cannot be deleted is in nobody's way
                self._files[0].path.unlink()
            self._files.popleft()

    def close(self) -> None:
        """Write no more to the newest file."""
        if self._output is not None:
            os.close(self._output)
            self._output = None

    def _find_end(self) -> None:
        """The last number, and where whole records end in the newest file."""
        newest = self._files[-1]
        self.last = newest.first - 1
        whole = 0
        with suppress(SpoolDamaged):
            for end, record in _records(newest, 0, torn=True):
                whole, self.last = end, record.first + record.width - 1
            newest.size = whole


def _records(segment: _Segment, offset: int, *, torn: bool = False) -> Iterator[tuple[int, Record]]:
    """Each whole record from an offset on, with where it ends; `torn`: the last need not be whole.

    Raises SpoolDamaged.
    """
    try:
        with open(segment.path, "rb", buffering=0) as file:
            file.seek(offset)
            data = file.read(segment.size - offset)
    except OSError as error:
        raise SpoolDamaged(f"{segment.path}: {error.strerror}") from None
    if len(data) != segment.size - offset:
        raise SpoolDamaged(f"{segment.path} is shorter than it was")
    view, at = memoryview(data), 0
    while at < len(data):
        body = at + HEAD_BYTES
        size, first, width = _HEAD.unpack_from(data, at) if body <= len(data) else (0, 0, 0)
        if body + size > len(data):
            if torn:
                return
            raise SpoolDamaged(f"{segment.path} ends within a record, at byte {offset + at}")
        (crc,) = _CRC.unpack_from(data, at + _HEAD.size)
        if crc != crc32(view[body : body + size], crc32(view[at : at + _HEAD.size])):
            raise SpoolDamaged(f"{segment.path}: the record at byte {offset + at} is damaged")
        at = body + size
        yield offset + at, Record(first, width, data[body:at])
