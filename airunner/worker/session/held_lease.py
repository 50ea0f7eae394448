"""One lease at its worker, from the Assignment until it is settled or lost.

    Assignment --> reports --> final report --> settled
        |             |            |
        +-------------+------------+-------> lost: lapsed here, or gone on the server

Rules

1. The worker numbers the reports and keeps each in a spool until the server has stored it. While
   the spool is full, report() waits: then nothing reads the command's output, and the command
   blocks in its write. At most UNACKNOWLEDGED_BYTES_MAX of reports are in flight at a time.
2. The session asks for the next message (next_message()); the lease queues none. The final report,
   a Completion or a GiveBack, follows the reports. After a reconnect the lease starts again after
   the last report that the server has stored, so no report is lost or stored twice.
3. The lease holds until its span has passed since the last acknowledged Heartbeat or Hello was
   *sent*. After that the worker sends nothing for the lease, even if the network recovers.
4. A Rejected that leaves the lease alive means that worker and server disagree about the reports.
   After the first one the worker reconnects, and starts again after the last stored report. After
   the second it gives up the log of this attempt (`log_complete` is false). After the third it
   gives the job back as lost, which counts as a failure and so ends an endless loop.
5. A Rejected for lack of room is no disagreement: the worker sends the reports again later, from
   the last stored one, any number of times. The server also rejects each message behind the first
   one, as out of sequence; so the worker sends nothing until all of them have an answer.
6. A report that the spool cannot read back ends the log of the attempt there, as in 4. It does not
   change the outcome of the command. Neither does a report that ends the connection each time that
   it is sent: after REFUSALS_MAX connections the lease gives up the log, and after as many more it
   gives the job back as lost. Leases whose messages were
   under way pause for different times, so that an innocent one is soon stored, and goes on.
7. The spool keeps the final report too. If this worker dies, the next one delivers it; if the
   attempt died with its worker, the next one gives the job back as lost.
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
from airunner.worker.process import Deadline
from airunner.worker.session.backoff import Backoff
from airunner.worker.spool.spool import FinalReport, Spool, SpoolDamaged, size_of
from airunner.worker.spool.spools import Orphan

MESSAGE_BYTES: Final = 1024 * 1024  # of reports in one Batch, unless a single one is larger

REFUSALS_MAX: Final = 4  # connections that a report may end


class HeldLease:
    """A lease and its unsent, unanswered and unstored reports; an AttemptHandle.

    `wake` is called when the lease may have a message to send.
    """

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
        """`until`: end of the lease, in the loop's time. `confirmed`: the lease certainly holds.

        `backoff` paces the retries of reports that the server has no room for.
        """
        self.job = assignment.job
        self.token = assignment.token
        self.span = assignment.span / 1000  # seconds
        self.output_bytes_max = assignment.output_bytes_max
        self.deadline = Deadline(until)
        self.stop = StopRequest()
        self.verdict: Outcome | AttemptEnd | None = None  # the content of the final report
        self.adopted = False  # taken over from a dead worker
        self._rejections = 0
        self._refusals = 0  # connections in succession that a message of this lease may have ended
        self._loop = asyncio.get_running_loop()
        self._spool = spool
        self._wake = wake
        self._backoff = backoff
        self._last = 0  # number of the last report
        self._sent = 0  # number of the last report that was sent on this connection
        self._stored = 0  # number of the last report that the server has stored
        self._in_flight: deque[tuple[int, int]] = deque()  # unanswered: last number, bytes
        self._bytes_in_flight = 0
        self._final_sent = False  # the final report, on this connection
        self._final_ever_sent = False  # on any connection, so the server may have it
        self._log_given_up = False
        self._retry: asyncio.TimerHandle | None = None  # until then, nothing is sent
        self._confirmed = asyncio.Event()
        self._spool_has_room = asyncio.Event()
        self._over = asyncio.Event()
        if confirmed:
            self._confirmed.set()

    def adopt(self, orphan: Orphan) -> None:
        """Continues an attempt whose worker is dead, if the server still holds its lease."""
        self.adopted = True
        self._last = orphan.final_report.last if orphan.final_report else orphan.spool.last
        if orphan.final_report:
            self.verdict = orphan.final_report.verdict
            self._final_ever_sent = True
        else:
            orphan.when_processes_gone(lambda: self.end(AttemptEnd.LOST))

    # For the attempt

    @property
    def until(self) -> float:
        """The end of the lease, in the loop's time."""
        return self.deadline.at

    @property
    def lost(self) -> bool:
        return self.stop.why is StopReason.LOST

    async def confirmed(self) -> None:
        """Returns once the lease is known to hold. Raises LeaseLost.

        An Assignment does not say how old it is: a worker that was suspended for an hour reads an
        Assignment from the first minute of that hour. So the command does not start before the
        first renewal, unless a newer message was acknowledged before.
        """
        await self._confirmed.wait()
        self._check()

    async def report(self, report: Report) -> None:
        """Sends a report, after waiting for room in the spool. Raises LeaseLost."""
        while self._spool.full and not self._log_given_up and not self.lost:
            self._spool_has_room.clear()
            await self._spool_has_room.wait()
        self._check()
        if not self._log_given_up:
            self._append(report)
            self._wake(self)

    def end(self, verdict: Outcome | AttemptEnd) -> None:
        """Sends the final report behind all reports: the job's outcome, or that it is given back.

        No process of the attempt may be left. Only the first call counts.
        """
        assert verdict not in (AttemptEnd.FINISHED, AttemptEnd.LAPSED)
        if self.verdict is None and not self.is_over:
            self.verdict = verdict
            self._conclude()
            self._wake(self)

    async def over(self) -> bool:
        """Waits until the lease is settled or lost; returns whether it is settled."""
        await self._over.wait()
        return not self.lost

    @property
    def is_over(self) -> bool:
        return self._over.is_set()

    # For the session

    def next_message(self) -> Batch | Completion | GiveBack | None:
        """The next message, which counts as sent."""
        if self.is_over or self._retry or self._loop.time() >= self.until:
            return None
        if self._sent < self._last:
            if self._bytes_in_flight >= UNACKNOWLEDGED_BYTES_MAX:
                return None
            first, reports = self._read()
            if reports:
                self._sent = first + sum(map(count_sequences, reports)) - 1
                self._add_to_flight(self._sent, sum(map(size_of, reports)))
                return Batch(self.token, first, tuple(reports))
        if self.verdict is None or self._final_sent:
            return None
        self._final_sent = self._final_ever_sent = True
        self._add_to_flight(self._last + 1, 0)  # a number that no Stored reaches
        if isinstance(self.verdict, AttemptEnd):
            lost = self.verdict is AttemptEnd.LOST
            return GiveBack(self.token, lost, not self._log_given_up, self._last)
        return Completion(self.token, self._last, self.verdict)

    def renewed(self, sent_at: float) -> None:
        """Extends the lease: the server has acknowledged a renewal that was sent at this time."""
        self.deadline.move(max(self.until, sent_at + self.span))
        self._confirmed.set()

    def resumed(self, stored: int) -> None:
        """Starts again on a new connection; the server has the reports up to number `stored`."""
        self._forget_flight()
        if stored > self._stored:
            self._refusals = 0
        if stored < self._stored or self._rejections > 1 or self._refusals > REFUSALS_MAX:
            self._stored = self._last = stored
            self._give_up_log()
        self._last = max(self._last, stored)
        self.acknowledged(stored)
        hopeless = self._rejections > 2 or self._refusals > 2 * REFUSALS_MAX
        if hopeless and self.verdict is not None:
            self.verdict = AttemptEnd.LOST
            self._conclude()
        self._send_again()
        if self._refusals:
            self._retry = self._loop.call_later(self._backoff.next(), self._end_pause)

    def may_be_settled(self) -> bool:
        """Whether the server may have settled the lease while its Settled was lost.

        Such a server does not list the token as held, but answers the same final report again.
        """
        if self._final_ever_sent:
            self._forget_flight()
            self._send_again()
            self._sent = self._last
        return self._final_ever_sent

    def retry_later(self, status: str) -> bool:
        """Takes a rejection; returns whether it is for lack of room, so that a retry follows."""
        if self._in_flight:
            self._take_answer()
        if status == LimitReached.status and not self._retry:
            self._retry = self._loop.call_later(self._backoff.next(), self._end_pause)
        return self._retry is not None

    def suspect(self) -> None:
        """Counts the end of a connection by a message, which was this lease's if one is in flight."""
        if self._in_flight:
            self._refusals += 1

    def count_rejection(self) -> bool:
        """Counts a rejection that is a disagreement; returns whether no remedy is left."""
        self._rejections += 1
        return self._rejections > 3

    def acknowledged(self, upto: int) -> None:
        """Forgets the reports up to this number, which the server has stored."""
        if upto > self._stored:
            self._stored = upto
            self._refusals = 0
            self._backoff.reset()
        while self._in_flight and self._in_flight[0][0] <= upto:
            self._take_answer()
        self._spool.forget(upto)
        self._spool_has_room.set()
        self._wake(self)

    def settled(self) -> None:
        """Ends the lease: the server has the final report durably."""
        self._spool.discard()
        self._end()

    def lose(self) -> None:
        """Ends the lease without a final report: the process tree must die, and nothing is sent.

        The spool sets undelivered reports aside.
        """
        self.stop.ask(StopReason.LOST, at_once=True)
        if self._stored < self._last or isinstance(self.verdict, Outcome):
            self._spool.refuse()
        else:
            self._spool.discard()
        self._end()

    def _end(self) -> None:
        if self._retry:
            self._retry.cancel()
        self._over.set()
        self._confirmed.set()
        self._spool_has_room.set()

    # The spool

    def _append(self, report: Report) -> None:
        remark = self._spool.append(self._last + 1, report)
        self._last += count_sequences(report)
        if remark:
            self._append(remark)

    def _read(self) -> tuple[int, Sequence[Report]]:
        """The next reports to send; none if the spool has lost them, which ends the log here."""
        try:
            first, reports = self._spool.read(self._sent, MESSAGE_BYTES, REPORTS_PER_BATCH_MAX)
        except SpoolDamaged:
            first, reports = 0, ()
        if reports and first <= self._sent + 1:
            return first, reports
        self._last = self._sent
        self._give_up_log()
        return 0, ()

    def _give_up_log(self) -> None:
        """Sends no more reports: the log stays incomplete, and the final report says so."""
        self._log_given_up = True
        self._spool_has_room.set()
        if self.verdict is not None:
            self._conclude()

    def _conclude(self) -> None:
        """Writes the final report to the spool, for the worker that comes after this one."""
        assert self.verdict is not None
        if self._log_given_up and isinstance(self.verdict, Outcome):
            self.verdict = replace(self.verdict, log_complete=False)
        self._spool.conclude(FinalReport(self._last, self.verdict))

    # The flight: messages without an answer

    def _add_to_flight(self, last: int, size: int) -> None:
        self._in_flight.append((last, size))
        self._bytes_in_flight += size

    def _take_answer(self) -> None:
        self._bytes_in_flight -= self._in_flight.popleft()[1]

    def _forget_flight(self) -> None:
        self._in_flight.clear()
        self._bytes_in_flight = 0

    def _send_again(self) -> None:
        """Sends everything that the server has not stored, again."""
        if self._retry:
            self._retry.cancel()
            self._retry = None
        self._sent = self._stored
        self._final_sent = False
        self._wake(self)

    def _end_pause(self) -> None:
        """Sends again, unless a message from before the pause still has no answer."""
        if self._in_flight:
            self._retry = self._loop.call_later(self._backoff.next(), self._end_pause)
        else:
            self._send_again()

    def _check(self) -> None:
        if self.is_over or self._loop.time() >= self.until:
            raise LeaseLost
