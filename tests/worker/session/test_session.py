"""A worker's session, message by message: the test is the server."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from math import inf
from random import Random
from typing import TypeVar

import pytest
import structlog

from airunner.model.jobs import (
    AttemptEnd,
    Instant,
    Job,
    JobId,
    Millis,
    Outcome,
    Position,
    Reason,
    TaskToken,
    WorkerId,
)
from airunner.model.limits import UNACKNOWLEDGED_BYTES_MAX
from airunner.model.protocol.channel import ChannelClosed, MessageRefused
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
from airunner.model.reports import Alive, Chunk, Output, Stream
from airunner.model.spec import JobSpec
from airunner.worker.attempt.handle import LeaseLost
from airunner.worker.attempt.stop import StopReason
from airunner.worker.session.held_lease import REFUSALS_MAX, HeldLease
from airunner.worker.session.session import WELCOME_SECONDS_MAX, WorkerSession
from airunner.worker.session.statistics import SessionStatistics
from airunner.worker.spool.spools import Spools
from tests.promises import holds, promise
from tests.support.channel import End, channel_pair
from tests.support.loop import until_idle, virtually

Server = End[FromServer, FromWorker]
M = TypeVar("M")

TOKEN = TaskToken("t1")
SPAN = 60
DONE = Outcome(reason=Reason.EXITED, exit_code=0)
ALIVE = Alive(Millis(1), True)


def assignment(token: TaskToken = TOKEN) -> Assignment:
    job = Job(
        id=JobId(f"job of {token}"),
        spec=JobSpec(command="true"),
        place=Position(1),
        created_at=Instant(0),
        updated_at=Instant(0),
        attempt=1,
    )
    return Assignment(job=job, token=token, span=Millis(SPAN * 1000), output_bytes_max=1_000)


def output(size: int) -> Output:
    return Output((Chunk(Stream.STDOUT, b"x" * size, Instant(0)),))


class Desk:
    """A session, its leases, and the server's end of its connections."""

    def __init__(self, spools: Spools | None = None) -> None:
        self.taken: list[HeldLease] = []
        self.connections: asyncio.Queue[Server] = asyncio.Queue()
        self.client = WorkerSession(
            self._connect,
            Hello(
                worker=WorkerId("ann.1"),
                name="ann",
                queues=("default",),
                span=Millis(SPAN * 1000),
                slots=3,
                credit=3,
            ),
            dice=Random(1),
            on_lease=self.taken.append,
            on_change=lambda: None,
            log=structlog.wrap_logger(None, processors=[_drop]),
            spools=spools,
        )

    async def _connect(self) -> End[FromWorker, FromServer]:
        mine: End[FromWorker, FromServer]
        mine, theirs = channel_pair()
        self.connections.put_nowait(theirs)
        return mine

    async def meet(self) -> tuple[Server, Hello]:
        """The next connection, and its Hello."""
        server = await self.connections.get()
        return server, await heard(server, Hello)

    async def welcome(self, *held: Held, lost: tuple[TaskToken, ...] = ()) -> tuple[Server, Hello]:
        server, hello = await self.meet()
        await server.send(Welcome(server="1", held=held, lost=lost))
        await until_idle()
        return server, hello

    async def lease(self, server: Server, token: TaskToken = TOKEN) -> HeldLease:
        await server.send(assignment(token))
        await until_idle()
        return self.taken[-1]

    async def stale_lease(self, server: Server) -> HeldLease:
        """A lease that arrives when the last acknowledged renewal is older than half of the span."""
        await asyncio.sleep(SPAN * 0.55)
        assert await heard(server, Heartbeat) == Heartbeat(())
        held_lease = await self.lease(server)
        await server.send(Renewal((), ()))  # answers the heartbeat before the lease
        await until_idle()
        return held_lease


def _drop(logger: object, method: str, event: object) -> str:
    raise structlog.DropEvent


async def heard(server: Server, kind: type[M]) -> M:
    message = await server.receive()
    assert isinstance(message, kind)
    return message


async def heard_but_beats(server: Server) -> FromWorker:
    """The next message other than Heartbeats, which are answered."""
    while isinstance(message := await server.receive(), Heartbeat):
        await server.send(Renewal(message.tokens, ()))
    return message


async def silence(server: Server) -> None:
    await until_idle()
    assert not server.incoming.messages


@asynccontextmanager
async def desk(spools: Spools | None = None) -> AsyncIterator[Desk]:
    it = Desk(spools)
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(it.client.run())
        yield it
        running.cancel()


