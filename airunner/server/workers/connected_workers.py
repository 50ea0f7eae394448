"""The workers that are connected now, by queue and by worker.

No guarantee depends on this index: leases alone say which worker has a job. It answers "why is my job
waiting?", and passes a cancel on to the worker's stream at once.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from sortedcontainers import SortedDict

from airunner.model.facts import CancelRequested
from airunner.model.job_query import QueueStatistics
from airunner.model.jobs import Job, Subject, WorkerId
from airunner.model.limits import CONNECTIONS_REMEMBERED_MAX
from airunner.model.namespaces import QueueKey
from airunner.model.protocol.features import ALL, NONE, Features, needed
from airunner.model.wait_reason import WaitReason


@dataclass(slots=True, kw_only=True, eq=False)
class ConnectedWorker:
    """A worker that is connected now. Its session updates `busy`."""

    worker: WorkerId
    queues: tuple[QueueKey, ...]
    slots: int
    features: Features = ALL
    busy: int = 0
    attentive: Callable[[], bool] = field(default=lambda: True)  # True if it may be given a job now
    wanted: Callable[[], int] = field(default=lambda: 0)  # the number of jobs that it takes now
    cancel: Callable[[Job], None] = field(default=lambda job: None)
    supersede: Callable[[], None] = field(default=lambda: None)


class ConnectedWorkers:
    """Every connected worker, by queue and by worker."""

    def __init__(self) -> None:
        self._serving: SortedDict[QueueKey, dict[ConnectedWorker, None]] = SortedDict()
        self._workers: dict[WorkerId, ConnectedWorker] = {}
        # The latest number of each and its subject, in the order of the last use.
        self._connections: dict[WorkerId, tuple[int, Subject]] = {}
        self._features: Counter[Features] = Counter()  # workers by the features that they have

    def __len__(self) -> int:
        """The number of connected workers."""
        return len(self._workers)

    @contextmanager
    def connect(self, connected: ConnectedWorker) -> Iterator[None]:
        """Lists the worker until the end of the block; supersedes its older connection."""
        if older := self._workers.get(connected.worker):
            self._leave(older)
            older.supersede()
        self._workers[connected.worker] = connected
        self._features[connected.features] += 1
        for queue in connected.queues:
            self._serving.setdefault(queue, {})[connected] = None
        try:
            yield
        finally:
            self._leave(connected)
            self._features[connected.features] -= 1
            if not self._features[connected.features]:
                del self._features[connected.features]

    def owner(self, worker: WorkerId) -> Subject | None:
        """The subject of the worker's latest connection; None if no connection is known."""
        known = self._connections.get(worker)
        return None if known is None else known[1]

    def is_connected(self, worker: WorkerId) -> bool:
        return worker in self._workers

    def is_void(self, worker: WorkerId, connection: int, subject: Subject) -> bool:
        """True if the worker has opened a later connection; else this becomes the latest."""
        latest, _ = self._connections.get(worker, (0, subject))
        if 0 < connection < latest:
            return True
        self._connections.pop(worker, None)
        self._connections[worker] = max(connection, latest), subject
        if len(self._connections) > CONNECTIONS_REMEMBERED_MAX:
            del self._connections[next(iter(self._connections))]
        return False

    def serving(self, queue: QueueKey) -> Sequence[ConnectedWorker]:
        return tuple(each for each in self._serving.get(queue, ()) if each.attentive())

    def able(self, job: Job) -> Sequence[Features]:
        """The sets of features that connected workers have and that are enough for a job."""
        needs = needed(job.spec)
        return [each for each in self._features if needs <= each]

    def explain(self, queue: QueueKey, ahead: int, needs: Features = NONE) -> WaitReason:
        """The reason for which a job with `ahead` jobs before it waits for a worker.

        If no worker of the queue can run it, the reason names the features that one of them lacks,
        as few as possible.
        """
        serving = self.serving(queue)
        missing = min((needs - each.features for each in serving), key=len, default=NONE)
        return WaitReason(
            missing=tuple(sorted(missing)),
            queue=queue.name,
            ahead=ahead,
            workers=len(serving),
            slots=sum(each.slots for each in serving),
            busy=sum(each.busy for each in serving),
        )

    def complete(self, statistics: QueueStatistics) -> QueueStatistics:
        """The statistics of a queue, completed by its workers."""
        serving = self.serving(statistics.key)
        return replace(
            statistics,
            workers=len(serving),
            slots=sum(each.slots for each in serving),
            busy=sum(each.busy for each in serving),
        )

    def queues(self, after: QueueKey | None = None) -> Iterator[QueueKey]:
        """The queues that workers serve, by name; those after `after`."""
        return self._serving.irange(minimum=after, inclusive=(False, True))

    def notify_cancel(self, fact: CancelRequested, job: Job) -> None:
        """Passes a cancel on to the worker that has the job, if that is connected."""
        if job.lease and job.id == fact.id and (present := self._workers.get(job.lease.worker)):
            present.cancel(job)

    def _leave(self, connected: ConnectedWorker) -> None:
        if self._workers.get(connected.worker) is connected:
            del self._workers[connected.worker]
        for queue in connected.queues:
            if (serving := self._serving.get(queue)) is not None:
                serving.pop(connected, None)
                if not serving:
                    del self._serving[queue]
