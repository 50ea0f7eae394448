"""The interface of a log: one ordered sequence of events, which is all that the server stores.

Rules for a back end
- append() returns once every event of the call is durable, in order. After a crash a prefix of the
  appended events remains: never a hole, never another order. The prefix contains every event for
  which append() has returned, as far as the back end promises to outlive that crash.
- LogFull means that the log took nothing of the call. The server repeats the same call until it
  succeeds.
- After any other error of append() an unknown prefix of the call may be in the log, and the log takes
  nothing more. The server ends, and its next start replays the log. A back end that appends events one
  by one (a stream of messages) therefore needs no transaction: it stops at the first event that
  fails.
- An error of the back end is a class of this module. Errors of its library or of the disk do not pass
  its boundary.
"""

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from airunner.model.facts import Event
from airunner.model.jobs import JobId, Position


class LogFull(Exception):
    """There is no room to append. The log took nothing of the append, which may be repeated."""


class LogFailed(Exception):
    """The back end failed, so the server must stop; says why.

    Examples are a disk that reports an error, a connection that is lost for good, and a lost fence:
    another server has become the writer.
    """


class LogDamaged(Exception):
    """Stored bytes differ from the bytes that were written; says where, and how to repair the log."""


class LogRefused(Exception):
    """The log cannot be opened: it is something else, of a later version, or in use. It is unchanged."""


class Fsync(StrEnum):
    """When an append is durable, for a log on a disk."""

    FULL = "full"  # once the disk has it: it outlives a power cut
    NORMAL = "normal"  # once the kernel has it: it outlives a kill of the server


@dataclass(frozen=True, slots=True)
class LogStatistics:
    """Plain numbers for metrics. None: the back end does not have the number at low cost."""

    newest: int  # the position of the newest event; 0: there is none
    oldest: int | None = None  # the position of the oldest event; 0: there is none
    events: int | None = None
    size: int | None = None  # bytes on the disk


class Log(Protocol):
    """Appends events in order and reads them back."""

    @property
    def name(self) -> str:
        """Identifies the log. Positions of logs with different names cannot be compared."""
        ...

    def knows(self, name: str, position: Position) -> bool:
        """True if the log called `name` and this log have the same events up to the position.

        That is so for the name of this log, and for each former name up to the position at which the
        log lost it. A position behind the newest event is not checked.
        """
        ...

    async def append(self, events: Sequence[Event]) -> None:
        """Appends events in order; the caller makes one call at a time.

        Raises LogFull if the log took nothing, and then the same call may be repeated. After any
        other error the log may have taken the first of the events, and the server must stop.
        """
        ...

    def read(
        self, id: JobId | None = None, after: int = 0, *, reported: bool = True
    ) -> AsyncGenerator[Event, None]:
        """Yields appended events, oldest first.

        With an id: the events of that job that its watchers see and whose last sequence is higher
        than `after`; nothing for an unknown job. Without `reported` its Reported events are left out
        and not read. Without an id: every event that a replay needs and whose position is higher than
        `after`. A replay needs fewer events than were appended: of several renewals of a lease the
        last, one ReportTotals in the place of all Reported of a job that has not ended, and of a
        forgotten job only the fact that says so.

        Raises LogDamaged, LogFailed.
        """
        ...

    def read_all(self, place: Position) -> AsyncGenerator[Event, None]:
        """Yields the events of all jobs that watchers see and whose position is higher, oldest first.

        It ends at the newest event of the moment when it began, or later. Positions have gaps: some
        events have no watcher, and events that retention has removed meanwhile are missing (those of
        a forgotten job) or replaced by a mark (output). One event may become part of a later one,
        which then begins at sequences that were read before: a cut that follows a cut.

        Raises LogDamaged, LogFailed.
        """
        ...

    async def statistics(self) -> LogStatistics:
        """The numbers of this moment. Raises LogDamaged, LogFailed."""
        ...
