"""Segment files of numbered records, appended at the end and deleted from the start.

    FOLDER/00000000000000000001        the file whose first record begins with number 1
    FOLDER/00000000000000000163        the next file; each is deleted once its numbers are forgotten

    record   size of the body (4 bytes), first number (8), count of numbers (4), CRC-32 (4), body

Rules

1. The record that takes a file past `segment_bytes` ends the file. A file is deleted once all its
   records are forgotten, the newest file too if it has ended. So disk space comes back while an
   attempt runs, and the forgotten records that are not deleted yet take less than one file.
2. The CRC covers the head and the body. A record with another CRC is damage, and no record
   behind it is read: numbers would be missing.
3. Only the newest file may end within a record: its writer was killed there, before it sent the
   record to the server. That partial record is ignored.
4. A failed append leaves the earlier records as they were.

Rejected: one file with a hole punched at its start, which not every file system supports; one file
that is rewritten without its start, which copies a long tail again and again; an SQLite table,
which costs more for one record than these files cost for a thousand.
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
    first: int  # the first number, which is the file's name
    path: Path
    size: int  # bytes of its complete records


@dataclass(frozen=True, slots=True)
class Record:
    """An encoded report with its `width` numbers from `first` on."""

    first: int
    width: int
    body: bytes


class Segments:
    """The records in one existing folder."""

    def __init__(self, folder: Path, segment_bytes: int) -> None:
        """Opens the records that the folder holds. Raises OSError."""
        self._folder = folder
        self._segment_bytes = segment_bytes
        self._output: int | None = None  # the newest file, while it may grow
        self._cursor = (0, 0, 0)  # number, file and offset behind the last record that was read
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
        """The total size of the files in bytes."""
        return sum(each.size for each in self._files)

    def append(self, first: int, width: int, body: bytes) -> None:
        """Writes one record. An OSError leaves the files unchanged."""
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
            while written < size:  # the disk is full: the write of the rest raises ENOSPC
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
        """Yields the records with numbers above `after`, in order.

        At most one file is in memory at a time. Raises SpoolDamaged.
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
        """Deletes each file whose numbers are all at most `upto`."""
        while self._files:
            following = self._files[1].first if len(self._files) > 1 else self.last + 1
            if following - 1 > upto or (len(self._files) == 1 and self._output is not None):
                return
            with suppress(OSError):  # a file that cannot be deleted does no harm
                self._files[0].path.unlink()
            self._files.popleft()

    def close(self) -> None:
        """Ends the newest file: the next append starts another."""
        if self._output is not None:
            os.close(self._output)
            self._output = None

    def _find_end(self) -> None:
        """Sets the last number, and the end of the complete records in the newest file."""
        newest = self._files[-1]
        self.last = newest.first - 1
        complete = 0
        with suppress(SpoolDamaged):
            for end, record in _records(newest, 0, torn=True):
                complete, self.last = end, record.first + record.width - 1
            newest.size = complete


def _records(segment: _Segment, offset: int, *, torn: bool = False) -> Iterator[tuple[int, Record]]:
    """Yields each record from an offset on, with the offset of its end.

    `torn`: the last record may be incomplete, and is left out. Raises SpoolDamaged.
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
