"""The worker's end of its session with a server (messages: model/protocol/worker_protocol.py).

    connect -> Hello -> Welcome -> (speak | listen | beat) ... broken -> backoff -> connect -> ...

No outgoing message is queued. The speaker task asks each source for its next message: a farewell,
a heartbeat, credit, then the held leases in turn. A broken connection loses no message; the next
connection starts after the last message that the server has stored.

The session keeps two deadlines, both in the event loop's time. A heartbeat is sent every third of
the span and renews each lease from the time of sending. A lease not renewed for its whole span is lost:
the worker kills the job's tree. Until then the server may be away or hang, and jobs run on.

The server answers the heartbeat after a Farewell behind its last Assignment, so a worker that has
this answer leaves no lease in transit.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from random import Random
from typing import Final

from msgspec.structs import replace
from structlog.typing import FilteringBoundLogger

from airunner.model.errors import Refused
from airunner.model.jobs import AttemptEnd, TaskToken
from airunner.model.limits import HEARTBEAT_TOKENS_MAX, WORKER_SLOTS_MAX
from airunner.model.protocol.channel import Channel, ChannelClosed
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
from airunner.worker.session.held_lease import HeldLease
from airunner.worker.session.reconnect import RefusalPolicy, root_cause
from airunner.worker.spool.spool import Spool
from airunner.worker.spool.spools import MemorySpools, Spools

Connect = Callable[[], Awaitable[Channel[FromWorker, FromServer]]]

WELCOME_SECONDS_MAX: Final = 10  # time from connecting to the server's Welcome
LEFT_MAX: Final = HEARTBEAT_TOKENS_MAX - WORKER_SLOTS_MAX  # dead workers' leases at a time


class WorkerSession:
    """One worker's session over any number of connections.

    `hello` identifies the worker; its slots are the first credit. `take` is called with each lease,
    `news` whenever `idle` or `dismissed` may have changed.
    """

    def __init__(
        self,
        connect: Connect,
        hello: Hello,
        *,
        dice: Random,
        take: Callable[[HeldLease], None],
        news: Callable[[], None],
        log: FilteringBoundLogger,
        spools: Spools | None = None,
    ) -> None:
        self._connect = connect
        self._hello = hello
        self._span = hello.span / 1000  # seconds
        self._take = take
        self._news = news
        self._spools = spools or MemorySpools()
        self._left = {left.assignment.token: left for left in self._spools.orphans()[:LEFT_MAX]}
        self._log = log
        self._loop = asyncio.get_running_loop()
        self._dice = dice
        self._backoff = Backoff(dice, self._span / 10)
        self._held_leases: dict[TaskToken, HeldLease] = {}
        self._talkers: dict[HeldLease, None] = {}  # who may have something to say, in turn
        self._free = hello.slots
        self._credit_due = 0  # not yet told on this connection
        self._beat_due = False
        self._leaving = False
        self._farewell_due = False
        self._farewell_said = False  # on this connection
        self._beats: deque[tuple[float, bool]] = deque()  # unanswered: sent when, after farewell?
        self._renewed_at = -1.0  # when the last acknowledged renewal was sent
        self._beaten_at = 0.0  # when the last renewal was sent, or asked for
        self._patience = RefusalPolicy(self._span)
        self.welcomed = False  # ever
        self.connected = False
        self.dismissed = False  # no Assignment can come any more
        self._words = asyncio.Event()  # there is something to say
        self._pulse = asyncio.Event()  # the next heartbeat may be due at another time
        self._changed = asyncio.Event()  # the next lapse may be due at another time

    # What the worker asks for

    @property
    def holding(self) -> int:
        """How many leases are neither settled nor lost."""
        return len(self._held_leases)

    def grant(self) -> None:
        """One more job can be taken."""
        self._free += 1
        self._credit_due += 1
        self._words.set()

    def leave(self) -> None:
        """Ask for no more jobs; `dismissed` says when none can come any more."""
        self._leaving = self._farewell_due = True
        self._ask_beat()

    async def run(self) -> None:
        """Keep the session going, for ever.

        Raises Refused if the server will not have this worker: at the first connection, or,
        once no job is held, for longer than a span.
        """
        async with asyncio.TaskGroup() as tasks:
            lapsing = tasks.create_task(self._lapse())
            refusal = await self._keep_connected()
            lapsing.cancel()
        raise refusal

    # Connections

    async def _keep_connected(self) -> Refused:
        """Connect again and again, until a refusal that is final."""
        while True:
            try:
                await self._converse()
            except (ChannelClosed, TimeoutError) as error:
                why = str(error) or "no answer in time"
                self._log.warning("disconnected", why=why, holding=self.holding)
            except Refused as refusal:
                self._log.warning("refused", why=str(refusal), status=refusal.status)
                if self._patience.ends(refusal, self._loop.time(), holding=bool(self._held_leases)):
                    return refusal
            finally:
                self.connected = False
                self._news()
            if (task := asyncio.current_task()) and task.cancelling():
                # Until Python 3.13 a TaskGroup that fails swallows a cancel of its wait.
                raise asyncio.CancelledError
            await asyncio.sleep(self._backoff.next())

    async def _converse(self) -> None:
        """One connection, from Hello to its end, which is always an exception."""
        channel: Channel[FromWorker, FromServer] | None = None
        try:
            async with asyncio.timeout(WELCOME_SECONDS_MAX):
                channel = await self._connect()
                self._credit_due, self._beat_due = 0, False
                self._farewell_said = False
                self._beats.clear()
                self._beaten_at = sent_at = self._loop.time()
                await channel.send(self._introduction())
                welcome = await channel.receive()
            if not isinstance(welcome, Welcome):
                raise ChannelClosed("the server's first message was not a Welcome")
            self._resume(welcome, sent_at)
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._speak(channel))
                tasks.create_task(self._beat())
                while True:
                    for message in await channel.receive_all():
                        self._hear(message)
        except BaseExceptionGroup as group:
            raise root_cause(group) from None
        finally:
            if channel:
                await channel.close()

    def _introduction(self) -> Hello:
        free = 0 if self._leaving else self._free
        self._hello = replace(self._hello, connection=self._hello.connection + 1)
        return replace(self._hello, credit=free, holding=(*self._held_leases, *self._left))

    def _resume(self, welcome: Welcome, sent_at: float) -> None:
        self.connected = self.welcomed = True
        self._patience.welcome()
        self._backoff.reset()
        self._renewed_at = sent_at
        self._log.info(
            "connected", server=welcome.server, worker=self._hello.worker, queues=self._hello.queues
        )
        self._talkers.clear()
        self._inherit(sent_at)
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
        # The Hello gave no credit, and what was assigned before but not received has gone back.
        self.dismissed = self._leaving and not self._credit_due
        self._farewell_due = self._leaving
        self._pulse.set()
        self._words.set()
        self._news()

    # Speaking

    async def _speak(self, channel: Channel[FromWorker, FromServer]) -> None:
        while True:
            self._words.clear()
            await channel.send_all(iter(self._next, None))
            await self._words.wait()

    def _next(self) -> FromWorker | None:
        """What is most urgent to say."""
        if self._farewell_due:
            self._farewell_due, self._farewell_said = False, True
            return Farewell()
        if self._beat_due:
            self._beat_due = False
            self._beats.append((self._loop.time(), self._farewell_said))
            return Heartbeat(tuple(self._held_leases))
        if self._credit_due and not self._leaving:
            more, self._credit_due = self._credit_due, 0
            return Credit(more)
        while self._talkers:
            held_lease = next(iter(self._talkers))
            del self._talkers[held_lease]
            if message := held_lease.next_message():
                self._talkers[held_lease] = None  # at the end of the line: everybody has their turn
                return message
        return None

    def _wake(self, held_lease: HeldLease) -> None:
        self._talkers[held_lease] = None
        self._words.set()

    async def _beat(self) -> None:
        """Have a heartbeat sent every third of the span, whether there are leases or not.

        An idle worker is heard of too: a server gives no job to one that is silent.
        """
        third = self._span / 3
        while True:
            self._pulse.clear()
            try:
                async with asyncio.timeout_at(self._beaten_at + third):
                    await self._pulse.wait()
            except TimeoutError:
                if self._beats or self._beat_due:
                    raise ChannelClosed("the server does not answer heartbeats") from None
                self._ask_beat()

    def _ask_beat(self) -> None:
        self._beat_due = True
        self._beaten_at = self._loop.time()
        self._words.set()
        self._pulse.set()

    # Listening

    def _hear(self, message: FromServer) -> None:
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
        """Take a lease: it is not older than the last renewal acknowledged before it came."""
        now, span = self._loop.time(), assignment.span / 1000
        fresh = self._renewed_at + span / 2 > now
        until = (self._renewed_at if fresh else now) + span
        held_lease = self._hold(assignment, self._spools.open(assignment), until, confirmed=fresh)
        self._free -= 1
        if not fresh:
            self._ask_beat()
        self._pulse.set()
        self._changed.set()
        if self._leaving:
            held_lease.end(AttemptEnd.RELEASED)
        else:
            self._take(held_lease)

    def _inherit(self, sent_at: float) -> None:
        """Take over what dead workers have left, once: this Welcome says which leases live."""
        for left in self._left.values():
            given = replace(left.assignment, span=self._hello.span)  # which the Hello has asked for
            self._hold(given, left.spool, sent_at + self._span, confirmed=True).inherit(left)
            self._log.info("spool_taken", job=given.job.id, attempt=given.job.attempt)
        self._left.clear()
        self._changed.set()

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
        if not self._beats:
            raise ChannelClosed("the server has answered a heartbeat that was not sent")
        sent_at, farewell = self._beats.popleft()
        self._renewed_at = sent_at
        for token in renewed:
            if held_lease := self._held_leases.get(token):
                held_lease.renewed(sent_at)
        for token in lost:
            # Behind a last word that was heard, Settled is on its way, and was sent before this.
            if held_lease := self._held_leases.get(token):
                self._lose(held_lease, "the server does not know it any more")
        if farewell:
            self.dismissed = True
        self._news()

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
            raise ChannelClosed(f"the server does not take what was said: {message.why}")

    def _cancel(self, held_lease: HeldLease) -> None:
        self._log.info("cancel_requested", job=held_lease.job.id, attempt=held_lease.job.attempt)
        held_lease.stop.ask(StopReason.CANCEL)

    def _settled(self, held_lease: HeldLease) -> None:
        held_lease.settled()
        if held_lease.inherited:
            lost = held_lease.verdict is AttemptEnd.LOST
            self._log.info(
                "spool_delivered", job=held_lease.job.id, attempt=held_lease.job.attempt, lost=lost
            )
        self._news()

    # Losing

    def _lose(self, held_lease: HeldLease, why: str) -> None:
        del self._held_leases[held_lease.token]
        self._log.warning(
            "lease_lost", job=held_lease.job.id, attempt=held_lease.job.attempt, why=why
        )
        held_lease.lose()
        self._news()

    async def _lapse(self) -> None:
        """Lose each lease that was not renewed for its whole span."""
        while True:
            now = self._loop.time()
            for held_lease in [each for each in self._held_leases.values() if each.until <= now]:
                self._lose(held_lease, f"out of touch with the server for {held_lease.span:g} s")
            soonest = min((each.until for each in self._held_leases.values()), default=None)
            self._changed.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout_at(soonest):
                    await self._changed.wait()
