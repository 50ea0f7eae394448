"""The index of jobs by queue and state, each in order of position.

The SCHEDULED jobs of a queue are its waiting line, and the same lines answer every list of jobs. An
entry of a line has a rank, so "how many jobs are ahead of mine" needs no scan; a heap has no ranks.
An empty line takes no memory: a queue exists as long as it has jobs.

SCHEDULED jobs are in a second line, of the jobs of the queue that need the same features of a worker. So
a worker finds the first job that it can run without a scan, however many jobs for others are ahead.

Each job is in a line of its queue and in a line of its namespace. A list of all queues' jobs would
otherwise have to merge as many lines as there are queues, and anybody may create 100,000.
"""

from collections.abc import Iterable, Iterator
from heapq import merge

from sortedcontainers import SortedDict, SortedList

from airunner.model.jobs import Job, JobId, JobState, Position
from airunner.model.namespaces import QueueKey
from airunner.model.protocol.features import ALL, NONE, Features, needed

Line = SortedList[tuple[Position, JobId]]


class JobIndex:
    """Lines of jobs. Each operation is O(log n) in the number of jobs unless it says otherwise."""

    def __init__(self) -> None:
        self._lines: dict[tuple[QueueKey, JobState], Line] = {}
        self._waiting: dict[tuple[QueueKey, Features], Line] = {}
        self._needs: dict[Features, None] = {NONE: None}  # every set that a job has needed
        self._namespaces: dict[tuple[str, JobState], Line] = {}
        self._queues: SortedDict[QueueKey, int] = SortedDict()  # the number of lines of each

    def add(self, job: Job) -> None:
        queue, entry = job.spec.queue_key, (job.place, job.id)
        if (line := self._lines.get((queue, job.state))) is None:
            line = self._lines[queue, job.state] = SortedList()
            self._queues[queue] = self._queues.get(queue, 0) + 1
        line.add(entry)
        if (line := self._namespaces.get((queue.namespace, job.state))) is None:
            line = self._namespaces[queue.namespace, job.state] = SortedList()
        line.add(entry)
        if job.state is JobState.SCHEDULED:
            needs = needed(job.spec)
            if (line := self._waiting.get((queue, needs))) is None:
                line = self._waiting[queue, needs] = SortedList()
                self._needs[needs] = None
            line.add(entry)

    def drop(self, job: Job) -> None:
        queue, entry = job.spec.queue_key, (job.place, job.id)
        line = self._lines[queue, job.state]
        line.remove(entry)
        if not line:
            del self._lines[queue, job.state]
            self._queues[queue] -= 1
            if not self._queues[queue]:
                del self._queues[queue]
        line = self._namespaces[queue.namespace, job.state]
        line.remove(entry)
        if not line:
            del self._namespaces[queue.namespace, job.state]
        if job.state is JobState.SCHEDULED:
            key = queue, needed(job.spec)
            self._waiting[key].remove(entry)
            if not self._waiting[key]:
                del self._waiting[key]

    def __contains__(self, job: Job) -> bool:
        queue, entry = job.spec.queue_key, (job.place, job.id)
        return entry in self._lines.get((queue, job.state), ()) and entry in self._namespaces.get(
            (queue.namespace, job.state), ()
        )

    def first(self, queue: QueueKey, features: Features = ALL) -> JobId | None:
        """The job that has waited longest, of those that a worker with these features can run."""
        first: tuple[Position, JobId] | None = None
        for needs in self._needs:
            line = self._waiting.get((queue, needs))
            if line and needs <= features and (first is None or line[0] < first):
                first = line[0]
        return first[1] if first else None

    def ahead(self, job: Job) -> int:
        """The number of jobs before this job in its line."""
        return self._lines[job.spec.queue_key, job.state].bisect_left((job.place, job.id))

    def count(self, queue: QueueKey, state: JobState) -> int:
        return len(self._lines.get((queue, state), ()))

    def queues(self, after: QueueKey | None = None) -> Iterator[QueueKey]:
        """The queues that have jobs, by name; those after `after`."""
        return self._queues.irange(minimum=after, inclusive=(False, True))

    def total(
        self, namespace: str | None = None, queue: str | None = None, state: JobState | None = None
    ) -> int:
        """The number of jobs that pass the filters, None for all; O(namespaces)."""
        return sum(map(len, self._chosen(namespace, queue, state)))

    def newest(
        self,
        namespace: str | None = None,
        queue: str | None = None,
        state: JobState | None = None,
        *,
        before: Position | None = None,
        skip: int = 0,
    ) -> Iterator[JobId]:
        """The jobs that pass the filters, None for all, from the newest on; O(namespaces).

        `before` starts the iteration at the newest job that was enqueued before this position, and
        `skip` at a job with so many newer jobs.
        """
        chosen = list(self._chosen(namespace, queue, state))
        if skip:
            before = _place_of(chosen, skip)
        bound = None if before is None else (before, JobId(""))
        lines = (
            line.irange(maximum=bound, inclusive=(True, False), reverse=True) for line in chosen
        )
        return (id for _, id in merge(*lines, reverse=True))

    def check(self) -> None:
        """Asserts that the lines of queues and those of namespaces have the same jobs."""
        ours = sorted((*entry, state) for (_, state), line in self._lines.items() for entry in line)
        theirs = sorted(
            (*entry, state) for (_, state), line in self._namespaces.items() for entry in line
        )
        assert ours == theirs
        counts = dict.fromkeys(self._queues, 0)
        for queue, _ in self._lines:
            counts[queue] += 1
        assert counts == dict(self._queues)
        waiting = sorted(
            (queue, *entry) for (queue, _), line in self._waiting.items() for entry in line
        )
        assert waiting == sorted(
            (queue, *entry)
            for (queue, state), line in self._lines.items()
            for entry in line
            if state is JobState.SCHEDULED
        )

    def _chosen(
        self, namespace: str | None, queue: str | None, state: JobState | None
    ) -> Iterator[Line]:
        states = list(JobState) if state is None else [state]
        names = [namespace] if namespace is not None else sorted({n for n, _ in self._namespaces})
        if queue is None:
            keys = ((name, each) for name in names for each in states)
            return (self._namespaces[key] for key in keys if key in self._namespaces)
        lines = ((QueueKey(queue, name), each) for name in names for each in states)
        return (self._lines[key] for key in lines if key in self._lines)


def _place_of(lines: Iterable[Line], rank: int) -> Position:
    """The place of the `rank`-th newest entry of all lines, counted from 1; 0 if there are fewer.

    A search by halves over places: 40 steps, whatever the rank.
    """
    lines = list(lines)
    low, high = 0, max((line[-1][0] for line in lines), default=0)
    while low < high:
        middle = (low + high + 1) // 2
        bound = (Position(middle), JobId(""))
        if sum(len(line) - line.bisect_left(bound) for line in lines) >= rank:
            low = middle
        else:
            high = middle - 1
    return Position(low)