@virtually
async def test_a_hello_offers_every_free_slot_and_holds_nothing() -> None:
    async with desk() as it:
        server, hello = await it.welcome()
        assert (hello.credit, hello.slots, hello.holding) == (3, 3, ())
        await silence(server)


@virtually
async def test_a_hello_lists_what_is_held_and_offers_what_is_left() -> None:
    async with desk() as it:
        server, _ = await it.welcome()
        await it.lease(server)
        server.cut()
        _, hello = await it.welcome(Held(TOKEN, 0, False))
        assert (hello.credit, hello.holding) == (2, (TOKEN,))


@virtually
async def test_credit_that_came_free_while_away_is_in_the_hello_alone() -> None:
    async with desk() as it:
        server, _ = await it.welcome()
        await it.lease(server)
        server.cut()
        await until_idle()
        it.client.add_credit()
        server, hello = await it.welcome(Held(TOKEN, 0, False))
        assert hello.credit == 3
        await silence(server)
        it.client.add_credit()
        assert (await heard(server, Credit)).more == 1


@virtually
async def test_reports_are_numbered_by_their_width_and_the_completion_follows_the_last() -> None:
    async with desk() as it:
        server, _ = await it.welcome()
        held_lease = await it.lease(server)
        two = Output((*output(1).chunks, *output(2).chunks))
        for report in (ALIVE, two, ALIVE):
            await held_lease.report(report)
        held_lease.end(DONE)
        assert await heard(server, Batch) == Batch(TOKEN, 1, (ALIVE, two, ALIVE))
        assert await heard(server, Completion) == Completion(TOKEN, 4, DONE)
        await server.send(Settled(TOKEN))
        assert await held_lease.over()
        assert it.client.holding == 0


@virtually
async def test_what_the_server_has_not_stored_is_sent_again_and_nothing_else() -> None:
    async with desk() as it:
        server, _ = await it.welcome()
        held_lease = await it.lease(server)
        for _ in range(5):
            await held_lease.report(ALIVE)
            await heard(server, Batch)
        await server.send(Stored(TOKEN, 1))
        await until_idle()
        server.cut()
        server, _ = await it.welcome(Held(TOKEN, 3, False))
        assert await heard(server, Batch) == Batch(TOKEN, 4, (ALIVE, ALIVE))
        await silence(server)


@virtually
async def test_a_report_waits_while_the_window_is_full() -> None:
    async with desk() as it, asyncio.TaskGroup() as tasks:
        server, _ = await it.welcome()
        held_lease = await it.lease(server)
        await held_lease.report(output(UNACKNOWLEDGED_BYTES_MAX))
        waiting = tasks.create_task(held_lease.report(ALIVE))
        await until_idle()
        assert not waiting.done()
        await server.send(Stored(TOKEN, 1))
        await waiting


@promise(
    "jobs/worker-stops-first",
    "A worker stops a job before the server redelivers it. The worker counts a lease from the "
    "moment at which it sent the acknowledged renewal, kills the tree when the lease has lapsed, "
    "and writes nothing afterwards.",
)
@virtually
async def test_a_lease_holds_for_its_span_since_the_acknowledged_renewal_was_sent() -> None:
    async with desk() as it:
        loop = asyncio.get_running_loop()
        server, _ = await it.welcome()
        held_lease = await it.lease(server)
        await heard(server, Heartbeat)
        sent_at = loop.time()
        await asyncio.sleep(15)
        await server.send(Renewal((TOKEN,), ()))
        await until_idle()
        assert held_lease.until == pytest.approx(sent_at + SPAN)
        server.cut()
        await held_lease.over()
        assert loop.time() == pytest.approx(sent_at + SPAN)
        with pytest.raises(LeaseLost):
            await held_lease.report(ALIVE)


@virtually
async def test_a_lease_is_not_older_than_the_renewal_before_it() -> None:
    async with desk() as it:
        server, _ = await it.welcome()
        at = asyncio.get_running_loop().time()
        await asyncio.sleep(20)
        held_lease = await it.lease(server)
        assert held_lease.until == at + SPAN
        await held_lease.confirmed()


@virtually
async def test_a_lease_of_unknown_age_is_confirmed_by_a_heartbeat_at_once() -> None:
    async with desk() as it, asyncio.TaskGroup() as tasks:
        server, _ = await it.welcome()
        held_lease = await it.stale_lease(server)
        waiting = tasks.create_task(held_lease.confirmed())
        assert (await heard(server, Heartbeat)).tokens == (TOKEN,)
        assert not waiting.done()
        await server.send(Renewal((TOKEN,), ()))
        await waiting


