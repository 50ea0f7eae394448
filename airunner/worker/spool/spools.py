"""The store of a worker's spools, and the orphaned spools of dead workers in it.

Rules

1. Each living worker has its own spools, and no other worker touches them. The spools of a dead
   worker go to the next worker that asks for orphans, and to that worker alone.
2. A worker that takes over a spool lists the spool's token in its next Hello. While the lease
   lives, the worker sends the reports that the server lacks, and then the final report. Without a
   final report, the attempt died with its worker, and its job is given back as lost as soon as no
   process of the attempt can be left.
3. A spool that the server refuses is set aside, and never sent again.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from airunner.model.protocol.worker_protocol import Assignment
from airunner.worker.spool.spool import FinalReport, MemorySpool, Spool


@dataclass(frozen=True, slots=True, kw_only=True)
class Orphan:
    """An attempt of a dead worker.

    `when_processes_gone` registers a callback for the moment at which no process of the attempt
    is left.
    """

    assignment: Assignment  # the job without its environment
    spool: Spool
    final_report: FinalReport | None  # None: the worker died before the attempt had ended
    when_processes_gone: Callable[[Callable[[], None]], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class SpoolStatistics:
    """Plain numbers about the open spools of a worker, for metrics."""

    spools_open: int  # one for each lease that the worker holds or asks for
    orphans: int  # open spools of dead workers
    bytes_on_disk: int  # in files; a file goes when every report in it is acknowledged
    bytes_waiting: int  # on disk, and in memory for lack of a disk


class Spools(Protocol):
    """One worker's access to the store of spools."""

    def open(self, assignment: Assignment) -> Spool:
        """Creates an empty spool for a new attempt."""
        ...

    def orphans(self) -> Sequence[Orphan]:
        """Takes over the attempts of dead workers, which belong to this worker from now on."""
        ...

    def close(self) -> None:
        """Releases all spools of this worker; the next worker takes over the rest of them."""
        ...

    def statistics(self) -> SpoolStatistics:
        """The present state of the open spools in numbers."""
        ...


class MemorySpools:
    """Spools in the memory of one worker, which end with it; implements Spools."""

    def __init__(self) -> None:
        self._open: set[MemorySpool] = set()

    def open(self, assignment: Assignment) -> Spool:
        spool = _OpenSpool(self._open)
        self._open.add(spool)
        return spool

    def orphans(self) -> Sequence[Orphan]:
        return ()

    def close(self) -> None:
        """Forgets all spools: none outlives its worker."""
        self._open.clear()

    def statistics(self) -> SpoolStatistics:
        """As Spools.statistics."""
        return SpoolStatistics(
            spools_open=len(self._open),
            orphans=0,
            bytes_on_disk=0,
            bytes_waiting=sum(each.size for each in self._open),
        )


class _OpenSpool(MemorySpool):
    """A spool that leaves the set of open spools when its attempt is over."""

    def __init__(self, spools: set[MemorySpool]) -> None:
        super().__init__()
        self._spools = spools

    def discard(self) -> None:
        self._spools.discard(self)

    def refuse(self) -> None:
        self._spools.discard(self)
