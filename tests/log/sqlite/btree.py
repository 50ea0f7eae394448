"""Where the rows of a table are in a SQLite file, byte by byte, by SQLite's file format.

It is written here a second time so that a test can damage one column of one row and nothing else;
what reads the log has no part in it. The file has no write-ahead log.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

_HEADER_BYTES: Final = 100  # of the file, on its first page
_LEAF, _INTERIOR = 0x0D, 0x05  # of a table
_WIDTHS: Final = {0: 0, 1: 1, 2: 2, 3: 3, 4: 4, 5: 6, 6: 8, 7: 8, 8: 0, 9: 0}  # by serial type


@dataclass(frozen=True, slots=True)
class Row:
    """The bytes of a row: for each column those of its value, as offsets into the file."""

    key: int  # its INTEGER PRIMARY KEY
    columns: Mapping[str, tuple[int, ...]]  # where a value takes no byte: those of its type


class Btree:
    """A SQLite file as its bytes."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        size = int.from_bytes(data[16:18], "big")
        self.page_size = 65_536 if size == 1 else size
        self.pages = len(data) // self.page_size
        self._usable = self.page_size - data[20]

    def rows(self, root: int, columns: list[str]) -> Iterator[Row]:
        """The rows of the table with this root page; its first column is the key."""
        at = (root - 1) * self.page_size
        head = at + (_HEADER_BYTES if root == 1 else 0)
        kind, cells = self.data[head], self._number(head + 3, 2)
        pointers = head + (8 if kind == _LEAF else 12)
        starts = [at + self._number(pointers + 2 * n, 2) for n in range(cells)]
        if kind == _LEAF:
            yield from (self._row(start, columns) for start in starts)
            return
        assert kind == _INTERIOR
        for start in starts:
            yield from self.rows(self._number(start, 4), columns)
        yield from self.rows(self._number(head + 8, 4), columns)

    def _row(self, start: int, columns: list[str]) -> Row:
        size, at = self._varint(start)
        key, body = self._varint(at)
        places = self._payload(body, size)
        head, _ = self._varint(body)
        types, cursor = list[tuple[int, range]](), self._varint(body)[1]
        while cursor < body + head:
            type, after = self._varint(cursor)
            types.append((type, range(cursor, after)))
            cursor = after
        found = {columns[0]: tuple(range(at, body))}
        offset = head + _width(types[0][0])
        for name, (type, said) in zip(columns[1:], types[1:], strict=True):
            width = _width(type)
            found[name] = tuple(places[offset : offset + width]) or tuple(said)
            offset += width
        assert offset == size
        return Row(key, found)

    def _payload(self, body: int, size: int) -> list[int]:
        """Where each byte of a payload is: on its own page, and on those it flows over to."""
        usable = self._usable
        least, most = (usable - 12) * 32 // 255 - 23, usable - 35
        local = least + (size - least) % (usable - 4)
        local = size if size <= most else local if local <= most else least
        places = list(range(body, body + local))
        link = body + local
        while len(places) < size:
            page = (self._number(link, 4) - 1) * self.page_size
            held = min(size - len(places), usable - 4)
            places += range(page + 4, page + 4 + held)
            link = page
        return places

    def _number(self, at: int, size: int) -> int:
        return int.from_bytes(self.data[at : at + size], "big")

    def _varint(self, at: int) -> tuple[int, int]:
        """The number there, and where it ends."""
        number = 0
        for n in range(9):
            byte = self.data[at + n]
            if n == 8:
                return number << 8 | byte, at + 9
            number = number << 7 | byte & 0x7F
            if byte < 0x80:
                return number, at + n + 1
        raise AssertionError("a varint has no tenth byte")


def _width(type: int) -> int:
    """In bytes, of a value of this serial type."""
    return _WIDTHS[type] if type in _WIDTHS else (type - 12) // 2
