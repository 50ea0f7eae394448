"""The server's end of a native worker's stream (messages: model/protocol/worker_protocol.py).

Three tasks share one session. The reader decides incoming messages in their order. The leaser parks
in the broker while the worker has credit, and leases. The writer sends replies in the order of their
decisions, each once the log has its decision. So the log never stalls the stream, and a thousand
batches share an append.

An Assignment that was not delivered is taken back: one that was never written returns to its place in
line at once; one that was lost in transit returns with the worker's next Hello, which does not list
it.

A worker that was silent for two thirds of a span gets no job, even if it has credit. A stopped
process, or a machine that vanished, keeps its connection for a long time, and each job leased to it
would have to wait for a lapse.
"""

import asyncio
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from itertools import chain
from typing import Final, assert_never

from airunner.model.errors import (
    AlreadyFinished,
    InvalidRequest,
    Refused,
    ShuttingDown,
    StaleLease,
    Stalled,
    Unreachable,
)
from airunner.model.jobs import Job, Position, Subject, TaskToken, TokenDigest, digest
from airunner.model.limits import (
    DEQUEUE_JOBS_MAX,
    HEARTBEAT_TOKENS_MAX,
    HELLO_SECONDS_MAX,
    PENDING_REPLIES_MAX,
    REPORTS_PER_BATCH_MAX,
    WORKER_SLOTS_MAX,
)
from airunner.model.namespaces import DEFAULT_NAMESPACE, QueueKey
from airunner.model.protocol.channel import Channel, ChannelClosed
from airunner.model.protocol.features import known
from airunner.model.protocol.worker_protocol import (
    Assignment,
    Batch,
    CancelOrder,
    Completion,
    Credit,
    Drain,
    Farewell,
    FromServer,
    FromWorker,
    GiveBack,
    Heartbeat,
    Held,
    Hello,
    Rejected,
    Renewal,
    Settled,
    Stored,
    Welcome,
)
from airunner.model.reports import count_sequences
from airunner.model.validation import check_count, check_range
from airunner.server.broker import Broker
from airunner.server.fairness.time_slice import TimeSlice
from airunner.server.parking_lot import ParkingLot
from airunner.server.worker_calls import WorkerCalls
from airunner.server.workers.batch_parts import parts
from airunner.server.workers.claim import check_hello, claim_worker
from airunner.server.workers.connected_workers import ConnectedWorker
from airunner.server.workers.leased_job import LeasedJob

_NOBODY: Final = Subject("")  # the subject of a caller without authentication
_TOKENS_MAX: Final = HEARTBEAT_TOKENS_MAX  # in answers to heartbeats that wait for a worker
_CREDIT, _HEARD, _REPLIES, _ROOM, _END = "credit", "heard", "replies", "room", "end"


