"""The worker's end of its session with a server (messages: model/protocol/worker_protocol.py).

    connect -> Hello -> Welcome -> (send | receive | heartbeats) ... broken -> backoff -> connect

No outgoing message is queued. The sender task asks each source for its next message: a farewell,
a heartbeat, credit, then the held leases in turn. A broken connection loses no message; the next
connection starts after the last message that the server has stored.

The session keeps two deadlines, both in the event loop's time. A heartbeat is sent every third of
the span and renews each lease from the time of sending. A lease not renewed for its whole span is
lost: the worker kills the job's process tree. Until then the server may be away or hang, and jobs
run on.

The server answers the heartbeat after a Farewell behind its last Assignment, so a worker that has
this answer leaves no lease in transit.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from math import inf
from random import Random
from typing import Final

from msgspec.structs import replace
from structlog.typing import FilteringBoundLogger

from airunner.model.errors import Refused
from airunner.model.jobs import AttemptEnd, TaskToken
from airunner.model.limits import HEARTBEAT_TOKENS_MAX, WORKER_SLOTS_MAX
from airunner.model.protocol.channel import Channel, ChannelClosed, MessageRefused
from airunner.model.protocol.worker_protocol import (
    Assignment,
    CancelOrder,
    Credit,
    Drain,
    Farewell,
    FromServer,
    FromWorker,
    Heartbeat,
    Hello,
    Rejected,
    Renewal,
    Settled,
    Stored,
    Welcome,
)
from airunner.worker.attempt.stop import StopReason
from airunner.worker.session.backoff import Backoff
from airunner.worker.session.heartbeats import Heartbeats
from airunner.worker.session.held_lease import HeldLease
from airunner.worker.session.reconnect import RefusalPolicy, root_cause
from airunner.worker.session.statistics import SessionStatistics
from airunner.worker.spool.spool import Spool
from airunner.worker.spool.spools import MemorySpools, Spools

Connect = Callable[[], Awaitable[Channel[FromWorker, FromServer]]]

WELCOME_SECONDS_MAX: Final = 10  # time from connecting to the server's Welcome
ORPHANS_MAX: Final = HEARTBEAT_TOKENS_MAX - WORKER_SLOTS_MAX  # leases of dead workers, at a time


class WorkerSession:
    """One worker's session over any number of connections.

    `hello` identifies the worker; its credit is the first credit. `on_lease` is called with each
    new lease, `on_change` whenever `holding`, `connected` or `dismissed` may have changed.
    """

    def __init__(
        self,
        connect: Connect,
        hello: Hello,
        *,
        dice: Random,
        on_lease: Callable[[HeldLease], None],
        on_change: Callable[[], None],
        log: FilteringBoundLogger,
        spools: Spools | None = None,
    ) -> None:
        self._connect = connect
        self._hello = hello
        self._span = hello.span / 1000  # seconds
        self._on_lease = on_lease
        self._on_change = on_change
        self._spools = spools or MemorySpools()
        self._orphans = {it.assignment.token: it for it in self._spools.orphans()[:ORPHANS_MAX]}
        self._log = log
        self._loop = asyncio.get_running_loop()
        self._dice = dice
        self._backoff = Backoff(dice, self._span / 10)
        self._sendable = asyncio.Event()  # a source may have a message to send
        self._deadlines_changed = asyncio.Event()  # a lease may lapse earlier than the sleep ends
        self._heartbeats = Heartbeats(self._span, self._sendable.set)
        self._held_leases: dict[TaskToken, HeldLease] = {}
        self._sources: dict[HeldLease, None] = {}  # leases that may have a message, in turn
        self._credit = hello.credit
        self._credit_unsent = 0  # on this connection
        self._leaving = False
        self._farewell_due = False
        self._farewell_sent = False  # on this connection
        self._renewed_at = -inf  # time at which the last acknowledged renewal was sent
        self._refusal_policy = RefusalPolicy(self._span)
        self._connections = 0  # that reached a Welcome
        self.connected = False
        self.dismissed = False  # no Assignment can come any more

    # For the worker

    @property
    def holding(self) -> int:  # leases that are neither settled nor lost
        return len(self._held_leases)

    @property
    def welcomed(self) -> bool:  # a server has answered with a Welcome
        return self._connections > 0

    def add_credit(self) -> None:
        """Accepts one more job."""
        self._credit += 1
        self._credit_unsent += 1
        self._sendable.set()

    def leave(self) -> None:
        """Asks the server for no more jobs; `dismissed` is true once none can come any more."""
        self._leaving = self._farewell_due = True
        self._heartbeats.request()

    def statistics(self) -> SessionStatistics:
        """The session's present state in numbers."""
        controls = self._farewell_due + self._heartbeats.due + bool(self._offered)
        return SessionStatistics(
            connected=int(self.connected),
            connections=self._connections,
            leases_held=self.holding,
            credit=self._credit,
            messages_waiting=controls + len(self._sources),
            heartbeats_unanswered=self._heartbeats.unanswered,
            seconds_since_renewal=self._loop.time() - self._renewed_at,
        )

    async def run(self) -> None:
        """Keeps the session going until it is cancelled or finally refused.

        Raises Refused if the server refuses this worker: on the first connection, or for longer
        than a span while the worker holds no lease.
        """
        async with asyncio.TaskGroup() as tasks:
            lapsing = tasks.create_task(self._lapse())
            refusal = await self._keep_connected()
            lapsing.cancel()
        raise refusal

    # Connections

    async def _keep_connected(self) -> Refused:
        """Connects again and again, until a final refusal, which it returns."""
        while True:
            try:
                await self._converse()
            except (ChannelClosed, TimeoutError) as error:
                why = str(error) or "no answer in time"
                self._log.warning("disconnected", why=why, holding=self.holding)
                suspects = self._held_leases if isinstance(error, MessageRefused) else {}
                for held_lease in suspects.values():
                    held_lease.suspect()
            except Refused as refusal:
                self._log.warning("refused", why=str(refusal), status=refusal.status)
                holding = bool(self._held_leases)
                if self._refusal_policy.is_final(refusal, self._loop.time(), holding=holding):
                    return refusal
            finally:
                self.connected = False
                self._on_change()
            if (task := asyncio.current_task()) and task.cancelling():
                # Until Python 3.13 a TaskGroup that fails swallows a cancel of its wait.
                raise asyncio.CancelledError
            await asyncio.sleep(self._backoff.next())

    async def _converse(self) -> None:
        """Holds one connection, from the Hello to the end, which is always an exception."""
        channel: Channel[FromWorker, FromServer] | None = None
        try:
            async with asyncio.timeout(WELCOME_SECONDS_MAX):
                channel = await self._connect()
                self._credit_unsent = 0
                self._farewell_sent = False
                sent_at = self._heartbeats.start_connection()
                await channel.send(self._next_hello())
                welcome = await channel.receive()
            if not isinstance(welcome, Welcome):
                raise ChannelClosed("the server's first message was not a Welcome")
            self._resume(welcome, sent_at)
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._send(channel))
                tasks.create_task(self._heartbeats.run())
                while True:
                    for message in await channel.receive_all():
                        self._receive(message)
        except BaseExceptionGroup as group:
            raise root_cause(group) from None
        finally:
            if channel:
                await channel.close()

    def _next_hello(self) -> Hello:
        credit = 0 if self._leaving else self._credit
        self._hello = replace(self._hello, connection=self._hello.connection + 1)
        return replace(self._hello, credit=credit, holding=(*self._held_leases, *self._orphans))

    def _resume(self, welcome: Welcome, sent_at: float) -> None:
        """Goes on after a Welcome with each lease; `sent_at`: when the Hello was sent."""
        self.connected = True
        self._connections += 1
        self._refusal_policy.welcome()
        self._backoff.reset()
        self._renewed_at = sent_at
        self._log.info(
            "connected", server=welcome.server, worker=self._hello.worker, queues=self._hello.queues
        )
        self._sources.clear()
        self._adopt_orphans(sent_at)
        for held in welcome.held:
            if held_lease := self._held_leases.get(held.token):
                held_lease.renewed(sent_at)
                held_lease.resumed(held.sent)
                if held.cancelled:
                    self._cancel(held_lease)
        for token in welcome.lost:
            held_lease = self._held_leases.get(token)
            if held_lease and not held_lease.may_be_settled():
                self._lose(held_lease, "the server does not know it any more")
        # A leaving worker's Hello gives no credit, and the server has taken back every lease that
        # it had assigned before and that this worker had not received.
        self.dismissed = self._leaving and not self._credit_unsent
        self._farewell_due = self._leaving
        self._sendable.set()
        self._on_change()

    # Sending

    async def _send(self, channel: Channel[FromWorker, FromServer]) -> None:
        while True:
            self._sendable.clear()
            await channel.send_all(iter(self._next_message, None))
            await self._sendable.wait()

    def _next_message(self) -> FromWorker | None:
        """The most urgent message, which counts as sent."""
        if self._farewell_due:
            self._farewell_due, self._farewell_sent = False, True
            return Farewell()
        if self._heartbeats.due:
            self._heartbeats.sent(after_farewell=self._farewell_sent)
            return Heartbeat(tuple(self._held_leases))
        if more := self._offered:
            self._credit_unsent = 0
            return Credit(more)
        while self._sources:
            held_lease = next(iter(self._sources))
            del self._sources[held_lease]
            if message := held_lease.next_message():
                self._sources[held_lease] = None  # behind the others: each lease has its turn
                return message
        return None

    @property
    def _offered(self) -> int:
        """Credit that is to be sent: none while the worker leaves."""
        return 0 if self._leaving else self._credit_unsent

    def _wake(self, held_lease: HeldLease) -> None:
        self._sources[held_lease] = None
        self._sendable.set()

    # Receiving

    def _receive(self, message: FromServer) -> None:
        match message:
            case Assignment():
                self._assigned(message)
            case Stored(token, sent):
                if held_lease := self._held_leases.get(token):
                    held_lease.acknowledged(sent)
            case Renewal(renewed, lost):
                self._acknowledged(renewed, lost)
            case CancelOrder(token):
                if held_lease := self._held_leases.get(token):
                    self._cancel(held_lease)
            case Settled(token):
                if held_lease := self._held_leases.pop(token, None):
                    self._settled(held_lease)
            case Rejected():
                self._rejected(message)
            case Drain():
                raise ChannelClosed("the server is going away")
            case Welcome():
                raise ChannelClosed("the server said Welcome twice")

    def _assigned(self, assignment: Assignment) -> None:
        """Takes a new lease, granted not before the last acknowledged renewal was sent."""
        now, span = self._loop.time(), assignment.span / 1000
        fresh = self._renewed_at + span / 2 > now
        until = (self._renewed_at if fresh else now) + span
        held_lease = self._hold(assignment, self._spools.open(assignment), until, confirmed=fresh)
        self._credit -= 1
        if not fresh:
            self._heartbeats.request()
        self._deadlines_changed.set()
        if self._leaving:
            held_lease.end(AttemptEnd.RELEASED)
        else:
            self._on_lease(held_lease)

    def _adopt_orphans(self, sent_at: float) -> None:
        """Takes over the attempts of dead workers, once: this Welcome says which leases live."""
        for orphan in self._orphans.values():
            adopted = replace(orphan.assignment, span=self._hello.span)  # the span in the Hello
            held_lease = self._hold(adopted, orphan.spool, sent_at + self._span, confirmed=True)
            held_lease.adopt(orphan)
            self._log.info("spool_taken", job=adopted.job.id, attempt=adopted.job.attempt)
        self._orphans.clear()
        self._deadlines_changed.set()

    def _hold(
        self, assignment: Assignment, spool: Spool, until: float, *, confirmed: bool
    ) -> HeldLease:
        held_lease = HeldLease(
            assignment,
            spool,
            until=until,
            confirmed=confirmed,
            wake=self._wake,
            backoff=Backoff(self._dice, self._span / 10),
        )
        self._held_leases[held_lease.token] = held_lease
        return held_lease

    def _acknowledged(self, renewed: tuple[TaskToken, ...], lost: tuple[TaskToken, ...]) -> None:
        self._renewed_at, farewell = self._heartbeats.answered()
        for token in renewed:
            if held_lease := self._held_leases.get(token):
                held_lease.renewed(self._renewed_at)
        for token in lost:
            # The server answers a received final report with Settled before it sends this Renewal.
            if held_lease := self._held_leases.get(token):
                self._lose(held_lease, "the server does not know it any more")
        if farewell:
            self.dismissed = True
        self._on_change()

    def _rejected(self, message: Rejected) -> None:
        if held_lease := self._held_leases.get(message.token):
            if message.lease_lost:
                self._lose(held_lease, message.why)
                return
            if held_lease.retry_later(message.status):
                self._log.info("postponed", job=held_lease.job.id, why=message.why)
                return
            if held_lease.count_rejection():
                self._lose(held_lease, message.why)
            self._log.error(
                "rejected", job=held_lease.job.id, why=message.why, status=message.status
            )
            raise ChannelClosed(f"the server rejects a message: {message.why}")

    def _cancel(self, held_lease: HeldLease) -> None:
        self._log.info("cancel_requested", job=held_lease.job.id, attempt=held_lease.job.attempt)
        held_lease.stop.ask(StopReason.CANCEL)

    def _settled(self, held_lease: HeldLease) -> None:
        held_lease.settled()
        if held_lease.adopted:
            lost = held_lease.verdict is AttemptEnd.LOST
            self._log.info(
                "spool_delivered", job=held_lease.job.id, attempt=held_lease.job.attempt, lost=lost
            )
        self._on_change()

    # Losing

    def _lose(self, held_lease: HeldLease, why: str) -> None:
        del self._held_leases[held_lease.token]
        self._log.warning(
            "lease_lost", job=held_lease.job.id, attempt=held_lease.job.attempt, why=why
        )
        held_lease.lose()
        self._on_change()

    async def _lapse(self) -> None:
        """Loses each lease that was not renewed for its whole span."""
        while True:
            now = self._loop.time()
            for held_lease in [each for each in self._held_leases.values() if each.until <= now]:
                self._lose(held_lease, f"out of touch with the server for {held_lease.span:g} s")
            soonest = min((each.until for each in self._held_leases.values()), default=None)
            self._deadlines_changed.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout_at(soonest):
                    await self._deadlines_changed.wait()
