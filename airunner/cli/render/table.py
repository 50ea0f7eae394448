"""Tables for people: aligned columns, and lines that fit the terminal.

Widths are counted in terminal cells: a CJK character takes two, a combining character none. A line
that is too long would wrap and break the columns. So if the terminal is too narrow, whole columns
are dropped, the least needed first, and then the end of each line is cut. Cells are escaped
(terminal_text.py) before they are measured.
"""

from collections.abc import Sequence
from typing import Final

from rich.cells import cell_len, set_cell_size

from airunner.cli.render.terminal_text import printable

_GAP: Final = "  "
_LAST_MIN: Final = 8  # cells of the last column; other columns are dropped to keep them


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines with columns as wide as their widest cell. The last column is not padded."""
    rows = [[printable(cell) for cell in row] for row in rows]
    widths = _widths(rows)[:-1]
    return [
        _GAP.join(
            [*(_padded(cell, width) for cell, width in zip(row[:-1], widths, strict=True)), row[-1]]
        )
        for row in rows
    ]


def fitted(rows: Sequence[Sequence[str]], width: int, spare: Sequence[int]) -> list[str]:
    """Aligned lines of at most `width` cells. `spare`: columns that may be dropped, in this order."""
    rows = [[printable(cell) for cell in row] for row in rows]
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
    """A text of at most `width` cells; a longer text is cut and ends with an ellipsis."""
    text = printable(text)
    return text if cell_len(text) <= width else set_cell_size(text, width - 1).rstrip() + "…"


def _widths(rows: Sequence[Sequence[str]]) -> list[int]:
    return [max(map(cell_len, column)) for column in zip(*rows, strict=True)]


def _padded(cell: str, width: int) -> str:
    return cell + " " * (width - cell_len(cell))
