"""The spool of an attempt: the reports that the server has not acknowledged yet.

The spool holds each report from its creation until the server has stored it durably. If a
connection breaks in between, the worker sends the report again from the spool. The attempt's final
report follows the other reports. A spool on disk (disk_spool.py) outlives its worker, so that
the next worker can send the rest; the spool in this module ends with the worker.

The calls of a spool do not wait. Memory needs no waiting. A file on disk needs none either, because
it must survive the worker but not the machine: the leases of a machine that lost its power lapse
long before the machine is back. So a spool never syncs, and a write is a copy into the kernel's
page cache.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from airunner.model.jobs import AttemptEnd, Outcome
from airunner.model.limits import UNACKNOWLEDGED_BYTES_MAX
from airunner.model.reports import Output, Remark, Report, count_sequences, text_size

REPORT_BYTES: Final = 128  # approximate size of a report without its output and texts
CHUNK_BYTES: Final = 64  # approximate size of a chunk without its bytes


class SpoolDamaged(Exception):
    """A spool's files cannot be read back; the message is a sentence."""


@dataclass(frozen=True, slots=True)
class FinalReport:
    """The end of an attempt, and the number of the last report before it."""

    last: int
    verdict: Outcome | AttemptEnd  # RELEASED or LOST


class Spool(Protocol):
    """The unacknowledged reports of one attempt, in order, each with its number."""

    @property
    def size(self) -> int:
        """The approximate size of the reports in bytes."""
        ...

    @property
    def full(self) -> bool:
        """True if the attempt must not report more until the spool has forgotten some reports."""
        ...

    @property
    def last(self) -> int:
        """The highest number that this spool ever held; 0 if it never held a report."""
        ...

    def append(self, first: int, report: Report) -> Remark | None:
        """Adds a report whose first number is `first`, behind all reports of the spool.

        Returns a Remark if the readers of the job's log must be told of a failure of the spool.
        """
        ...

    def read(self, after: int, size: int, count: int) -> tuple[int, Sequence[Report]]:
        """Returns the reports behind the number `after`, and the number of the first of them.

        At least one report, if there is one; then as many as fit into `size` bytes and `count` items.
        A report that spans `after` is returned whole. Raises SpoolDamaged if the next report cannot
        be read.
        """
        ...

    def forget(self, upto: int) -> None:
        """Drops every report whose numbers are all at most `upto`."""
        ...

    def conclude(self, final_report: FinalReport) -> None:
        """Stores the final report, in place of an earlier one. The attempt has no process left."""
        ...

    def discard(self) -> None:
        """Removes the spool: the server has received everything."""
        ...

    def refuse(self) -> None:
        """Sets the spool aside for inspection: the server does not accept the rest of it."""
        ...


class MemorySpool:
    """A spool in the memory of its worker, lost with that worker; implements Spool."""

    def __init__(self) -> None:
        self.final_report: FinalReport | None = None
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
            size, count = size - size_of(report), count - items_of(report)
            if reports and (size < 0 or count < 0):
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

    def conclude(self, final_report: FinalReport) -> None:
        self.final_report = final_report

    def discard(self) -> None:
        """Does nothing: the memory is free once the attempt drops the spool."""

    def refuse(self) -> None:
        """Does nothing: memory has no place to set a spool aside."""


def size_of(report: Report) -> int:
    """The approximate size of a report in bytes, in a spool and on the wire."""
    if isinstance(report, Output):
        return REPORT_BYTES + report.size + CHUNK_BYTES * len(report.chunks)
    return REPORT_BYTES + text_size(report)


def items_of(report: Report) -> int:
    """The number of items that the server counts in a message: the chunks of output, else 1."""
    return len(report.chunks) if isinstance(report, Output) else 1
