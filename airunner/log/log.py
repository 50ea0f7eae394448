"""What the server needs of a store: one ordered log, and nothing else."""

from collections.abc import AsyncGenerator, Sequence
from typing import Protocol

from airunner.facts import Event
from airunner.jobs import JobId


class Log(Protocol):
    """Appends in order; reads back what was appended.

    After a crash a prefix of what was appended may remain, never a hole and never
    another order. What append() has returned for is in that prefix, as far as the
    backend promises to outlive a crash at all.
    """

    async def append(self, events: Sequence[Event]) -> None:
        """Make events last, in order. An error means that the server must stop."""
        ...

    def read(self, id: JobId | None = None, after: int = 0) -> AsyncGenerator[Event, None]:
        """Events that have been appended, oldest first.

        With an id: what watchers see of that job, every event whose last sequence is
        higher than `after`; nothing for an unknown job. Without: every event
        that a replay needs, whose place is higher than `after`.
        """
        ...