@virtually
async def test_a_lease_of_unknown_age_that_is_over_starts_nothing() -> None:
    async with desk() as it:
        server, _ = await it.welcome()
        held_lease = await it.stale_lease(server)
        await server.send(Renewal((), (TOKEN,)))
        with pytest.raises(LeaseLost):
            await held_lease.confirmed()


@virtually
async def test_a_farewell_is_heard_when_the_heartbeat_behind_it_is_answered() -> None:
    async with desk() as it:
        server, _ = await it.welcome()
        held_lease = await it.stale_lease(server)
        await heard(server, Heartbeat)
        it.client.leave()
        await heard(server, Farewell)
        await heard(server, Heartbeat)
        await server.send(Renewal((TOKEN,), ()))  # answers the first heartbeat
        late = TaskToken("t2")
        await server.send(assignment(late))
        await until_idle()
        before = it.client.dismissed
        assert await heard(server, GiveBack) == GiveBack(late)
        await server.send(Renewal((TOKEN,), ()))
        await until_idle()
        assert (before, it.client.dismissed) == (False, True)
        assert it.taken == [held_lease]


@virtually
async def test_a_leaving_worker_that_reconnects_offers_nothing() -> None:
    async with desk() as it:
        server, _ = await it.welcome()
        held_lease = await it.lease(server)
        it.client.leave()
        server.cut()
        server, hello = await it.welcome(Held(TOKEN, 0, False))
        assert hello.credit == 0
        assert it.client.dismissed
        await heard(server, Farewell)
        it.client.add_credit()
        held_lease.end(AttemptEnd.RELEASED)
        assert await heard(server, GiveBack) == GiveBack(TOKEN)


@virtually
async def test_a_cancel_order_reaches_its_attempt() -> None:
    async with desk() as it:
        server, _ = await it.welcome()
        held_lease = await it.lease(server)
        await server.send(CancelOrder(TaskToken("another's")))
        await server.send(CancelOrder(TOKEN))
        await held_lease.stop.asked()
        assert held_lease.stop.why is StopReason.CANCEL


@virtually
async def test_a_rejected_attempt_whose_lease_is_gone_is_lost() -> None:
    async with desk() as it:
        server, _ = await it.welcome()
        held_lease = await it.lease(server)
        await held_lease.report(ALIVE)
        await server.send(Rejected(TOKEN, "FAILED_PRECONDITION", "gone", lease_lost=True))
        assert not await held_lease.over()
        assert held_lease.stop.why is StopReason.LOST
        await heard(server, Batch)
        await silence(server)


@holds("logs/log-trouble-fails-no-command")
@virtually
async def test_what_a_server_will_not_take_costs_first_a_connection_then_the_log() -> None:
    async with desk() as it:
        server, _ = await it.welcome()
        held_lease = await it.lease(server)
        await held_lease.report(ALIVE)
        no = Rejected(TOKEN, "INVALID_ARGUMENT", "no", lease_lost=False)
        for _ in range(2):
            await heard(server, Batch)
            await server.send(no)
            await until_idle()
            server, hello = await it.welcome(Held(TOKEN, 0, False))
            assert hello.holding == (TOKEN,)
        await held_lease.report(ALIVE)
        held_lease.end(DONE)
        completion = await heard(server, Completion)
        assert (completion.last, completion.outcome.log_complete) == (0, False)
        await server.send(no)
        await until_idle()
        server, _ = await it.welcome(Held(TOKEN, 0, False))
        assert await heard(server, GiveBack) == GiveBack(TOKEN, lost=True, log_complete=False)
        await server.send(no)
        assert not await held_lease.over()


