"""Bare SQLite: what one thread that does nothing else can commit and read.

The same file settings as a durable log has (write-ahead log, page size, fsync mode), one
table with nothing but rows of the size that a log's have. No index, no checksums, no
encoding, no second thread.
"""

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from struct import Struct
from time import perf_counter
from typing import Final

import apsw

from airunner.bench.report.figures import Sample, rate
from airunner.log.sqlite.schema import PAGE_BYTES

_CHECKPOINT_PAGES: Final = 1_000  # of the write-ahead log; SQLite's own default
_CHANGES: Final = Struct("=8xI")  # of an index of a write-ahead log: its count of transactions


class BareTable:
    """A table in a file of its own, in a folder that exists."""

    def __init__(self, path: Path, *, fsync: str) -> None:
        self._connection = apsw.Connection(str(path))
        for pragma in (
            f"page_size={PAGE_BYTES}",
            "journal_mode=WAL",
            f"synchronous={fsync}",
            f"wal_autocheckpoint={_CHECKPOINT_PAGES}",
        ):
            self._connection.execute(f"PRAGMA {pragma}")
        self._connection.execute("CREATE TABLE rows(place INTEGER PRIMARY KEY, record BLOB)")

    def close(self) -> None:
        self._connection.close()

    def commit(self, seconds: float, *, batch: float, size: int) -> Sample:
        """Rows a second, in transactions of so many on average."""
        row = (os.urandom(size),)
        rows, start, times = 0, perf_counter(), list[float]()
        while (now := perf_counter()) < start + seconds:
            # So that the average is right though each is whole.
            some = max(1, round((len(times) + 1) * batch) - rows)
            with self._connection:
                self._connection.executemany(
                    "INSERT INTO rows(record) VALUES(?)", [row for _ in range(some)]
                )
            rows += some
            times.append(perf_counter() - now)
        sample = rate(rows, perf_counter() - start, times=times)
        return replace(sample, note=f"{batch:.1f} rows a transaction")

    def fill(self, sizes: Sequence[int]) -> None:
        """Add rows of these sizes, in one transaction."""
        with self._connection:
            self._connection.executemany(
                "INSERT INTO rows(record) VALUES(zeroblob(?))", [(size,) for size in sizes]
            )

    def scan(self) -> int:
        """Read every row, in order; how many there are."""
        return sum(1 for _ in self._connection.execute("SELECT * FROM rows ORDER BY place"))


def row_bytes(row: Sequence[str | bytes | int]) -> int:
    """What a row holds, with 8 bytes for each number."""
    return sum(8 if isinstance(value, int) else len(value) for value in row)


def transactions(path: Path) -> int:
    """How many transactions a log in write-ahead mode, which is open somewhere, has counted.

    Wraps at 2**32, and begins anew when the first to open the file does.
    """
    with path.with_name(f"{path.name}-shm").open("rb") as index:
        return int(_CHANGES.unpack(index.read(_CHANGES.size))[0])
