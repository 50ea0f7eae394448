"""Who stands where: jobs by queue and state, each line in order of place.

The line of a queue's SCHEDULED jobs is its waiting line, and the same lines
answer every listing. A place has a rank, so "how many are ahead of me" needs no
scan; this is why a line is a sorted list and not a heap. An empty line leaves no
trace: queues exist as long as they have jobs.
"""

from collections.abc import Iterator
from heapq import merge

from sortedcontainers import SortedList

from airunner.model.jobs import Job, JobId, JobState, Position


class JobIndex:
    """All operations are O(log n) in the number of jobs, but for those that say otherwise."""

    def __init__(self) -> None:
        self._lines: dict[tuple[str, JobState], SortedList[tuple[Position, JobId]]] = {}

    def add(self, job: Job) -> None:
        key = (job.spec.queue, job.state)
        if key not in self._lines:
            self._lines[key] = SortedList()
        self._lines[key].add((job.place, job.id))

    def drop(self, job: Job) -> None:
        key = (job.spec.queue, job.state)
        self._lines[key].remove((job.place, job.id))
        if not self._lines[key]:
            del self._lines[key]

    def __contains__(self, job: Job) -> bool:
        return (job.place, job.id) in self._lines.get((job.spec.queue, job.state), ())

    def first(self, queue: str) -> JobId | None:
        """The job that has waited longest."""
        line = self._lines.get((queue, JobState.SCHEDULED))
        return line[0][1] if line else None

    def ahead(self, job: Job) -> int:
        """How many jobs stand before this one in its line."""
        return self._lines[job.spec.queue, job.state].bisect_left((job.place, job.id))

    def count(self, queue: str, state: JobState) -> int:
        return len(self._lines.get((queue, state), ()))

    def queues(self) -> list[str]:
        """Every queue that has jobs, by name; O(queues)."""
        return sorted({queue for queue, _ in self._lines})

    def total(self, queue: str | None, state: JobState | None) -> int:
        """How many jobs a listing with these filters has; O(queues)."""
        return sum(map(len, self._chosen(queue, state)))

    def newest(
        self, queue: str | None, state: JobState | None, before: Position | None
    ) -> Iterator[JobId]:
        """Jobs from the newest on; O(queues) for the first, then O(log queues) for each."""
        bound = None if before is None else (before, JobId(""))
        lines = (
            line.irange(maximum=bound, inclusive=(True, False), reverse=True)
            for line in self._chosen(queue, state)
        )
        return (id for _, id in merge(*lines, reverse=True))

    def _chosen(
        self, queue: str | None, state: JobState | None
    ) -> Iterator[SortedList[tuple[Position, JobId]]]:
        if queue is not None:
            states = list(JobState) if state is None else [state]
            return (self._lines[queue, s] for s in states if (queue, s) in self._lines)
        return (line for (_, s), line in self._lines.items() if state is None or s is state)
