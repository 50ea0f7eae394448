"""The records of clients and processes: the only input of the simulation's checker.

Times are the loop's, in seconds, unless named as the server's.
"""

from collections import defaultdict
from dataclasses import dataclass, field

from airunner.model.artifacts import Artifact
from airunner.model.job_events import JobEvent
from airunner.model.jobs import Instant, Job, JobId, RequestId
from airunner.model.spec import JobSpec
from tests.simulation.commands import Performance


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """The acknowledgement of a job to a client."""

    id: JobId
    key: RequestId
    spec: JobSpec
    retry_of: JobId | None
    told_at: float


@dataclass(frozen=True, slots=True)
class Glimpse:
    """A job in the answer to a call."""

    job: Job
    asked_at: float
    told_at: float


@dataclass(frozen=True, slots=True)
class Listed:
    """The jobs of all pages of a list."""

    jobs: tuple[Job, ...]
    asked_at: float
    told_at: float


@dataclass(slots=True)
class Viewing:
    """The events of a job that one watcher saw, over all its connections."""

    id: JobId
    start: int  # the first requested sequence
    entries: list[JobEvent] = field(default_factory=list)
    done: bool = False


@dataclass(frozen=True, slots=True)
class Epoch:
    """The clock of a server life: its time is the loop's plus `offset`, both in ms."""

    began: Instant  # the first time of the clock
    offset: int


@dataclass(slots=True)
class Testimony:
    acknowledged: list[Acknowledged] = field(default_factory=list)
    keys: set[RequestId] = field(default_factory=set)  # all keys that clients have sent
    cancelled: list[Glimpse] = field(default_factory=list)  # the answers to cancels
    glimpses: list[Glimpse] = field(default_factory=list)
    lists: list[Listed] = field(default_factory=list)
    viewings: list[Viewing] = field(default_factory=list)
    refusals: list[str] = field(default_factory=list)  # refusals that must never occur
    performances: list[Performance] = field(default_factory=list)
    kept: list[tuple[tuple[JobId, int], Artifact]] = field(default_factory=list)  # acknowledged
    found: dict[JobId, list[tuple[Artifact, bytes]]] = field(default_factory=dict)  # at the end
    damaged: set[tuple[JobId, int]] = field(default_factory=set)  # attempts with a damaged spool
    epochs: list[Epoch] = field(default_factory=list)
    slots: dict[str, int] = field(default_factory=dict)  # of each worker that runs at the end
    serves: dict[str, tuple[str, ...]] = field(default_factory=dict)  # the queues of each worker
    calm_from: float = 0.0  # no fault occurs after this time
    stuck: list[str] = field(default_factory=list)  # jobs and tasks that did not end

    def loop_times(self, at: Instant) -> tuple[float, float]:
        """The earliest and the latest loop time at which a server's clock showed `at`.

        A server's clock starts at the log's last time, so two servers may show the same time.
        """
        offsets = [epoch.offset for epoch in self.epochs if epoch.began < at]
        latest = [epoch.offset for epoch in self.epochs if epoch.began <= at][-1]
        earliest = max((offsets or [latest])[-1], latest)
        return (at - earliest) / 1000, (at - latest) / 1000

    def by_job(self) -> dict[JobId, list[Viewing]]:
        viewings: dict[JobId, list[Viewing]] = defaultdict(list)
        for each in self.viewings:
            viewings[each.id].append(each)
        return viewings

    def whole(self) -> dict[JobId, list[JobEvent]]:
        """All events of each job that a watcher has seen from the first event to the end."""
        return {each.id: each.entries for each in self.viewings if each.start == 1 and each.done}
