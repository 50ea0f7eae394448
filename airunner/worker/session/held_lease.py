"""One lease as its worker sees it: from the Assignment until it is settled or lost.

    Assignment --> reports --> last word --> settled
        |             |            |
        +-------------+------------+-------> lost: lapsed here, or gone on the server

Rules

1. Reports are numbered here, and kept in a spool until the server has them. While the spool
   is full, report() waits: so nobody reads the command's output, and the command blocks. No more than
   UNACKNOWLEDGED_BYTES_MAX are on their way at a time.
2. What is to be sent next is asked for (say()), not queued: behind the reports comes the
   last word, a Completion or a GiveBack. After a reconnect, asking begins again behind what the
   server has, so nothing is lost and nothing is doubled.
3. The lease holds until its span has passed since the last acknowledged Heartbeat or Hello
   was *sent*. After that nothing is said any more, whatever the network does later.
4. A Rejected that leaves the lease alive is a disagreement about what was said. The first one
   is answered by reconnecting, which begins again behind what the server has; the second by
   giving up on the log of this attempt (`log_complete` says so); the third by giving the job
   back as lost, which counts as a failure, so that it cannot go on for ever.
5. A Rejected for want of room is none: what was said is said again later, from what the server
   has, as often as it takes. What was on its way behind it is rejected too, one by one, as out of
   sequence; so nothing more is said until all of that has been answered.
6. What a spool cannot give back ends the log of the attempt there, as in 4, and never the
   command's own result.
7. The last word is kept in the spool too: the worker that takes over what a dead one left
   says it, or, if the attempt died with its worker, gives the job back as lost.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

from msgspec.structs import replace

from airunner.model.errors import LimitReached
from airunner.model.jobs import AttemptEnd, Outcome
from airunner.model.limits import REPORTS_PER_BATCH_MAX, UNACKNOWLEDGED_BYTES_MAX
from airunner.model.protocol.worker_protocol import Assignment, Batch, Completion, GiveBack
from airunner.model.reports import Report, count_sequences
from airunner.worker.attempt.handle import LeaseLost
from airunner.worker.attempt.stop import StopReason, StopRequest
from airunner.worker.session.backoff import Backoff
from airunner.worker.spool.spool import FinalReport, Spool, SpoolDamaged, size_of
from airunner.worker.spool.spools import Orphan

MESSAGE_BYTES: Final = 1024 * 1024  # of reports in one Batch, unless a single one is larger


class HeldLease:
    """What one lease's holder knows. `wake` is called when there is something to say."""

    def __init__(
        self,
        assignment: Assignment,
        spool: Spool,
        *,
        until: float,
        confirmed: bool,
        wake: Callable[["HeldLease"], None],
        backoff: Backoff,
    ) -> None:
        """`until` is in the loop's time; `confirmed` says that the lease holds now, for certain.

        `backoff` is for what the server has no room for.
        """
        self.job = assignment.job
        self.token = assignment.token
        self.span = assignment.span / 1000  # seconds
        self.output_bytes_max = assignment.output_bytes_max
        self.until = until
        self.stop = StopRequest()
        self.verdict: Outcome | AttemptEnd | None = None  # what the last word says
        self.inherited = False  # from a worker that is dead
        self._strikes = 0
        self._loop = asyncio.get_running_loop()
        self._spool = spool
        self._wake = wake
        self._backoff = backoff
        self._last = 0  # the number of the last report
        self._told = 0  # ... of the last that was sent on this connection
        self._stored = 0  # ... of the last that the server has
        self._flight: deque[tuple[int, int]] = deque()  # unanswered: last number, bytes
        self._flying = 0  # bytes of them all
        self._last_word_told = False  # on this connection
        self._last_word_heard = False  # perhaps: it was sent on some connection
        self._muted = False
        self._pause: asyncio.TimerHandle | None = None  # until its time, nothing is said
        self._sure = asyncio.Event()
        self._room = asyncio.Event()
        self._over = asyncio.Event()
        if confirmed:
            self._sure.set()

    def inherit(self, left: Orphan) -> None:
        """Go on with what a dead worker has left, if the server still holds its lease."""
        self.inherited = True
        self._last = left.final_report.last if left.final_report else left.spool.last
        if left.final_report:
            self.verdict = left.final_report.verdict
            self._last_word_heard = True
        else:
            left.when_processes_gone(lambda: self.end(AttemptEnd.LOST))

    # For the one who runs the job

    @property
    def lost(self) -> bool:
        return self.stop.why is StopReason.LOST

    async def confirmed(self) -> None:
        """Return once the lease is known to hold. Raises LeaseLost.

        An Assignment does not say how old it is: a worker that was stopped for an hour reads
        one that came in the first minute of it. So its command does not start before
        the first renewal, unless something newer was acknowledged before.
        """
        await self._sure.wait()
        self._check()

    async def report(self, report: Report) -> None:
        """Have a report sent, waiting while too much is kept for the server. Raises LeaseLost."""
        while self._spool.full and not self._muted and not self.lost:
            self._room.clear()
            await self._room.wait()
        self._check()
        if not self._muted:
            self._keep(report)
            self._wake(self)

    def end(self, verdict: Outcome | AttemptEnd) -> None:
        """Say the last word behind all reports: how the job ended, or that it goes back.

        No process of the attempt may be left.
        """
        assert verdict not in (AttemptEnd.FINISHED, AttemptEnd.LAPSED)
        if self.verdict is None and not self.is_over:
            self.verdict = verdict
            self._conclude()
            self._wake(self)

    async def over(self) -> bool:
        """Wait for the end of the lease; whether the last word was heard."""
        await self._over.wait()
        return not self.lost

    @property
    def is_over(self) -> bool:
        return self._over.is_set()

    # For the session

    def next_message(self) -> Batch | Completion | GiveBack | None:
        """The next message, which counts as sent."""
        if self.is_over or self._pause or self._loop.time() >= self.until:
            return None
        if self._told < self._last:
            if self._flying >= UNACKNOWLEDGED_BYTES_MAX:
                return None
            first, reports = self._read()
            if reports:
                self._told = first + sum(map(count_sequences, reports)) - 1
                self._send(self._told, sum(map(size_of, reports)))
                return Batch(self.token, first, tuple(reports))
        if self.verdict is None or self._last_word_told:
            return None
        self._last_word_told = self._last_word_heard = True
        self._send(self._last + 1, 0)  # a number that nothing stores
        if isinstance(self.verdict, AttemptEnd):
            lost = self.verdict is AttemptEnd.LOST
            return GiveBack(self.token, lost, not self._muted, self._last)
        return Completion(self.token, self._last, self.verdict)

    def renewed(self, sent_at: float) -> None:
        """A renewal that was sent at this time has been acknowledged."""
        self.until = max(self.until, sent_at + self.span)
        self._sure.set()

    def resumed(self, stored: int) -> None:
        """A new connection, on which the server has this much."""
        self._forget_flight()
        if stored < self._stored or self._strikes > 1:
            self._stored = self._last = stored
            self._mute()
        self._last = max(self._last, stored)
        self.acknowledged(stored)
        if self._strikes > 2 and self.verdict is not None:
            self.verdict = AttemptEnd.LOST
            self._conclude()
        self._go_on()

    def may_be_settled(self) -> bool:
        """Whether the server may have taken the last word without our hearing of it.

        It then no longer knows the token as one that is held, but answers the same last word again.
        """
        if self._last_word_heard:
            self._forget_flight()
            self._go_on()
            self._told = self._last
        return self._last_word_heard

    def retry_later(self, status: str) -> bool:
        """Whether what was rejected is to be said again later; else it is a disagreement."""
        if self._flight:
            self._answered()
        if status == LimitReached.status and not self._pause:
            self._pause = self._loop.call_later(self._backoff.next(), self._end_pause)
        return self._pause is not None

    def count_rejection(self) -> bool:
        """The server has rejected what was said; whether nothing is left to try."""
        self._strikes += 1
        return self._strikes > 3

    def acknowledged(self, upto: int) -> None:
        """The server has all reports up to this number."""
        if upto > self._stored:
            self._stored = upto
            self._backoff.reset()
        while self._flight and self._flight[0][0] <= upto:
            self._answered()
        self._spool.forget(upto)
        self._room.set()
        self._wake(self)

    def settled(self) -> None:
        """The last word is durable."""
        self._spool.discard()
        self._end()

    def lose(self) -> None:
        """The lease is over without our doing: the tree must die, and nothing more is said.

        What was not delivered is set aside.
        """
        self.stop.ask(StopReason.LOST, at_once=True)
        if self._stored < self._last or isinstance(self.verdict, Outcome):
            self._spool.refuse()
        else:
            self._spool.discard()
        self._end()

    def _end(self) -> None:
        if self._pause:
            self._pause.cancel()
        self._over.set()
        self._sure.set()
        self._room.set()

    # What is kept

    def _keep(self, report: Report) -> None:
        remark = self._spool.append(self._last + 1, report)
        self._last += count_sequences(report)
        if remark:
            self._keep(remark)

    def _read(self) -> tuple[int, Sequence[Report]]:
        """What is to be said next; nothing if it is lost, and then nothing follows either."""
        try:
            first, reports = self._spool.read(self._told, MESSAGE_BYTES, REPORTS_PER_BATCH_MAX)
        except SpoolDamaged:
            first, reports = 0, ()
        if reports and first <= self._told + 1:
            return first, reports
        self._last = self._told
        self._mute()
        return 0, ()

    def _mute(self) -> None:
        """Say no more reports: this attempt's log stays incomplete, and its end says so."""
        self._muted = True
        self._room.set()
        if self.verdict is not None:
            self._conclude()

    def _conclude(self) -> None:
        """Keep the last word for the worker that comes after this one."""
        assert self.verdict is not None
        if self._muted and isinstance(self.verdict, Outcome):
            self.verdict = replace(self.verdict, log_complete=False)
        self._spool.conclude(FinalReport(self._last, self.verdict))

    # When it is said

    def _send(self, last: int, size: int) -> None:
        self._flight.append((last, size))
        self._flying += size

    def _answered(self) -> None:
        self._flying -= self._flight.popleft()[1]

    def _forget_flight(self) -> None:
        self._flight.clear()
        self._flying = 0

    def _go_on(self) -> None:
        """Say again what the server does not have."""
        if self._pause:
            self._pause.cancel()
            self._pause = None
        self._told = self._stored
        self._last_word_told = False
        self._wake(self)

    def _end_pause(self) -> None:
        """Go on, unless something that was said before has not been answered."""
        if self._flight:
            self._pause = self._loop.call_later(self._backoff.next(), self._end_pause)
        else:
            self._go_on()

    def _check(self) -> None:
        if self.is_over or self._loop.time() >= self.until:
            raise LeaseLost
