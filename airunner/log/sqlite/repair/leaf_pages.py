"""The rows in one leaf page of a table, by SQLite's file format.

    page    type (13: a leaf of a table), free block, cells, start of content, fragments; then the
            offset of each cell, 2 bytes each. In page 1 the file's header of 100 bytes comes first
    cell    size of the record, rowid, the beginning of the record, and, if the record does not fit,
            the number of the first overflow page
    record  size of its head, the type of each column; then the columns

A page may be damaged anywhere, so nothing is trusted: a value that makes no sense ends its row, and
the caller checks the checksum of each row.
"""

from collections.abc import Iterator
from typing import Final

from airunner.log.sqlite.repair.pages import Page, Pages
from airunner.log.sqlite.rows import FACT_COLUMNS, REPORT_COLUMNS

Value = int | str | bytes | None
Row = tuple[Value, ...]

LEAF: Final = 13
FACT: Final = len(FACT_COLUMNS.split(", "))
REPORT: Final = len(REPORT_COLUMNS.split(", "))
_RECORD_BYTES_MAX: Final = 1 << 30  # SQLite's own limit, far above any row of a log
_INTEGERS: Final = {1: 1, 2: 2, 3: 3, 4: 4, 5: 6, 6: 8}  # size in bytes, by type


class NotARow(Exception):
    """The bytes are no row."""


def is_leaf(page: Page) -> bool:
    """True if rows may be on the page, which is unknown for a damaged page."""
    return not page.sound or page.data[_start(page)] == LEAF


def rows(pages: Pages, page: Page) -> Iterator[Row | int]:
    """Yields each row of facts or of reports on the page, or the rowid of a row that makes no sense.

    The first column is the rowid. Rows of other tables are left out.
    """
    start = _start(page)
    count = int.from_bytes(page.data[start + 3 : start + 5], "big")
    for cell in range(min(count, pages.usable // 4)):
        at = start + 8 + 2 * cell
        rowid = 0
        try:
            cell_at = int.from_bytes(page.data[at : at + 2], "big")
            size, cell_at = _varint(page.data, cell_at)
            rowid, cell_at = _varint(page.data, cell_at)
            columns = _columns(_record(pages, page.data, cell_at, size))
            if len(columns) in (FACT, REPORT):
                yield (rowid, *columns[1:])
        except (NotARow, IndexError, UnicodeDecodeError):
            yield rowid


def _start(page: Page) -> int:
    return 100 if page.number == 1 else 0


def _record(pages: Pages, data: bytes, at: int, size: int) -> bytes:
    """The bytes of a record that begins at an offset, its overflow pages included."""
    usable = pages.usable
    if size > _RECORD_BYTES_MAX:
        raise NotARow
    if size <= usable - 35:
        return data[at : at + size]
    least = (usable - 12) * 32 // 255 - 23
    local = least + (size - least) % (usable - 4)
    local = local if local <= usable - 35 else least
    parts, left = [data[at : at + local]], size - local
    number = int.from_bytes(data[at + local : at + local + 4], "big")
    while left > 0:
        page = pages.data(number) if 0 < number <= pages.count else b""
        if len(page) < usable:
            raise NotARow
        parts.append(page[4 : min(usable, 4 + left)])
        left -= len(parts[-1])
        number = int.from_bytes(page[:4], "big")
    return b"".join(parts)


def _columns(record: bytes) -> list[Value]:
    size, at = _varint(record, 0)
    types, values = [], []
    while at < size:
        kind, at = _varint(record, at)
        types.append(kind)
    for kind in types:
        value, at = _value(record, at, kind)
        values.append(value)
    if at != len(record):
        raise NotARow
    return values


def _value(record: bytes, at: int, kind: int) -> tuple[Value, int]:
    """A column and the offset of its end."""
    if kind == 0:
        return None, at
    if kind in (8, 9):
        return kind - 8, at
    if kind in _INTEGERS:
        end = at + _INTEGERS[kind]
        return int.from_bytes(record[at:end], "big", signed=True), end
    if kind < 12:
        raise NotARow
    end = at + (kind - 12) // 2
    data = record[at:end]
    return data if kind % 2 == 0 else data.decode(), end


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """A number of 1 to 9 bytes, high bits first, and the offset of its end."""
    value = 0
    for each in range(8):
        byte = data[at + each]
        value = value << 7 | byte & 0x7F
        if byte < 0x80:
            return value, at + each + 1
    return value << 8 | data[at + 8], at + 9
