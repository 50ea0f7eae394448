"""What a worker has said of an attempt and the server has not yet acknowledged.

A report is kept from the moment it is made until the server has it durably; whatever
breaks in between, it is sent again from here. How much may gather is not the spool's
rule but its owner's, who asks for `size` and makes the command wait.

A spool's calls do not wait: memory needs no waiting, and a file on disk needs none
either, because it has to survive the worker but not the machine: a lease of a machine that
lost its power lapses long before it is back.
"""

from collections import deque
from collections.abc import Sequence
from typing import Final, Protocol

from airunner.reports import Output, Report, width

REPORT_BYTES: Final = 128  # what a report takes besides its output, about
CHUNK_BYTES: Final = 64  # what a chunk takes besides its bytes, about


class Spool(Protocol):
    """The reports of one attempt that are not acknowledged, in order, each with its number."""

    @property
    def size(self) -> int:
        """About how many bytes they take."""
        ...

    def append(self, first: int, report: Report) -> None:
        """Keep a report whose first number is `first`; it follows all that are here."""
        ...

    def read(self, after: int, size: int, count: int) -> tuple[int, Sequence[Report]]:
        """The reports that follow the number `after`, and the number of the first of them.

        At least one, if there is one; then as many as fit into `size` bytes and `count`. A
        report that `after` falls into is given whole.
        """
        ...

    def forget(self, upto: int) -> None:
        """Let go of every report that has no number above `upto`."""
        ...


class MemorySpool:
    """A spool that ends with the worker."""

    def __init__(self) -> None:
        self._kept: deque[tuple[int, Report]] = deque()
        self._size = 0

    @property
    def size(self) -> int:
        return self._size

    def append(self, first: int, report: Report) -> None:
        self._kept.append((first, report))
        self._size += size_of(report)

    def read(self, after: int, size: int, count: int) -> tuple[int, Sequence[Report]]:
        start = 0
        reports: list[Report] = []
        for first, report in self._kept:
            if first + width(report) - 1 <= after:
                continue
            size -= size_of(report)
            if reports and (size < 0 or len(reports) == count):
                break
            start = start or first
            reports.append(report)
        return start, reports

    def forget(self, upto: int) -> None:
        while self._kept:
            first, report = self._kept[0]
            if first + width(report) - 1 > upto:
                return
            self._kept.popleft()
            self._size -= size_of(report)


def size_of(report: Report) -> int:
    """About how many bytes a report takes, here as on its way."""
    if isinstance(report, Output):
        return REPORT_BYTES + report.size + CHUNK_BYTES * len(report.chunks)
    return REPORT_BYTES
