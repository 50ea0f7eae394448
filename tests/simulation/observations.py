"""What clients saw and were told, and what processes did: all that the checker reads.

Times are the loop's, in seconds, unless they are said to be the server's.
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
    """A client was told that its job is there."""

    id: JobId
    key: RequestId
    spec: JobSpec
    retry_of: JobId | None
    told_at: float


@dataclass(frozen=True, slots=True)
class Glimpse:
    """A job, as an answer to one call showed it."""

    job: Job
    asked_at: float
    told_at: float


@dataclass(frozen=True, slots=True)
class Listed:
    """Every page of a list."""

    jobs: tuple[Job, ...]
    asked_at: float
    told_at: float


@dataclass(slots=True)
class Viewing:
    """All that one watcher saw of one job, over however many connections."""

    id: JobId
    start: int  # the sequence that it asked for first
    entries: list[JobEvent] = field(default_factory=list)
    done: bool = False


@dataclass(frozen=True, slots=True)
class Epoch:
    """One server's clock: its time is the loop's and `offset`, both in ms."""

    began: Instant  # the first time that it could tell
    offset: int


@dataclass(slots=True)
class Testimony:
    acknowledged: list[Acknowledged] = field(default_factory=list)
    keys: set[RequestId] = field(default_factory=set)  # that were ever sent
    cancelled: list[Glimpse] = field(default_factory=list)  # what a cancel was answered with
    glimpses: list[Glimpse] = field(default_factory=list)
    lists: list[Listed] = field(default_factory=list)
    viewings: list[Viewing] = field(default_factory=list)
    refusals: list[str] = field(default_factory=list)  # that nobody should have heard
    performances: list[Performance] = field(default_factory=list)
    kept: list[tuple[tuple[JobId, int], Artifact]] = field(default_factory=list)  # as was answered
    found: dict[JobId, list[tuple[Artifact, bytes]]] = field(default_factory=dict)  # at the end
    damaged: set[tuple[JobId, int]] = field(default_factory=set)  # attempts whose spools were
    epochs: list[Epoch] = field(default_factory=list)
    slots: dict[str, int] = field(default_factory=dict)  # of each worker that lives at the end
    serves: dict[str, tuple[str, ...]] = field(default_factory=dict)  # the queues that it names
    calm_from: float = 0.0  # nothing is broken any more
    stuck: list[str] = field(default_factory=list)  # what never ended

    def loop_times(self, at: Instant) -> tuple[float, float]:
        """When a server's clock showed this: at the earliest, and at the latest.

        A server that begins where the log ends shows a time that the one before it has shown.
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
        """The story of each job that somebody has seen from its beginning to its end."""
        return {each.id: each.entries for each in self.viewings if each.start == 1 and each.done}
