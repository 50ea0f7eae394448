"""The interface of the engine's state machines.

A machine owns the state of one kind of subject: jobs, and later runs, queues, groups and schedules.
Its verbs return facts and change nothing; they are its own and differ between machines. This
interface is the part that the engine drives for all of them.
"""

from collections.abc import Sequence
from typing import Protocol

from airunner.model.facts import Event, Fact
from airunner.model.jobs import Instant


class Machine(Protocol):
    """A deterministic state machine without a clock, a network or a disk."""

    def apply(self, event: Event) -> None:
        """Makes one fact true. It cannot refuse."""
        ...

    def restore(self, event: Event) -> None:
        """Makes one fact of a log true again, without indexes; index() follows the last one."""
        ...

    def index(self) -> None:
        """Builds every index anew, after the last restore()."""
        ...

    def expire(self, now: Instant) -> Sequence[Fact]:
        """The first facts that time alone has made due; the caller asks again until none is left."""
        ...

    def next_deadline(self) -> Instant | None:
        """The time at which expire() next returns a fact if no other fact is applied; None: never."""
        ...

    def check(self) -> None:
        """Asserts the invariants of the state and of its indexes."""
        ...
