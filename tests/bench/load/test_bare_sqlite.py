"""The bare SQLite tables, the baseline of a durable log."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import apsw
import pytest

from airunner.bench.load.bare_sqlite import BareTable, row_bytes, transactions


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "bare.db"


@pytest.fixture
def table(path: Path) -> Iterator[BareTable]:
    with closing(BareTable(path, fsync="normal")) as table:
        yield table


def test_every_row_that_counts_is_there(table: BareTable) -> None:
    sample = table.commit(0.05, batch=3.0, size=100)
    assert table.scan() == sample.count > 0


@pytest.mark.parametrize("batch", [1.0, 2.5, 64.0])
def test_transactions_are_as_large_as_asked_for_on_average(table: BareTable, batch: float) -> None:
    sample = table.commit(0.05, batch=batch, size=100)
    assert sample.count == pytest.approx(len(sample.times) * batch, abs=1)


def test_transactions_of_an_open_file_are_counted_from_outside(
    table: BareTable, path: Path
) -> None:
    before = transactions(path)
    sample = table.commit(0.05, batch=4.0, size=100)
    assert transactions(path) - before == len(sample.times)


def test_a_bare_table_waits_for_the_disk_as_a_log_does(tmp_path: Path) -> None:
    for fsync, level in (("full", 2), ("normal", 1)):
        with closing(BareTable(tmp_path / fsync, fsync=fsync)) as table:
            connection = table._connection
            assert connection.pragma("synchronous") == level
            assert connection.pragma("journal_mode") == "wal"


def test_rows_are_filled_in_with_the_sizes_that_are_given(table: BareTable, path: Path) -> None:
    table.fill([10, 20, 30])
    with closing(apsw.Connection(str(path))) as other:
        sizes = other.execute("SELECT length(record) FROM rows ORDER BY place").fetchall()
    assert [size for (size,) in sizes] == [10, 20, 30]


def test_a_number_counts_eight_bytes_in_a_row() -> None:
    assert row_bytes((1, "job", b"ab")) == 13
