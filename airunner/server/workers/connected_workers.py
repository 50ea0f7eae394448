"""Who serves which queue now.

Nothing depends on this for safety: leases alone say who has which job. It
answers "why is my job waiting?", and tells a worker's stream of a cancel at once.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from airunner.model.facts import CancelRequested
from airunner.model.job_query import QueueStatistics
from airunner.model.jobs import Job, WorkerId
from airunner.model.limits import CONNECTIONS_REMEMBERED_MAX
from airunner.model.namespaces import QueueKey
from airunner.model.wait_reason import WaitReason


@dataclass(slots=True, kw_only=True, eq=False)
class ConnectedWorker:
    """A worker that is connected now; `busy` is kept by its session."""

    worker: WorkerId
    queues: tuple[QueueKey, ...]
    slots: int
    busy: int = 0
    attentive: Callable[[], bool] = field(default=lambda: True)  # fit to be given a job now
    wanted: Callable[[], int] = field(default=lambda: 0)  # how many jobs it can be given now
    cancel: Callable[[Job], None] = field(default=lambda job: None)
    supersede: Callable[[], None] = field(default=lambda: None)


class ConnectedWorkers:
    """Every connected worker, by queue and by worker."""

    def __init__(self) -> None:
        self._serving: dict[QueueKey, dict[ConnectedWorker, None]] = {}
        self._workers: dict[WorkerId, ConnectedWorker] = {}
        self._connections: dict[WorkerId, int] = {}  # the latest of each, last heard of last

    def __len__(self) -> int:
        """The number of connected workers."""
        return len(self._workers)

    @contextmanager
    def connect(self, connected: ConnectedWorker) -> Iterator[None]:
        """Be there until the end of the block. An older connected worker of the worker is superseded."""
        if older := self._workers.get(connected.worker):
            self._leave(older)
            older.supersede()
        self._workers[connected.worker] = connected
        for queue in connected.queues:
            self._serving.setdefault(queue, {})[connected] = None
        try:
            yield
        finally:
            self._leave(connected)

    def is_void(self, worker: WorkerId, connection: int) -> bool:
        """Whether a later connection of the worker has come already; else this is the latest."""
        latest = self._connections.get(worker, 0)
        if 0 < connection < latest:
            return True
        self._connections.pop(worker, None)
        self._connections[worker] = max(connection, latest)
        if len(self._connections) > CONNECTIONS_REMEMBERED_MAX:
            del self._connections[next(iter(self._connections))]
        return False

    def serving(self, queue: QueueKey) -> Sequence[ConnectedWorker]:
        return tuple(each for each in self._serving.get(queue, ()) if each.attentive())

    def explain(self, queue: QueueKey, ahead: int) -> WaitReason:
        """Why the job that has so many ahead of it waits."""
        serving = self.serving(queue)
        return WaitReason(
            queue=queue.name,
            ahead=ahead,
            workers=len(serving),
            slots=sum(each.slots for each in serving),
            busy=sum(each.busy for each in serving),
        )

    def complete(self, statistics: QueueStatistics) -> QueueStatistics:
        """The statistics of a queue, with its workers."""
        serving = self.serving(statistics.key)
        return replace(
            statistics,
            workers=len(serving),
            slots=sum(each.slots for each in serving),
            busy=sum(each.busy for each in serving),
        )

    def queues(self) -> Sequence[QueueKey]:
        return tuple(self._serving)

    def notify_cancel(self, fact: CancelRequested, job: Job) -> None:
        """Pass a cancel on to the worker that has the job, if it is connected."""
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
