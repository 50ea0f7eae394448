"""The spool of one attempt on disk, whose reports survive the worker.

    FOLDER/                     0700, one for each attempt, in the worker's folder (disk_spools.py)
        lease, word             the assignment, and the final report once it is known (lease_file.py)
        00000000000000000001    reports (segments.py), each on disk before it is sent

Rules

1. The newest unsent reports are in memory too, up to UNSENT_BYTES_MAX; all other reports are read
   back from disk, about one file at a time.
2. At `bytes_max` the spool is full, and the attempt waits with its next report.
3. If the disk fails, the job goes on: the report that could not be written and all later reports
   are kept in memory, as by a worker without a disk. One remark in the job's log says so.

The calls write and read on the event loop: to append, read and forget 64 KiB takes 80 us, and
a thread would add half as much again. A disk that hangs blocks its worker, whose leases lapse
then, like the leases of a frozen worker.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, Protocol

from airunner.log.records import Unreadable, decode_report, encode_report
from airunner.model.limits import MIB, SPOOL_SEGMENT_BYTES
from airunner.model.protocol.worker_protocol import Assignment
from airunner.model.reports import Remark, Report, count_sequences
from airunner.worker.spool.lease_file import write_final
from airunner.worker.spool.segments import Segments
from airunner.worker.spool.spool import FinalReport, MemorySpool, SpoolDamaged, items_of, size_of

UNSENT_BYTES_MAX: Final = 1 * MIB  # unsent reports of a disk spool that are also in memory
SEGMENTS_MIN: Final = 4  # files of a full spool, so that space comes back in parts


class SpoolOwner(Protocol):
    """The owner of the folders of spools."""

    def spool_failed(self, spool: "DiskSpool", why: str) -> None:
        """Notes that the spool's disk failed, and that the spool is in memory from now on."""
        ...

    def discard(self, spool: "DiskSpool") -> None:
        """Removes the folder of a closed spool."""
        ...

    def refuse(self, spool: "DiskSpool") -> None:
        """Sets the folder of a closed spool aside for inspection."""
        ...


class DiskSpool:
    """A spool in its own folder, or in memory after the disk failed; implements Spool."""

    def __init__(
        self, assignment: Assignment, folder: Path | None, owner: SpoolOwner, bytes_max: int
    ) -> None:
        """Opens a new spool or an orphaned one. Without a folder, the spool is in memory."""
        self.assignment = assignment
        self.folder = folder
        self._owner = owner
        self._bytes_max = bytes_max
        segment_bytes = min(SPOOL_SEGMENT_BYTES, bytes_max // SEGMENTS_MIN)
        self._disk = Segments(folder, segment_bytes) if folder else None
        self._recent: deque[tuple[int, Report]] = deque()  # the newest on disk that were never read
        self._recent_bytes = 0
        self._memory: MemorySpool | None = None  # holds all reports since the disk failed
        self._remark: Remark | None = None  # returned by the next append
        if not folder:
            self._give_up("it could not be made")

    @property
    def size(self) -> int:
        return self.bytes_on_disk + (self._memory.size if self._memory else 0)

    @property
    def full(self) -> bool:
        return self._memory.full if self._memory else self.bytes_on_disk >= self._bytes_max

    @property
    def last(self) -> int:
        return max(self._disk.last if self._disk else 0, self._memory.last if self._memory else 0)

    def append(self, first: int, report: Report) -> Remark | None:
        if self._disk and not self._memory:
            try:
                self._disk.append(first, count_sequences(report), encode_report(report))
            except OSError as error:
                self._give_up(error.strerror or str(error))
            else:
                self._recent.append((first, report))
                self._recent_bytes += size_of(report)
                while self._recent_bytes > UNSENT_BYTES_MAX:
                    self._drop_recent()
                return None
        assert self._memory
        self._memory.append(first, report)
        remark, self._remark = self._remark, None
        return remark

    def read(self, after: int, size: int, count: int) -> tuple[int, Sequence[Report]]:
        while (
            self._recent and self._recent[0][0] + count_sequences(self._recent[0][1]) - 1 <= after
        ):
            self._drop_recent()
        if self._memory and (not self._disk or after >= self._disk.last):
            return self._memory.read(after, size, count)
        recent = bool(self._recent) and self._recent[0][0] <= after + 1
        start, reports = 0, list[Report]()
        for first, report in self._recent if recent else self._stored(after, reports):
            size, count = size - size_of(report), count - items_of(report)
            if reports and (size < 0 or count < 0):
                break
            start = start or first
            reports.append(report)
        return start, reports

    def forget(self, upto: int) -> None:
        if self._disk:
            self._disk.forget(upto)
        if self._memory:
            self._memory.forget(upto)

    def conclude(self, final_report: FinalReport) -> None:
        if self.folder:
            try:
                write_final(self.folder, final_report)
            except OSError as error:
                self._give_up(error.strerror or str(error))
        if self._disk:
            self._disk.close()

    def discard(self) -> None:
        self.close()
        self._owner.discard(self)

    def refuse(self) -> None:
        self.close()
        self._owner.refuse(self)

    def close(self) -> None:
        """Closes the files, which stay on disk."""
        if self._disk:
            self._disk.close()

    @property
    def bytes_on_disk(self) -> int:
        """The size of the spool's files."""
        return self._disk.size if self._disk else 0

    def _stored(self, after: int, before: Sequence[Report]) -> Iterator[tuple[int, Report]]:
        """Yields the reports on disk behind a number.

        SpoolDamaged is raised only if the list `before` is empty: reports that were read before the
        damage are returned first.
        """
        assert self._disk
        try:
            expected = after + 1
            for record in self._disk.read(after):
                if record.first > expected:
                    raise SpoolDamaged(f"numbers {expected} to {record.first - 1} are missing")
                expected = record.first + record.width
                try:
                    report = decode_report(record.body)
                except Unreadable as error:
                    raise SpoolDamaged(str(error)) from None
                if count_sequences(report) != record.width:
                    raise SpoolDamaged(f"the report numbered {record.first} has another width")
                yield record.first, report
        except SpoolDamaged:
            if not before:
                raise

    def _drop_recent(self) -> None:
        self._recent_bytes -= size_of(self._recent.popleft()[1])

    def _give_up(self, why: str) -> None:
        if self._memory:
            return
        self._memory = MemorySpool()
        self._remark = Remark(
            f"the worker's spool failed ({why}): the job goes on without one, and if its worker "
            "is killed, the end of this attempt's log is lost"
        )
        self._owner.spool_failed(self, why)
