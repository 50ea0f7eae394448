"""The index of jobs by queue and state, each in order of position.

The SCHEDULED jobs of a queue are its waiting line, and the same lines answer every list of jobs. An
entry of a line has a rank, so "how many jobs are ahead of mine" needs no scan; a heap has no ranks.
An empty line takes no memory: a queue exists as long as it has jobs.
"""

from collections.abc import Iterator
from heapq import merge

from sortedcontainers import SortedList

from airunner.model.jobs import Job, JobId, JobState, Position
from airunner.model.namespaces import QueueKey


class JobIndex:
    """Lines of jobs. Each operation is O(log n) in the number of jobs unless it says otherwise."""

    def __init__(self) -> None:
        self._lines: dict[tuple[QueueKey, JobState], SortedList[tuple[Position, JobId]]] = {}

    def add(self, job: Job) -> None:
        key = (job.spec.queue_key, job.state)
        if key not in self._lines:
            self._lines[key] = SortedList()
        self._lines[key].add((job.place, job.id))

    def drop(self, job: Job) -> None:
        key = (job.spec.queue_key, job.state)
        self._lines[key].remove((job.place, job.id))
        if not self._lines[key]:
            del self._lines[key]

    def __contains__(self, job: Job) -> bool:
        return (job.place, job.id) in self._lines.get((job.spec.queue_key, job.state), ())

    def first(self, queue: QueueKey) -> JobId | None:
        """The job that has waited longest."""
        line = self._lines.get((queue, JobState.SCHEDULED))
        return line[0][1] if line else None

    def ahead(self, job: Job) -> int:
        """The number of jobs before this job in its line."""
        return self._lines[job.spec.queue_key, job.state].bisect_left((job.place, job.id))

    def count(self, queue: QueueKey, state: JobState) -> int:
        return len(self._lines.get((queue, state), ()))

    def queues(self) -> list[QueueKey]:
        """Every queue that has jobs, by name; O(queues)."""
        return sorted({queue for queue, _ in self._lines})

    def total(
        self, namespace: str | None = None, queue: str | None = None, state: JobState | None = None
    ) -> int:
        """The number of jobs that pass the filters, None for all; O(queues)."""
        return sum(map(len, self._chosen(namespace, queue, state)))

    def newest(
        self,
        namespace: str | None = None,
        queue: str | None = None,
        state: JobState | None = None,
        *,
        before: Position | None = None,
    ) -> Iterator[JobId]:
        """The jobs that pass the filters, None for all, from the newest on.

        O(queues) for the first job, then O(log queues) for each. `before` starts the iteration at
        the newest job that was enqueued before this position.
        """
        bound = None if before is None else (before, JobId(""))
        lines = (
            line.irange(maximum=bound, inclusive=(True, False), reverse=True)
            for line in self._chosen(namespace, queue, state)
        )
        return (id for _, id in merge(*lines, reverse=True))

    def _chosen(
        self, namespace: str | None, queue: str | None, state: JobState | None
    ) -> Iterator[SortedList[tuple[Position, JobId]]]:
        if queue is not None and namespace is not None:
            key = QueueKey(queue, namespace)
            states = list(JobState) if state is None else [state]
            return (self._lines[key, each] for each in states if (key, each) in self._lines)
        return (
            line
            for (key, own), line in self._lines.items()
            if state in (None, own)
            and namespace in (None, key.namespace)
            and queue in (None, key.name)
        )