class Session:
    """One stream of one worker, from its Hello until the channel closes."""

    def __init__(
        self,
        broker: Broker,
        channel: Channel[FromServer, FromWorker],
        *,
        version: str,
        namespace: str = DEFAULT_NAMESPACE,
        subject: Subject = _NOBODY,
    ) -> None:
        self._broker = broker
        self._calls = WorkerCalls(broker)
        self._channel = channel
        self._version = version
        self._namespace = namespace
        self._subject = subject
        self._tokens: dict[TokenDigest, TaskToken] = {}  # of leases that the worker may hold
        self._credit = 0
        self._heard_at = broker.now()
        self._replies: deque[tuple[Position, FromServer]] = deque()
        self._tokens_unsent = 0  # in the answers to heartbeats that wait
        self._superseded = False
        self._refused = False  # the message that was taken last
        self._drained = False  # the last reply was sent
        self._parking = ParkingLot()
        self._leaser: asyncio.Task[None] | None = None
        self._is_leasing = True

    async def run(self) -> None:
        """Serves the worker until it leaves, is superseded, or the server stops.

        Raises InvalidRequest if the worker breaks the protocol, Unreachable if it sends no Hello.
        """
        try:
            await self._serve(await self._hello_message())
        except (ChannelClosed, ShuttingDown):
            pass
        except BaseExceptionGroup as group:
            if (wrong := group.split((ChannelClosed, ShuttingDown))[1]) is not None:
                raise wrong.exceptions[0] from None
        finally:
            self._return_undelivered()
            await self._channel.close()

    async def _hello_message(self) -> FromWorker:
        try:
            async with asyncio.timeout(HELLO_SECONDS_MAX):
                return await self._channel.receive()
        except TimeoutError:
            raise Unreachable(
                f"the worker sent no Hello in HELLO_SECONDS_MAX ({HELLO_SECONDS_MAX} s)"
            ) from None

    async def _serve(self, hello: FromWorker) -> None:
        if not isinstance(hello, Hello):
            raise InvalidRequest("message", "the first one on the stream must be a Hello")
        check_hello(hello)
        claim_worker(self._broker, self._calls, hello, self._subject)
        self._hello = hello
        self._connected = ConnectedWorker(
            worker=hello.worker,
            queues=tuple(QueueKey(queue, self._namespace) for queue in hello.queues),
            slots=hello.slots,
            features=known(hello.features),
            attentive=self._is_attentive,
            wanted=self._wanted,
            cancel=self._cancel,
            supersede=self._supersede,
        )
        with self._broker.connected_workers.connect(self._connected):
            self._welcome(hello)
            async with asyncio.TaskGroup() as tasks:
                self._leaser = tasks.create_task(self._lease())
                tasks.create_task(self._write())
                tasks.create_task(self._end_when_told())
                tasks.create_task(self._end_when_stopping())
                await self._read()

    # Incoming messages

    def _welcome(self, hello: Hello) -> None:
        """Renews the leases that the worker holds; takes back those that it never received or lost."""
        resumed = self._calls.resume_decided(hello.worker, hello.holding, hello.span)
        self._tokens = {digest(token): token for token in resumed.renewed}
        jobs = [(token, self._calls.held_by(token)) for token in self._tokens.values()]
        welcome = Welcome(
            server=self._version,
            held=tuple(
                Held(token, job.sent, job.cancel_requested_at is not None) for token, job in jobs
            ),
            lost=resumed.lost,
        )
        self._reply(resumed.place, welcome)
        self._grant_credit(hello.credit)

    async def _read(self) -> None:
        while True:
            messages = await self._channel.receive_all()
            self._heard_at = self._broker.now()
            self._parking.wake(_HEARD)
            turn = TimeSlice()
            for part in chain.from_iterable(map(self._accepted_parts, messages)):
                while len(self._replies) > PENDING_REPLIES_MAX or self._tokens_unsent > _TOKENS_MAX:
                    await self._parking.park(_ROOM)
                await turn.rest()
                if self._superseded:
                    return
                self._take(part)

    def _accepted_parts(self, message: FromWorker) -> Iterator[FromWorker]:
        """The parts of a message, up to a refused part: a worker counts one Rejected per message."""
        for part in parts(message):
            self._refused = False
            yield part
            if self._refused:
                return

    def _is_attentive(self) -> bool:
        """True if the worker sent a message lately; it sends one every third of a span."""
        return self._broker.now() - self._heard_at <= self._hello.span * 2 / 3

    def _take(self, message: FromWorker) -> None:
        match message:
            case Credit(more):
                check_range("credit.more", more, 1, WORKER_SLOTS_MAX, "jobs")
                self._grant_credit(more)
                self._lease_at_once()
            case Heartbeat(tokens):
                self._renew(tokens)
            case Batch() | Completion() | GiveBack():
                try:
                    self._settle(message)
                except Stalled:
                    raise
                except Refused as refusal:
                    self._refused = True
                    ended = isinstance(refusal, StaleLease | AlreadyFinished)
                    if ended:
                        self._forget(message.token)
                    self._reply(
                        self._broker.tail,
                        Rejected(message.token, refusal.status, str(refusal), ended),
                    )
            case Farewell():
                self._stop_leasing()
            case Hello():
                raise InvalidRequest("message", "only the first one on a stream may be a Hello")
            case _:
                assert_never(message)

    def _settle(self, message: Batch | Completion | GiveBack) -> None:
        calls, token = self._calls, message.token
        match message:
            case Batch(_, first, reports):
                if len(reports) > REPORTS_PER_BATCH_MAX or first < 1:
                    raise InvalidRequest(
                        "batch", f"has no first number or more than {REPORTS_PER_BATCH_MAX} reports"
                    )
                numbered, number = [], first
                for report in reports:
                    numbered.append((number, report))
                    number += count_sequences(report)
                place = calls.publish_decided(token, numbered)
                self._reply(place, Stored(token, calls.held_by(token).sent))
            case Completion(_, last, outcome):
                place = calls.complete_decided(token, outcome, sent=last)
                self._forget(token)
                self._reply(place, Settled(token))
            case GiveBack(_, lost, complete, last):
                place = calls.give_back_decided(token, lost=lost, heard=complete, sent=last)
                self._forget(token)
                self._reply(place, Settled(token))
            case _:
                assert_never(message)

    def _renew(self, tokens: tuple[TaskToken, ...]) -> None:
        check_count("heartbeat.task_tokens", tokens, HEARTBEAT_TOKENS_MAX, "HEARTBEAT_TOKENS_MAX")
        decided = self._calls.renew_decided(tokens, self._hello.span)
        for token in decided.lost:
            self._forget(token)
        self._reply(decided.place, Renewal(decided.renewed, decided.lost))

    # Outgoing messages

    def _reply(self, place: Position, message: FromServer) -> None:
        self._replies.append((place, message))
        self._tokens_unsent += _tokens_in(message)
        self._connected.busy = len(self._tokens)
        self._parking.wake(_REPLIES)

    async def _write(self) -> None:
        while True:
            while not self._replies:
                await self._parking.park(_REPLIES)
            await self._broker.durable(self._replies[0][0])
            await self._channel.send_all(self._ready())
            if self._drained:
                raise ChannelClosed("the server is stopping")
            self._parking.wake(_ROOM)

    def _ready(self) -> Iterator[FromServer]:
        """The first reply, which is durable, and the durable replies after it."""
        while True:
            _, message = self._replies.popleft()
            self._tokens_unsent -= _tokens_in(message)
            self._drained = isinstance(message, Drain)
            if not self._says_more_soon(message):
                yield message
            if self._drained or not self._replies:
                return
            if not self._broker.is_durable(self._replies[0][0]):
                return

    def _says_more_soon(self, message: FromServer) -> bool:
        """True if the next reply is durable too and makes this one redundant."""
        if not isinstance(message, Stored) or not self._replies:
            return False
        place, following = self._replies[0]
        return (
            isinstance(following, Stored)
            and following.token == message.token
            and self._broker.is_durable(place)
        )

    async def _lease(self) -> None:
        """Leases while the worker has credit."""
        while not self._broker.stopping:
            while not self._credit:
                await self._parking.park(_CREDIT)
            while not self._is_attentive():
                await self._parking.park(_HEARD)
            with suppress(ShuttingDown):  # the rest of the session tells the worker
                for leased in await self._calls.lease_decided(self._connected, self._hello.span):
                    self._assign(leased)

    def _lease_at_once(self) -> None:
        """Leases jobs that wait already, so that they travel with the answers to this message.

        The leaser waits for later jobs.
        """
        if self._credit and self._is_leasing and not self._broker.stopping:
            for leased in self._calls.lease_available(self._connected, self._hello.span):
                self._assign(leased)
            if self._credit:
                self._parking.wake(_CREDIT)

    def _wanted(self) -> int:
        """The number of jobs that the worker takes now."""
        return min(self._credit, DEQUEUE_JOBS_MAX) if self._is_attentive() else 0

    def _stop_leasing(self) -> None:
        assert self._leaser  # made right after the connected worker
        self._leaser.cancel()
        self._is_leasing = False

    def _assign(self, leased: LeasedJob) -> None:
        self._credit -= 1
        job = leased.job
        self._tokens[digest(leased.token)] = leased.token
        assignment = Assignment(
            job=job,
            token=leased.token,
            span=self._hello.span,
            output_bytes_max=self._calls.output_room(job),
        )
        self._reply(self._broker.tail, assignment)

    def _grant_credit(self, more: int) -> None:
        self._credit = min(self._credit + more, self._hello.slots)

    def _cancel(self, job: Job) -> None:
        assert job.lease
        if token := self._tokens.get(job.lease.token):
            self._reply(self._broker.tail, CancelOrder(token))

    # The end of the session

    async def _end_when_told(self) -> None:
        while not self._superseded:
            await self._parking.park(_END)
        raise ChannelClosed("the worker has opened another stream")

    async def _end_when_stopping(self) -> None:
        """Sends every decided reply to the worker, then a Drain."""
        await self._broker.stopped()
        self._reply(self._broker.tail, Drain())

    def _supersede(self) -> None:
        self._superseded = True
        self._stop_leasing()
        self._parking.wake(_END)

    def _forget(self, token: TaskToken) -> None:
        self._tokens.pop(digest(token), None)

    def _return_undelivered(self) -> None:
        """Returns jobs that were leased and never written to their places in line."""
        for _, message in self._replies:
            if isinstance(message, Assignment):
                self._calls.return_undelivered(message.token)


def _tokens_in(message: FromServer) -> int:
    return len(message.renewed) + len(message.lost) if isinstance(message, Renewal) else 0