@promise(
    "logs/a-bad-report-ends-its-own-log",
    "A report that no server takes ends the log of its own attempt. The worker's stream and its "
    "other jobs go on.",
)
@virtually
async def test_a_report_that_ends_each_connection_costs_its_own_log_and_no_other() -> None:
    bad, good = TaskToken("bad"), TaskToken("good")
    async with desk() as it:
        server, _ = await it.welcome()
        poisoned, innocent = await it.lease(server, bad), await it.lease(server, good)
        await poisoned.report(output(1))
        await innocent.report(output(2))
        poisoned.end(DONE)
        stored = 0
        refused = 0
        while not poisoned.is_over or not innocent.is_over:
            message = await heard_but_beats(server)
            match message:
                case Batch(token) if token == good:
                    stored = 1
                    await server.send(Stored(token, 1))
                    innocent.end(DONE)
                case Completion(token, last, outcome):
                    assert (token, outcome.log_complete) == ((good, True) if last else (bad, False))
                    await server.send(Settled(token))
                    await until_idle()
                case _:
                    refused += 1
                    server.refuse(MessageRefused("too large"))
                    held = [Held(bad, 0, False)]
                    held += [] if innocent.is_over else [Held(good, stored, False)]
                    server, _ = await it.welcome(*held)
        assert refused == REFUSALS_MAX + 1


@virtually
async def test_a_server_that_lost_what_it_had_acknowledged_makes_the_log_incomplete() -> None:
    async with desk() as it:
        server, _ = await it.welcome()
        held_lease = await it.lease(server)
        await held_lease.report(ALIVE)
        await heard(server, Batch)
        await server.send(Stored(TOKEN, 1))
        await until_idle()
        server.cut()
        server, _ = await it.welcome(Held(TOKEN, 0, False))
        held_lease.end(DONE)
        completion = await heard(server, Completion)
        assert (completion.last, completion.outcome.log_complete) == (0, False)


@pytest.mark.parametrize("message", [Drain(), Welcome("1", (), ()), Renewal((), ())])
@virtually
async def test_a_server_that_goes_or_talks_nonsense_is_left(message: FromServer) -> None:
    async with desk() as it:
        server, _ = await it.welcome()
        await server.send(message)
        await it.welcome()
        with pytest.raises(ChannelClosed):
            await server.receive()


@virtually
async def test_a_server_that_never_says_welcome_is_left() -> None:
    async with desk() as it:
        first, _ = await it.meet()
        await it.welcome()
        assert WELCOME_SECONDS_MAX <= asyncio.get_running_loop().time() < WELCOME_SECONDS_MAX + 1
        assert first.outgoing.closed


@virtually
async def test_tries_are_spread_out_and_never_further_apart_than_a_tenth_of_the_span() -> None:
    async with desk() as it:
        loop = asyncio.get_running_loop()
        waits: list[float] = []
        last = loop.time()
        for _ in range(30):
            (await it.connections.get()).cut()
            waits.append(loop.time() - last)
            last = loop.time()
        assert max(waits) <= SPAN / 10
        assert max(waits) > SPAN / 20
        assert len(set(waits)) > 25


@virtually
async def test_attempts_with_much_to_say_take_turns() -> None:
    async with desk() as it:
        server, _ = await it.welcome()
        loud = await it.lease(server)
        quiet = await it.lease(server, TaskToken("t2"))
        server.incoming.room = 0  # no message passes
        for _ in range(3):
            await loud.report(output(1024 * 1024))
        await quiet.report(ALIVE)
        await until_idle()
        server.incoming.room = 100
        server.incoming._news.set()
        tokens = [(await heard(server, Batch)).token for _ in range(4)]
        assert "t2" in tokens[:3]


@virtually
async def test_the_numbers_of_a_session_follow_its_connections_and_leases() -> None:
    async with desk() as it:
        await it.meet()
        away = SessionStatistics(
            connected=0,
            connections=0,
            leases_held=0,
            credit=3,
            messages_waiting=0,
            heartbeats_unanswered=0,
            seconds_since_renewal=inf,
        )
        assert it.client.statistics() == away
        server, _ = await it.welcome()
        here = replace(away, connected=1, connections=1, seconds_since_renewal=0)
        assert it.client.statistics() == here
        held_lease = await it.lease(server)
        assert it.client.statistics() == replace(here, leases_held=1, credit=2)
        await asyncio.sleep(SPAN / 2)
        numbers = it.client.statistics()
        assert numbers.heartbeats_unanswered == 1
        assert numbers.seconds_since_renewal == pytest.approx(SPAN / 2)
        await server.send(Renewal((TOKEN,), ()))
        await until_idle()
        numbers = it.client.statistics()
        assert numbers.heartbeats_unanswered == 0
        assert numbers.seconds_since_renewal == pytest.approx(SPAN / 6)  # it was sent at a third
        server.cut()
        await until_idle()
        held_lease.end(DONE)
        it.client.add_credit()
        numbers = it.client.statistics()
        assert (numbers.connected, numbers.connections, numbers.leases_held) == (0, 1, 1)
        assert (numbers.credit, numbers.messages_waiting) == (3, 2)  # a completion and a credit
        server, _ = await it.welcome(Held(TOKEN, 0, False))
        await heard(server, Completion)
        await server.send(Settled(TOKEN))
        await until_idle()
        numbers = it.client.statistics()
        assert (numbers.connections, numbers.leases_held, numbers.messages_waiting) == (2, 0, 0)


