"""What the server needs of a store: one ordered log, and nothing else."""

from collections.abc import AsyncGenerator, Sequence
from typing import Protocol

from airunner.model.facts import Event
from airunner.model.jobs import JobId, Position


class LogFull(Exception):
    """There is no room to append. Nothing of the append remains; the same one may be tried again."""


class LogDamaged(Exception):
    """What was appended cannot be read back as it was; says where, and what to do about it."""


class LogRefused(Exception):
    """The file is no log, or none that can be served here. It was not touched."""


class Log(Protocol):
    """Appends in order; reads back what was appended.

    After a crash a prefix of what was appended may remain, never a hole and never
    another order. What append() has returned for is in that prefix, as far as the
    backend promises to outlive a crash at all.
    """

    @property
    def name(self) -> str:
        """Whose places these are: what has another name is another log, with places of its own."""
        ...

    async def append(self, events: Sequence[Event]) -> None:
        """Make events last, in order, all or none; one call at a time.

        Raises LogFull, after which the log is as it was before. Any other error means that
        the server must stop.
        """
        ...

    def read(
        self, id: JobId | None = None, after: int = 0, *, reported: bool = True
    ) -> AsyncGenerator[Event, None]:
        """Events that have been appended, oldest first.

        With an id: what watchers see of that job, every event whose last sequence is
        higher than `after`; nothing for an unknown job; without `reported`, nothing
        that its worker Reported, at no cost for it. Without an id: every event
        that a replay needs, whose place is higher than `after`. That may be less than was
        appended: of several renewals of a lease the last, one Tallied in the place
        of what was Reported of a job that has not ended, and nothing of a job that
        was forgotten but the fact itself.

        Raises LogDamaged.
        """
        ...

    def read_all(self, place: Position) -> AsyncGenerator[Event, None]:
        """What watchers see of all jobs: every event whose place is higher, oldest first.

        It ends with what was appended when it began, or later. Places have gaps, for some events
        no watcher sees, and what retention has taken by then is not told: of a forgotten job
        nothing, and a mark where output was. One event may become part of a later one, which
        then begins at sequences that were told before: a cut that follows a cut.

        Raises LogDamaged.
        """
        ...
