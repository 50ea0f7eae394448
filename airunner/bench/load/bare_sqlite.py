"""The baseline of bare SQLite: the rows that one dedicated thread can commit and read.

The file has the settings of a durable log (write-ahead log, page size, fsync mode). Its single
table has rows of the size of a log's rows. No index, no checksums, no encoding, no second thread.
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

_CHECKPOINT_PAGES: Final = 1_000  # of the write-ahead log; SQLite's default
_CHANGES: Final = Struct("=8xI")  # the transaction counter (iChange) in a wal-index header


class BareTable:
    """A SQLite table in a file of its own. The folder of `path` must exist."""

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
        """Measures committed rows a second, in transactions of `batch` rows on average."""
        row = (os.urandom(size),)
        rows, start, times = 0, perf_counter(), list[float]()
        while (now := perf_counter()) < start + seconds:
            # A transaction has a whole number of rows; this number keeps the average at `batch`.
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
        """Adds rows of these sizes in bytes, in one transaction."""
        with self._connection:
            self._connection.executemany(
                "INSERT INTO rows(record) VALUES(zeroblob(?))", [(size,) for size in sizes]
            )

    def scan(self) -> int:
        """Reads every row in order; returns the number of rows."""
        return sum(1 for _ in self._connection.execute("SELECT * FROM rows ORDER BY place"))


def row_bytes(row: Sequence[str | bytes | int]) -> int:
    """The bytes of a row's values; a number counts as 8 bytes."""
    return sum(8 if isinstance(value, int) else len(value) for value in row)


def transactions(path: Path) -> int:
    """The number of transactions of an open log in write-ahead mode, from its wal-index.

    The counter wraps at 2**32, and restarts when the first connection opens the file.
    """
    with path.with_name(f"{path.name}-shm").open("rb") as index:
        return int(_CHANGES.unpack(index.read(_CHANGES.size))[0])
