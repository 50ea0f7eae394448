"""What a spool keeps, and what it gives again."""

import pytest

from airunner.jobs import Instant, Millis
from airunner.reports import Alive, Chunk, Output, Report, Stream, width
from airunner.worker.spool import MemorySpool, Spool, size_of

PLENTY = 1 << 30
ALIVE = Alive(Millis(1), True)


def output(*sizes: int) -> Output:
    return Output(tuple(Chunk(Stream.STDOUT, b"x" * size, Instant(0)) for size in sizes))


def filled(*reports: Report) -> Spool:
    spool, number = MemorySpool(), 1
    for report in reports:
        spool.append(number, report)
        number += width(report)
    return spool


def test_an_empty_spool_has_no_size_and_nothing_to_read() -> None:
    spool = filled()
    assert spool.size == 0
    assert spool.read(0, PLENTY, 10) == (0, [])
    spool.forget(7)


@pytest.mark.parametrize(
    ("after", "first", "count"),
    [(0, 1, 3), (1, 2, 2), (2, 2, 2), (3, 2, 2), (4, 5, 1), (5, 0, 0)],
)
def test_reading_begins_with_the_report_that_has_the_next_number(
    after: int, first: int, count: int
) -> None:
    spool = filled(ALIVE, output(1, 2, 3), ALIVE)
    number, reports = spool.read(after, PLENTY, 10)
    assert (number, len(reports)) == (first, count)


def test_a_read_keeps_to_its_size_and_count_but_gives_at_least_one() -> None:
    spool = filled(output(1000), output(1000), output(1000))
    assert len(spool.read(0, 1, 10)[1]) == 1
    assert len(spool.read(0, 2 * size_of(output(1000)), 10)[1]) == 2
    assert len(spool.read(0, PLENTY, 2)[1]) == 2


def test_forgetting_lets_go_of_whole_reports_only() -> None:
    spool = filled(ALIVE, output(1, 2, 3), ALIVE)
    spool.forget(3)
    assert spool.read(0, PLENTY, 10)[0] == 2
    spool.forget(4)
    assert spool.read(0, PLENTY, 10) == (5, [ALIVE])
    assert spool.size == size_of(ALIVE)
    spool.forget(5)
    assert spool.size == 0


def test_tiny_chunks_count_for_more_than_their_bytes() -> None:
    assert size_of(output(*[1] * 1000)) > 10 * size_of(output(1000)) / 2
