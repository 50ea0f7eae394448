"""What a worker has said of an attempt and the server has not yet acknowledged.

A report is kept from the moment it is made until the server has it durably; whatever
breaks in between, it is sent again from here. Behind the reports comes the last word, as soon as
it is known. A spool on disk outlives its worker, so that the next one can say what this one
could not: disk_spool.py is that one, and here is the one that ends with the worker.

A spool's calls do not wait: memory needs no waiting, and a file on disk needs none
either, because it has to survive the worker but not the machine: a lease of a machine that
lost its power lapses long before it is back. So nothing is synced, and a write is a copy into the
kernel's page cache.
"""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from airunner.model.jobs import AttemptEnd, Outcome
from airunner.model.limits import UNACKNOWLEDGED_BYTES_MAX
from airunner.model.reports import Output, Remark, Report, count_sequences

REPORT_BYTES: Final = 128  # what a report takes besides its output, about
CHUNK_BYTES: Final = 64  # what a chunk takes besides its bytes, about


class SpoolDamaged(Exception):
    """What was kept cannot be read back; a sentence."""


@dataclass(frozen=True, slots=True)
class FinalReport:
    """How an attempt ended, and the number of its last report."""

    last: int
    verdict: Outcome | AttemptEnd  # RELEASED or LOST


class Spool(Protocol):
    """The reports of one attempt that are not acknowledged, in order, each with its number."""

    @property
    def size(self) -> int:
        """About how many bytes they take."""
        ...

    @property
    def full(self) -> bool:
        """Whether nothing more should be said until something is forgotten."""
        ...

    @property
    def last(self) -> int:
        """The highest number that was ever kept here; 0: none."""
        ...

    def append(self, first: int, report: Report) -> Remark | None:
        """Keep a report whose first number is `first`; it follows all that are here.

        A Remark is what the reader of the job's log should know from here on.
        """
        ...

    def read(self, after: int, size: int, count: int) -> tuple[int, Sequence[Report]]:
        """The reports that follow the number `after`, and the number of the first of them.

        At least one, if there is one; then as many as fit into `size` bytes and `count`. A
        report that `after` falls into is given whole. Raises SpoolDamaged if the next one
        cannot be read.
        """
        ...

    def forget(self, upto: int) -> None:
        """Let go of every report that has no number above `upto`."""
        ...

    def conclude(self, word: FinalReport) -> None:
        """Keep the last word, in the place of one before. No process of the attempt is left."""
        ...

    def discard(self) -> None:
        """All was heard: nothing of this spool is needed any more."""
        ...

    def refuse(self) -> None:
        """The server will not hear the rest: set it aside for whoever wants to look at it."""
        ...


class MemorySpool:
    """A spool that ends with the worker; `over` is called at its end, with whether it is refused."""

    def __init__(self, over: Callable[[bool], None] = lambda refused: None) -> None:
        self.word: FinalReport | None = None
        self._over = over
        self._kept: deque[tuple[int, Report]] = deque()
        self._size = 0
        self._last = 0

    @property
    def size(self) -> int:
        return self._size

    @property
    def full(self) -> bool:
        return self._size >= UNACKNOWLEDGED_BYTES_MAX

    @property
    def last(self) -> int:
        return self._last

    def append(self, first: int, report: Report) -> Remark | None:
        self._kept.append((first, report))
        self._size += size_of(report)
        self._last = first + count_sequences(report) - 1
        return None

    def read(self, after: int, size: int, count: int) -> tuple[int, Sequence[Report]]:
        start = 0
        reports: list[Report] = []
        for first, report in self._kept:
            if first + count_sequences(report) - 1 <= after:
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
            if first + count_sequences(report) - 1 > upto:
                return
            self._kept.popleft()
            self._size -= size_of(report)

    def conclude(self, word: FinalReport) -> None:
        self.word = word

    def discard(self) -> None:
        self._over(False)

    def refuse(self) -> None:
        self._over(True)

    def copy(self, over: Callable[[bool], None]) -> "MemorySpool":
        """Another with the same in it, which nobody changes through this one."""
        twin = MemorySpool(over)
        twin.word, twin._kept = self.word, self._kept.copy()
        twin._size, twin._last = self._size, self._last
        return twin


def size_of(report: Report) -> int:
    """About how many bytes a report takes, here as on its way."""
    if isinstance(report, Output):
        return REPORT_BYTES + report.size + CHUNK_BYTES * len(report.chunks)
    return REPORT_BYTES