# Rejected for lack of room


NO_ROOM = Rejected(TOKEN, "RESOURCE_EXHAUSTED", "the disk is low", lease_lost=False)
TOO_SOON = Rejected(TOKEN, "FAILED_PRECONDITION", "expected 1, got 2", lease_lost=False)


@virtually
async def test_what_there_is_no_room_for_is_said_again_until_there_is() -> None:
    async with desk() as it:
        server, _ = await it.welcome()
        held_lease = await it.lease(server)
        await held_lease.report(ALIVE)
        held_lease.end(DONE)
        for _ in range(10):
            assert await heard_but_beats(server) == Batch(TOKEN, 1, (ALIVE,))
            assert await heard_but_beats(server) == Completion(TOKEN, 1, DONE)
            await server.send(NO_ROOM)
            await server.send(TOO_SOON)
        await server.send(Stored(TOKEN, 1))
        await server.send(Settled(TOKEN))
        assert await held_lease.over()


@virtually
async def test_a_job_goes_back_behind_the_output_that_there_was_no_room_for() -> None:
    async with desk() as it:
        server, _ = await it.welcome()
        held_lease = await it.lease(server)
        await held_lease.report(ALIVE)
        held_lease.end(AttemptEnd.RELEASED)
        for _ in range(3):
            assert await heard_but_beats(server) == Batch(TOKEN, 1, (ALIVE,))
            assert await heard_but_beats(server) == GiveBack(TOKEN, last=1)
            await server.send(NO_ROOM)
            await server.send(TOO_SOON)
        assert not held_lease.is_over


@virtually
async def test_nothing_is_said_between_a_refusal_and_the_answers_to_what_went_after_it() -> None:
    async with desk() as it:
        server, _ = await it.welcome()
        held_lease = await it.lease(server)
        for _ in range(3):
            await held_lease.report(ALIVE)
            await heard(server, Batch)
        await server.send(NO_ROOM)
        await server.send(TOO_SOON)
        await held_lease.report(ALIVE)
        await asyncio.sleep(SPAN / 4)
        await silence(server)
        await server.send(TOO_SOON)
        assert await heard_but_beats(server) == Batch(TOKEN, 1, (ALIVE,) * 4)
        assert not held_lease.lost


@virtually
async def test_what_is_stored_before_a_refusal_is_not_said_again() -> None:
    async with desk() as it:
        server, _ = await it.welcome()
        held_lease = await it.lease(server)
        for _ in range(2):
            await held_lease.report(ALIVE)
            await heard(server, Batch)
        await server.send(Stored(TOKEN, 1))
        await server.send(NO_ROOM)
        assert await heard_but_beats(server) == Batch(TOKEN, 2, (ALIVE,))


@virtually
async def test_a_lease_is_renewed_and_its_command_waits_while_there_is_no_room() -> None:
    async with desk() as it, asyncio.TaskGroup() as tasks:
        server, _ = await it.welcome()
        held_lease = await it.lease(server)
        await held_lease.report(output(UNACKNOWLEDGED_BYTES_MAX))
        waiting = tasks.create_task(held_lease.report(ALIVE))
        for _ in range(20):
            message = await server.receive()
            if isinstance(message, Heartbeat):
                await server.send(Renewal(message.tokens, ()))
            else:
                await server.send(NO_ROOM)
        assert not waiting.done()
        assert not held_lease.lost
        await server.send(Stored(TOKEN, 1))
        await waiting


@virtually
async def test_a_new_connection_ends_the_wait_for_room() -> None:
    async with desk() as it:
        server, _ = await it.welcome()
        held_lease = await it.lease(server)
        await held_lease.report(ALIVE)
        await heard(server, Batch)
        await server.send(NO_ROOM)
        await until_idle()
        server.cut()
        server, _ = await it.welcome(Held(TOKEN, 0, False))
        assert await heard(server, Batch) == Batch(TOKEN, 1, (ALIVE,))
        await asyncio.sleep(SPAN / 4)
        await silence(server)
