"""The whole server without its network, disk and clock."""

from collections.abc import Container, Iterable, Sequence

from airunner.facts import Enqueued, Event, Fact, sequences
from airunner.jobs import BEGINNING, Instant, JobId, Place
from airunner.jobs import Sequence as EventSequence
from airunner.retention import Retention
from airunner.store.queue import NOBODY, Queue
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
        self._watched = watched

    def replay(self, event: Event) -> None:
        """Make one event of a log true; they come in the order of the log."""
        assert event.place > self.tail
        self.table.apply(event.fact, event.place, event.at)
        self.tail, self.now = event.place, max(self.now, event.at)

    def record(self, facts: Sequence[Fact], now: Instant) -> list[Event]:
        """Make facts true, and then whatever follows from the time; the events, in order."""
        events: list[Event] = []
        while facts:
            for fact in facts:
                event = Event(Place(self.tail + 1), now, fact, self._first(fact))
                self.replay(event)
                events.append(event)
            facts = self.queue.expire(now, self._watched)
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

    def _first(self, fact: Fact) -> EventSequence:
        if isinstance(fact, Enqueued):
            return EventSequence(1)
        return EventSequence(self.table.job(fact.id).sequence + (sequences(fact) > 0))


def replayed(
    events: Iterable[Event], retention: Retention | None = None, watched: Container[JobId] = NOBODY
) -> Engine:
    """An engine as it was when the last of these events was recorded."""
    engine = Engine(retention, watched)
    for event in events:
        engine.replay(event)
    return engine
