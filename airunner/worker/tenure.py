"""One lease as its worker sees it: from the Assignment until it is settled or lost.

    Assignment --> reports --> last word --> settled
        |             |            |
        +-------------+------------+-------> lost: lapsed here, or gone on the server

Rules

1. Reports are numbered here, and kept in a spool until the server has them. While more than
   UNACKNOWLEDGED_BYTES_MAX are on their way, report() waits: so nobody reads the command's output,
   and the command blocks.
2. What is to be sent next is asked for (say()), not queued: behind the reports comes the
   last word, a Completion or a GiveBack. After a reconnect, asking begins again behind what the
   server has, so nothing is lost and nothing is doubled.
3. The lease holds until its span has passed since the last acknowledged Heartbeat or Hello
   was *sent*. After that nothing is said any more, whatever the network does later.
4. A Rejected that leaves the lease alive is a disagreement about what was said. The first one
   is answered by reconnecting, which begins again behind what the server has; the second by
   giving up on the log of this attempt (`log_complete` says so); the third by giving the job
   back as lost, which counts as a failure, so that it cannot go on for ever.
"""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Final

from airunner.jobs import Ending, Outcome
from airunner.limits import REPORTS_PER_BATCH_MAX, UNACKNOWLEDGED_BYTES_MAX
from airunner.reports import Report, width
from airunner.session import Assignment, Batch, Completion, GiveBack
from airunner.worker.halt import Halt, Why
from airunner.worker.spool import Spool

MESSAGE_BYTES: Final = 1024 * 1024  # of reports in one Batch, unless a single one is larger


class LeaseLost(Exception):
    """The job is not this worker's any more: nothing that is said of it is heard."""


class Tenure:
    """What one lease's holder knows. `wake` is called when there is something to say."""

    def __init__(
        self,
        assignment: Assignment,
        spool: Spool,
        *,
        until: float,
        confirmed: bool,
        wake: Callable[["Tenure"], None],
    ) -> None:
        """`until` is in the loop's time; `confirmed` says that the lease holds now, for certain."""
        self.job = assignment.job
        self.token = assignment.token
        self.span = assignment.span / 1000  # seconds
        self.output_bytes_max = assignment.output_bytes_max
        self.until = until
        self.halt = Halt()
        self.verdict: Outcome | Ending | None = None  # what the last word says
        self._strikes = 0
        self._loop = asyncio.get_running_loop()
        self._spool = spool
        self._wake = wake
        self._last = 0  # the number of the last report
        self._told = 0  # ... of the last that was sent on this connection
        self._stored = 0  # ... of the last that the server has
        self._last_word_told = False  # on this connection
        self._last_word_heard = False  # perhaps: it was sent on some connection
        self._muted = False
        self._sure = asyncio.Event()
        self._room = asyncio.Event()
        self._over = asyncio.Event()
        if confirmed:
            self._sure.set()

    # For the one who runs the job

    @property
    def lost(self) -> bool:
        return self.halt.why is Why.LOST

    async def confirmed(self) -> None:
        """Return once the lease is known to hold. Raises LeaseLost.

        An Assignment does not say how old it is: a worker that was stopped for an hour reads
        one that came in the first minute of it. So its command does not start before
        the first renewal, unless something newer was acknowledged before.
        """
        await self._sure.wait()
        self._check()

    async def report(self, report: Report) -> None:
        """Have a report sent, waiting while too much is on its way. Raises LeaseLost."""
        while self._spool.size >= UNACKNOWLEDGED_BYTES_MAX and not self.lost:
            self._room.clear()
            await self._room.wait()
        self._check()
        if not self._muted:
            self._spool.append(self._last + 1, report)
            self._last += width(report)
            self._wake(self)

    def end(self, verdict: Outcome | Ending) -> None:
        """Say the last word behind all reports: how the job ended, or that it goes back."""
        assert verdict not in (Ending.FINISHED, Ending.LAPSED)
        if self.verdict is None and not self.lost:
            self.verdict = verdict
            self._wake(self)

    async def over(self) -> bool:
        """Wait for the end of the lease; whether the last word was heard."""
        await self._over.wait()
        return not self.lost

    @property
    def is_over(self) -> bool:
        return self._over.is_set()

    # For the session

    def say(self) -> Batch | Completion | GiveBack | None:
        """The next message, which counts as sent."""
        if self.is_over or self._loop.time() >= self.until:
            return None
        first, reports = self._spool.read(self._told, MESSAGE_BYTES, REPORTS_PER_BATCH_MAX)
        if reports:
            self._told = first + sum(map(width, reports)) - 1
            return Batch(self.token, first, tuple(reports))
        if self.verdict is None or self._last_word_told:
            return None
        self._last_word_told = self._last_word_heard = True
        if isinstance(self.verdict, Ending):
            return GiveBack(self.token, lost=self.verdict is Ending.LOST)
        complete = self.verdict.log_complete and not self._muted
        return Completion(self.token, self._last, replace(self.verdict, log_complete=complete))

    def renewed(self, sent_at: float) -> None:
        """A renewal that was sent at this time has been acknowledged."""
        self.until = max(self.until, sent_at + self.span)
        self._sure.set()

    def resumed(self, stored: int) -> None:
        """A new connection, on which the server has this much."""
        if stored < self._stored or self._strikes > 1:
            self._mute(stored)
        self._told = stored
        self._last_word_told = False
        self.stored(stored)
        if self._strikes > 2 and self.verdict is not None:
            self.verdict = Ending.LOST
        self._wake(self)

    def may_be_settled(self) -> bool:
        """Whether the server may have taken the last word without our hearing of it.

        It then no longer knows the token as one that is held, but answers the same last word again.
        """
        if self._last_word_heard:
            self._last_word_told = False
            self._told = self._last
            self._wake(self)
        return self._last_word_heard

    def strike(self) -> bool:
        """The server has rejected what was said; whether nothing is left to try."""
        self._strikes += 1
        return self._strikes > 3

    def stored(self, upto: int) -> None:
        """The server has all reports up to this number."""
        self._stored = max(self._stored, upto)
        self._spool.forget(upto)
        self._room.set()

    def settled(self) -> None:
        """The last word is durable."""
        self._end()

    def lose(self) -> None:
        """The lease is over without our doing: the tree must die, and nothing more is said."""
        self.halt.ask(Why.LOST, at_once=True)
        self._end()

    def _end(self) -> None:
        self._spool.forget(self._last)
        self._over.set()
        self._sure.set()
        self._room.set()

    def _mute(self, stored: int) -> None:
        self._muted = True
        self._spool.forget(self._last)
        self._last = self._stored = stored

    def _check(self) -> None:
        if self.is_over or self._loop.time() >= self.until:
            raise LeaseLost
