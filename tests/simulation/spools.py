"""Spools that survive their worker; a dead worker's writes do not reach them.

The spools are in memory, on a disk of the machine; occasionally a read fails.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from random import Random

from airunner.model.protocol.worker_protocol import Assignment
from airunner.model.reports import Remark, Report
from airunner.worker.spool.spool import FinalReport, Spool, SpoolDamaged
from airunner.worker.spool.spools import Orphan, SpoolStatistics
from tests.support.memory_spools import MemoryDisk, MemoryDiskSpools

Damaged = Callable[[Assignment], None]


class MortalSpools:
    """The spools of a worker life, until the worker dies."""

    def __init__(self, disk: MemoryDisk, dice: Random, chance: float, damaged: Damaged) -> None:
        """`chance`: probability of a failed read; `damaged` receives the spool's assignment."""
        self.dead = False
        self._inner = MemoryDiskSpools(disk)
        self._dice, self._chance, self._damaged = dice, chance, damaged

    def open(self, assignment: Assignment) -> Spool:
        return self.wrap(assignment, self._inner.open(assignment))

    def orphans(self) -> Sequence[Orphan]:
        return [
            replace(left, spool=self.wrap(left.assignment, left.spool))
            for left in self._inner.orphans()
        ]

    def wrap(self, assignment: Assignment, inner: Spool) -> Spool:
        return MortalSpool(self, assignment, inner)

    def close(self) -> None:
        if not self.dead:
            self._inner.close()

    def die(self) -> None:
        """Ends all writes of the dead process; earlier writes stay."""
        if not self.dead:
            self.dead = True
            self._inner.close()

    def statistics(self) -> SpoolStatistics:
        return self._inner.statistics()

    def is_damaged(self, assignment: Assignment) -> bool:
        """True if this read fails."""
        fails = self._dice.random() < self._chance
        if fails and not self.dead:
            self._damaged(assignment)
        return fails


class MortalSpool:
    def __init__(self, spools: MortalSpools, assignment: Assignment, inner: Spool) -> None:
        self._spools, self._assignment, self._inner = spools, assignment, inner

    @property
    def size(self) -> int:
        return self._inner.size

    @property
    def full(self) -> bool:
        return self._inner.full

    @property
    def last(self) -> int:
        return self._inner.last

    def append(self, first: int, report: Report) -> Remark | None:
        return None if self._spools.dead else self._inner.append(first, report)

    def read(self, after: int, size: int, count: int) -> tuple[int, Sequence[Report]]:
        if self._spools.is_damaged(self._assignment):
            raise SpoolDamaged("the dice fell badly")
        return self._inner.read(after, size, count)

    def forget(self, upto: int) -> None:
        if not self._spools.dead:
            self._inner.forget(upto)

    def conclude(self, final_report: FinalReport) -> None:
        if not self._spools.dead:
            self._inner.conclude(final_report)

    def discard(self) -> None:
        if not self._spools.dead:
            self._inner.discard()

    def refuse(self) -> None:
        if not self._spools.dead:
            self._inner.refuse()
