"""The whole server without its network, disk and clock.

The engine is the only door to the state. It gives facts their positions, applies them, and asks each
of its machines for the facts that follow. Requests come in as verbs of a machine, time as settle().
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Final

from msgspec.structs import replace

from airunner.model.facts import (
    Enqueued,
    Event,
    Fact,
    Finished,
    JobFact,
    SubjectFact,
    sequence_count,
)
from airunner.model.job_events import job_event
from airunner.model.jobs import BEGINNING, Instant, JobId, Position
from airunner.model.jobs import Sequence as EventSequence
from airunner.model.proof.chain import next_link
from airunner.model.proof.seal import NOTHING, Seal
from airunner.store.machine import Machine
from airunner.store.queue import Queue
from airunner.store.retention import Retention
from airunner.store.table import Table

NO_MACHINES: Final[Mapping[str, Machine]] = MappingProxyType({})


class Engine:
    """One order of events, and the state that follows from it.

    `machines` own the subjects other than jobs, by the kind of subject: the part of `subject` before
    its slash. `watched` counts the readers of each job; retention removes no job that is in it.
    """

    def __init__(
        self, retention: Retention | None = None, *, machines: Mapping[str, Machine] = NO_MACHINES
    ) -> None:
        self.watched: Counter[JobId] = Counter()
        self.table = Table()
        self.queue = Queue(self.table, retention or Retention(), self.watched)
        self.tail = BEGINNING
        self.now = Instant(0)  # the time of the last event
        self.due: Instant | None = None  # next_deadline() after the last recorded fact
        self._by_kind = machines
        self._machines: tuple[Machine, ...] = (self.queue, *machines.values())

    def restore(self, event: Event) -> None:
        """Applies one event of a log. Events come in the order of the log; index() follows."""
        assert event.place > self.tail
        self._machine(event.fact).restore(event)
        self.tail, self.now = event.place, max(self.now, event.at)

    def index(self) -> None:
        """Makes the engine ready for requests, after the last restore()."""
        for machine in self._machines:
            machine.index()

    def record(self, facts: Sequence[Fact], now: Instant) -> list[Event]:
        """Applies facts, then each fact that time has made due; the events, in order."""
        events: list[Event] = []
        while facts:
            events.extend(self._apply(fact, now) for fact in facts)
            self.due = self.next_deadline()
            facts = self._expire(now) if self.due is not None and self.due <= now else ()
        return events

    def settle(self, now: Instant) -> list[Event]:
        """Applies each fact that time alone has made due."""
        return self.record(self._expire(now), now)

    def next_deadline(self) -> Instant | None:
        """The time at which settle() next has an effect if no other fact is recorded; None: never."""
        deadlines = (machine.next_deadline() for machine in self._machines)
        return min((each for each in deadlines if each is not None), default=None)

    def check(self) -> None:
        """Asserts the invariants of every machine."""
        for machine in self._machines:
            machine.check()

    def _expire(self, now: Instant) -> Sequence[Fact]:
        """The due facts of the first machine that has any."""
        for machine in self._machines:
            if facts := machine.expire(now):
                return facts
        return ()

    def _apply(self, fact: Fact, now: Instant) -> Event:
        if isinstance(fact, SubjectFact):
            event = Event(Position(self.tail + 1), now, fact, EventSequence(0))
        else:
            event = self._job_event(fact, now)
        self._machine(fact).apply(event)
        self.tail, self.now = event.place, max(self.now, now)
        return event

    def _machine(self, fact: Fact) -> Machine:
        """The machine that owns the subject of a fact."""
        if isinstance(fact, SubjectFact):
            return self._by_kind[fact.subject.partition("/")[0]]
        return self.queue

    def _job_event(self, fact: JobFact, now: Instant) -> Event:
        """The event of a fact about a job: chained to the job's stream, and sealed if it ends it."""
        place, first, before = Position(self.tail + 1), EventSequence(1), NOTHING
        if not isinstance(fact, Enqueued):
            job = self.table.job(fact.id)
            first, before = EventSequence(job.sequence + (sequence_count(fact) > 0)), job.link
        event = Event(place, now, fact, first, before)
        if seen := job_event(event):
            event = replace(event, link=next_link(before, seen))
        if isinstance(fact, Finished):
            seal = Seal(
                count=event.last,
                size=job.output_bytes,
                cut=job.output_bytes_cut,
                digest=event.link,
            )
            event = replace(event, fact=replace(fact, seal=seal))
        return event


def replayed(
    events: Iterable[Event],
    retention: Retention | None = None,
    *,
    machines: Mapping[str, Machine] = NO_MACHINES,
) -> Engine:
    """An engine in the state that the last of these events left."""
    engine = Engine(retention, machines=machines)
    for event in events:
        engine.restore(event)
    engine.index()
    return engine
