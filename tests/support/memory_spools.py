"""Spools in memory that outlive their worker, as spools on disk do."""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from airunner.model.limits import REFUSED_SPOOLS_MAX
from airunner.model.protocol.worker_protocol import Assignment
from airunner.worker.spool.spool import MemorySpool, Spool
from airunner.worker.spool.spools import Orphan, SpoolStatistics


@dataclass(slots=True, eq=False)
class _Entry:
    """A spool on the disk, and the worker that owns it."""

    assignment: Assignment
    owner: "MemoryDiskSpools"
    spool: "_StoredSpool"
    orphan: bool = False  # its first owner is dead


class MemoryDisk:
    """The storage that several workers share, and that survives each of them."""

    def __init__(self) -> None:
        self.entries: list[_Entry] = []
        self.refused: deque[Assignment] = deque(maxlen=REFUSED_SPOOLS_MAX)


class MemoryDiskSpools:
    """One worker's spools on a MemoryDisk; implements Spools.

    After close(), the spools stay as they are: later calls of the closed worker change nothing.
    """

    def __init__(self, disk: MemoryDisk | None = None) -> None:
        self._disk = disk or MemoryDisk()
        self.closed = False

    def open(self, assignment: Assignment) -> Spool:
        entry = _Entry(assignment, self, _StoredSpool())
        self._take(entry)
        self._disk.entries.append(entry)
        return entry.spool

    def orphans(self) -> Sequence[Orphan]:
        found: list[Orphan] = []
        for entry in self._disk.entries:
            if entry.owner.closed:
                self._take(entry)
                entry.orphan = True
                found.append(
                    Orphan(
                        assignment=entry.assignment,
                        spool=entry.spool,
                        final_report=entry.spool.final_report,
                        when_processes_gone=_call,
                    )
                )
        return found

    def close(self) -> None:
        """Ends or kills the worker: for its spools both are the same."""
        self.closed = True
        for entry in self._disk.entries:
            if entry.owner is self:
                self._take(entry)

    def statistics(self) -> SpoolStatistics:
        entries = [entry for entry in self._disk.entries if entry.owner is self and not self.closed]
        size = sum(entry.spool.size for entry in entries)
        return SpoolStatistics(
            spools_open=len(entries),
            orphans=sum(entry.orphan for entry in entries),
            bytes_on_disk=size,
            bytes_waiting=size,
        )

    def _take(self, entry: _Entry) -> None:
        """Owns the entry, with a copy of its spool that no other worker holds."""

        def removed(refused: bool) -> None:
            if entry.spool is spool:
                self._disk.entries.remove(entry)
                if refused:
                    self._disk.refused.append(entry.assignment)

        entry.owner, entry.spool = self, (spool := entry.spool.copy(removed))


class _StoredSpool(MemorySpool):
    """A spool that calls `removed(refused)` when it is discarded or refused."""

    def __init__(self, removed: Callable[[bool], None] = lambda refused: None) -> None:
        super().__init__()
        self._removed = removed

    def discard(self) -> None:
        self._removed(False)

    def refuse(self) -> None:
        self._removed(True)

    def copy(self, removed: Callable[[bool], None]) -> "_StoredSpool":
        """A spool with the same reports; changes of this one do not change the copy."""
        twin = _StoredSpool(removed)
        twin.final_report, twin._kept = self.final_report, self._kept.copy()
        twin._size, twin._last = self._size, self._last
        return twin


def _call(callback: Callable[[], None]) -> None:
    callback()
