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


class MemorySpools:
    """Spools in the memory of one worker, which end with it; implements Spools."""

    def open(self, assignment: Assignment) -> Spool:
        return MemorySpool()

    def orphans(self) -> Sequence[Orphan]:
        return ()

    def close(self) -> None:
        """Does nothing: no spool outlives its worker."""
