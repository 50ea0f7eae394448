"""Where a worker's spools are kept, and what dead workers have left there.

Rules

1. Each living worker has spools of its own, which no other touches. What belongs to nobody
   is taken by the next worker that looks, by one alone.
2. Whoever takes a spool lists its token in the next Hello. While the lease lives, it delivers what
   the server lacks, and then the last word; if there is none, the attempt died with its
   worker, and is given back as lost as soon as no process of it can be left.
3. What the server will not hear is set aside, and never said again.
"""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from airunner.model.limits import REFUSED_SPOOLS_MAX
from airunner.model.protocol.worker_protocol import Assignment
from airunner.worker.spool.spool import FinalReport, MemorySpool, Spool


@dataclass(frozen=True, slots=True, kw_only=True)
class Orphan:
    """An attempt whose worker is dead. `when_processes_gone` calls back once no process of it is left."""

    assignment: Assignment  # the job without its environment
    spool: Spool
    word: FinalReport | None  # None: the worker died before the attempt had ended
    when_processes_gone: Callable[[Callable[[], None]], None]


class Spools(Protocol):
    def open(self, assignment: Assignment) -> Spool:
        """An empty spool for a new attempt."""
        ...

    def left(self) -> Sequence[Orphan]:
        """What dead workers have left; it is ours from now on."""
        ...

    def close(self) -> None:
        """Nothing is kept here any more; what is left is for the next worker."""
        ...


@dataclass(slots=True, eq=False)
class _Place:
    """A spool on a rack, and whose it is."""

    assignment: Assignment
    owner: "MemorySpools"
    spool: MemorySpool


class MemoryDisk:
    """What survives the workers that share it, in memory."""

    def __init__(self) -> None:
        self.places: list[_Place] = []
        self.refused: deque[Assignment] = deque(maxlen=REFUSED_SPOOLS_MAX)


class MemorySpools:
    """Spools in memory; without a rack that others share, they end with the worker.

    What a worker has when it is closed stays as it is, whatever is left of that worker does then.
    """

    def __init__(self, rack: MemoryDisk | None = None) -> None:
        self._rack = rack or MemoryDisk()
        self.closed = False

    def open(self, assignment: Assignment) -> Spool:
        place = _Place(assignment, self, MemorySpool())
        self._own(place)
        self._rack.places.append(place)
        return place.spool

    def left(self) -> Sequence[Orphan]:
        found: list[Orphan] = []
        for place in self._rack.places:
            if place.owner.closed:
                self._own(place)
                found.append(
                    Orphan(
                        assignment=place.assignment,
                        spool=place.spool,
                        word=place.spool.word,
                        when_processes_gone=_at_once,
                    )
                )
        return found

    def close(self) -> None:
        """The worker ends, or dies: for its spools that is the same."""
        self.closed = True
        for place in self._rack.places:
            if place.owner is self:
                self._own(place)

    def _own(self, place: _Place) -> None:
        """Have the place, with a spool that nobody else holds."""

        def over(refused: bool) -> None:
            if place.spool is spool:
                self._rack.places.remove(place)
                if refused:
                    self._rack.refused.append(place.assignment)

        place.owner, place.spool = self, (spool := place.spool.copy(over))


def _at_once(told: Callable[[], None]) -> None:
    told()
