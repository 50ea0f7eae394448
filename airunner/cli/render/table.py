"""Tables for people: columns as wide as they need to be, and lines that fit their terminal.

Widths are counted in the cells of a terminal, of which a CJK character takes two and a
combining one none. A line that is too long would wrap and pull the columns apart, so where
there is no room whole columns go, the least needed first, and then the end of the line.
"""

from collections.abc import Sequence
from typing import Final

from rich.cells import cell_len, set_cell_size

_GAP: Final = "  "
_LAST_MIN: Final = 8  # cells of the last column, for which others make room


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Columns as wide as they need to be, the last one open."""
    widths = _widths(rows)[:-1]
    return [
        _GAP.join(
            [*(_padded(cell, width) for cell, width in zip(row[:-1], widths, strict=True)), row[-1]]
        )
        for row in rows
    ]


def fitted(rows: Sequence[Sequence[str]], width: int, spare: Sequence[int]) -> list[str]:
    """The same within so many cells; `spare` names the columns that may go, in that order."""
    columns = list(range(len(rows[0]))) if rows else []
    for each in spare:
        needed = [
            size + len(_GAP) for size in _widths([[row[at] for at in columns] for row in rows])
        ]
        if sum(needed[:-1]) + _LAST_MIN <= width:
            break
        columns.remove(each)
    return [cropped(line, width) for line in aligned([[row[at] for at in columns] for row in rows])]


def cropped(text: str, width: int) -> str:
    """At most so many cells of a text, with a mark where it was cut."""
    return text if cell_len(text) <= width else set_cell_size(text, width - 1).rstrip() + "…"


def _widths(rows: Sequence[Sequence[str]]) -> list[int]:
    return [max(map(cell_len, column)) for column in zip(*rows, strict=True)]


def _padded(cell: str, width: int) -> str:
    return cell + " " * (width - cell_len(cell))
