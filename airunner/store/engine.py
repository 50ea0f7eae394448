"""The whole server without its network, disk and clock."""

from collections.abc import Container, Iterable, Sequence

from msgspec.structs import replace

from airunner.model.facts import Enqueued, Event, Fact, Finished, sequence_count
from airunner.model.job_events import job_event
from airunner.model.jobs import BEGINNING, Instant, JobId, Position
from airunner.model.jobs import Sequence as EventSequence
from airunner.model.proof.chain import linked
from airunner.model.proof.seal import NOTHING, Seal
from airunner.store.queue import NOBODY, Queue
from airunner.store.retention import Retention
from airunner.store.table import Table


class Engine:
    """One order of events, and the state that follows from it.

    `watched` is a view of the jobs that somebody watches now, which retention spares.
    """

    def __init__(
        self, retention: Retention | None = None, watched: Container[JobId] = NOBODY
    ) -> None:
        self.table = Table()
        self.queue = Queue(self.table, retention or Retention())
        self.tail = BEGINNING
        self.now = Instant(0)  # of the last event
        self.due: Instant | None = None  # next_deadline() when something was recorded last
        self._watched = watched

    def restore(self, event: Event) -> None:
        """Make one event of a log true; they come in the order of the log, and index() at the end."""
        assert event.place > self.tail
        self.table.restore(event)
        self.tail, self.now = event.place, max(self.now, event.at)

    def index(self) -> None:
        """Be ready for requests, after the last restore()."""
        self.table.index()

    def record(self, facts: Sequence[Fact], now: Instant) -> list[Event]:
        """Make facts true, and then whatever follows from the time; the events, in order."""
        events: list[Event] = []
        while facts:
            for fact in facts:
                event = self._event(fact, now)
                self.table.apply(event)
                self.tail, self.now = event.place, max(self.now, now)
                events.append(event)
            self.due = self.next_deadline()
            is_due = self.due is not None and self.due <= now
            facts = self.queue.expire(now, self._watched) if is_due else ()
        return events

    def settle(self, now: Instant) -> list[Event]:
        """Make true what time alone has done."""
        return self.record(self.queue.expire(now, self._watched), now)

    def next_deadline(self) -> Instant | None:
        """When settle() will next have something to say, if nothing else happens."""
        return self.queue.next_deadline(self._watched)

    def check(self) -> None:
        """Assert what always holds."""
        self.table.check()

    def _event(self, fact: Fact, now: Instant) -> Event:
        """The fact in its place, with its job's chain drawn through it, and sealed if it is the end."""
        place, first, before = Position(self.tail + 1), EventSequence(1), NOTHING
        if not isinstance(fact, Enqueued):
            job = self.table.job(fact.id)
            first, before = EventSequence(job.sequence + (sequence_count(fact) > 0)), job.link
        event = Event(place, now, fact, first, before)
        if seen := job_event(event):
            event = replace(event, link=linked(before, seen))
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
    events: Iterable[Event], retention: Retention | None = None, watched: Container[JobId] = NOBODY
) -> Engine:
    """An engine as it was when the last of these events was recorded."""
    engine = Engine(retention, watched)
    for event in events:
        engine.restore(event)
    engine.index()
    return engine
