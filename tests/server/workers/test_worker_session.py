"""A native worker's stream, from the server's side, over a network held in the hand."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from airunner.model.errors import (
    InvalidRequest,
    LimitReached,
    Refused,
    Stalled,
    Unauthenticated,
    Unreachable,
)
from airunner.model.jobs import (
    Job,
    JobId,
    JobRequest,
    JobState,
    Millis,
    Outcome,
    Reason,
    Subject,
    TaskToken,
    WorkerId,
)
from airunner.model.limits import (
    HEARTBEAT_TOKENS_MAX,
    HELLO_SECONDS_MAX,
    PENDING_REPLIES_MAX,
    REPORTS_PER_BATCH_MAX,
    WORKER_NAME_CHARS_MAX,
    WORKER_QUEUES_MAX,
    WORKER_SLOTS_MAX,
)
from airunner.model.namespaces import QueueKey
from airunner.model.protocol.channel import ChannelClosed
from airunner.model.protocol.incarnation import worker_id
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
from airunner.model.reports import Alive
from airunner.model.spec import JobSpec
from airunner.server.broker import Broker
from airunner.server.client_calls import ClientCalls
from airunner.server.worker_calls import WorkerCalls
from airunner.server.workers.worker_session import Session
from airunner.store.retention import Retention
from tests.promises import holds, promise
from tests.server.broker_fixture import (
    DONE,
    MINUTE,
    SlowLog,
    leased,
    output,
    seconds_gone,
    served,
    wish,
)
from tests.server.test_full_log import tried
from tests.support.channel import End, channel_pair
from tests.support.loop import until_idle, virtually, work_takes

Worker = End[FromWorker, FromServer]
SUE = Subject("sue")


def hello(
    *holding: TaskToken,
    worker: str = "ann",
    queues: tuple[str, ...] = ("default",),
    span: int = MINUTE,
    slots: int = 4,
    credit: int = 4,
    name: str = "",
    connection: int = 0,
    secret: bytes = b"",
    features: tuple[str, ...] = (),
) -> Hello:
    return Hello(
        worker=worker_id(worker, secret) if secret else WorkerId(worker),
        name=name,
        queues=queues,
        span=Millis(span),
        slots=slots,
        credit=credit,
        holding=holding,
        connection=connection,
        secret=secret,
        features=features,
    )


class Site:
    """A broker, and as many workers' streams to it as a test opens."""

    def __init__(self, broker: Broker, log: SlowLog, tasks: asyncio.TaskGroup) -> None:
        self.broker, self.log, self.tasks = broker, log, tasks

    def connect(
        self, *, room: int = 1_000, subject: Subject = SUE
    ) -> tuple[Worker, asyncio.Task[Refused | None]]:
        """A worker's end, and the session that serves it; its result is what it refused."""
        mine: Worker
        mine, theirs = channel_pair(room)

        async def serve() -> Refused | None:
            try:
                await Session(self.broker, theirs, version="1.2", subject=subject).run()
            except Refused as refusal:
                return refusal
            return None

        return mine, self.tasks.create_task(serve())

    async def greet(self, message: Hello) -> tuple[Worker, asyncio.Task[Refused | None]]:
        """A stream that has been welcomed."""
        worker, session = self.connect()
        await worker.send(message)
        assert isinstance(await worker.receive(), Welcome)
        return worker, session

    async def enqueue(self, queue: str = "default", attempts: int = 3) -> Job:
        return await ClientCalls(self.broker).enqueue(wish(queue, attempts))

    async def state(self, id: JobId) -> tuple[JobState, int]:
        job = await ClientCalls(self.broker).get(id)
        return job.state, job.failures


@asynccontextmanager
async def site(retention: Retention | None = None) -> AsyncIterator[Site]:
    async with served(retention) as (broker, log), asyncio.TaskGroup() as tasks:
        yield Site(broker, log, tasks)
        log.gate.set()
        broker.stop()


async def assigned(worker: Worker) -> Assignment:
    message = await worker.receive()
    assert isinstance(message, Assignment)
    return message


async def nothing_comes(worker: Worker) -> None:
    await asyncio.sleep(1)
    assert not worker.incoming.messages


# Hello


@virtually
async def test_a_worker_is_welcomed_and_gets_as_many_jobs_as_it_has_credit_for() -> None:
    async with site() as at:
        jobs = [await at.enqueue() for _ in range(3)]
        worker, _ = at.connect()
        await worker.send(hello(credit=2))
        assert await worker.receive() == Welcome("1.2", (), ())
        first, second = await assigned(worker), await assigned(worker)
        assert [first.job.id, second.job.id] == [jobs[0].id, jobs[1].id]
        assert first.span == MINUTE
        await nothing_comes(worker)
        await worker.send(Credit(1))
        assert (await assigned(worker)).job.id == jobs[2].id


@holds("jobs/waiting-sides-meet")
@virtually
async def test_a_worker_gets_no_more_jobs_at_once_than_its_slots_whatever_its_credit() -> None:
    async with site() as at:
        worker, _ = await at.greet(hello(slots=2, credit=0))
        await worker.send_all([Credit(1_000)] * 50)
        await until_idle()
        for _ in range(5):
            await at.enqueue()
        for _ in range(2):
            await assigned(worker)
        await nothing_comes(worker)


@virtually
async def test_credit_waits_for_a_job_to_come() -> None:
    async with site() as at:
        worker, _ = await at.greet(hello(credit=1))
        await asyncio.sleep(30)
        job = await at.enqueue()
        assert (await assigned(worker)).job.id == job.id


@virtually
async def test_credit_that_finds_no_job_waits_for_one_to_come() -> None:
    async with site() as at:
        worker, _ = await at.greet(hello(credit=0))
        await worker.send(Credit(1))
        await asyncio.sleep(30)
        job = await at.enqueue()
        assert (await assigned(worker)).job.id == job.id


@virtually
async def test_the_next_job_is_leased_with_the_end_of_the_last_in_one_append() -> None:
    async with site() as at:
        _, second = [await at.enqueue() for _ in range(2)]
        worker, _ = await at.greet(hello(credit=1))
        first = await assigned(worker)
        appends = at.log.appends
        await worker.send_all((Completion(first.token, 0, DONE), Credit(1)))
        assert await worker.receive() == Settled(first.token)
        assert (await assigned(worker)).job.id == second.id
        assert at.log.appends == appends + 1


@virtually
async def test_a_worker_that_leaves_gets_no_job_with_credit_that_it_gives_later() -> None:
    async with site() as at:
        worker, _ = await at.greet(hello(credit=0))
        await at.enqueue()
        await worker.send_all((Farewell(), Credit(1)))
        await nothing_comes(worker)


@virtually
async def test_a_worker_that_falls_silent_gets_no_job_until_it_is_heard_of_again() -> None:
    async with site() as at:
        silent, _ = await at.greet(hello(worker="silent", credit=2))
        await asyncio.sleep(50)
        job = await at.enqueue()
        await nothing_comes(silent)
        waiting = ClientCalls(at.broker).explain(job)
        assert waiting is not None
        assert waiting.workers == 0
        await silent.send(Heartbeat(()))
        assert await silent.receive() == Renewal((), ())
        assert (await assigned(silent)).job.id == job.id


STRICT = JobRequest(spec=JobSpec(script="make", strict=True))


@promise(
    "jobs/features-match",
    "A job never runs on a worker that would ignore a part of it. A worker lists the features that it "
    "has, and a job that needs another one waits for another worker and says so.",
)
@virtually
async def test_a_job_waits_for_a_worker_that_has_the_features_that_it_needs() -> None:
    async with site() as at:
        calls = ClientCalls(at.broker)
        old, _ = await at.greet(hello(worker="old", credit=2))
        strict = await calls.enqueue(STRICT)
        await nothing_comes(old)
        waiting = calls.explain(strict)
        assert waiting is not None
        assert waiting.explanation.endswith("1 worker of the queue cannot run it: it needs strict")
        plain = await at.enqueue()
        assert (await assigned(old)).job.id == plain.id
        new, _ = await at.greet(hello(worker="new", credit=1, features=("strict", "unknown")))
        assert (await assigned(new)).job.id == strict.id


@virtually
async def test_each_job_wakes_a_worker_that_can_run_it() -> None:
    async with site() as at:
        old, _ = await at.greet(hello(worker="old", credit=1))
        new, _ = await at.greet(hello(worker="new", credit=1, features=("strict",)))
        other, _ = await at.greet(hello(worker="other", credit=1))
        first = await ClientCalls(at.broker).enqueue(STRICT)
        assert (await assigned(new)).job.id == first.id
        second, third = await at.enqueue(), await at.enqueue()
        jobs = {(await assigned(each)).job.id for each in (old, other)}
        assert jobs == {second.id, third.id}


@virtually
async def test_a_caller_of_the_published_dequeue_gets_plain_jobs_and_those_of_any_revision() -> (
    None
):
    async with site() as at:
        await ClientCalls(at.broker).enqueue(STRICT)
        plain = await at.enqueue()
        spec = JobSpec(command="true", repository="https://example.org/repo", commit="main")
        main = await ClientCalls(at.broker).enqueue(JobRequest(spec=spec))
        _older, _ = await at.greet(hello(worker="older", credit=0, features=("strict",)))
        calls = WorkerCalls(at.broker)
        got = await calls.lease(
            ("default",), worker=WorkerId("w"), span=Millis(MINUTE), most=3, wait=1
        )
        assert [each.job.id for each in got] == [plain.id, main.id]
        again = await ClientCalls(at.broker).enqueue(JobRequest(spec=spec))
        waiting = ClientCalls(at.broker).explain(again)
        assert waiting is not None
        assert waiting.explanation.endswith("it needs revision")


@promise(
    "jobs/silent-worker-gets-no-job",
    "A silent worker gets no job, even if its connection is open. The server must have heard from "
    "a worker within two thirds of its visibility timeout, or it passes the worker by.",
)
@virtually
async def test_a_job_passes_a_silent_worker_by() -> None:
    async with site() as at:
        silent, _ = await at.greet(hello(worker="silent"))
        await asyncio.sleep(50)
        awake, _ = await at.greet(hello(worker="awake"))
        job = await at.enqueue()
        assert (await assigned(awake)).job.id == job.id
        await nothing_comes(silent)


@virtually
async def test_a_worker_without_credit_gets_nothing() -> None:
    async with site() as at:
        await at.enqueue()
        worker, _ = await at.greet(hello(credit=0))
        await nothing_comes(worker)


@virtually
async def test_an_assignment_says_how_much_output_will_be_kept() -> None:
    async with site(Retention(output_bytes_per_job=10)) as at:
        await at.enqueue()
        worker, _ = await at.greet(hello())
        task = await assigned(worker)
        assert task.output_bytes_max == 10
        await worker.send(Batch(task.token, 1, (output("1234"),)))
        await worker.send(GiveBack(task.token))
        assert await worker.receive() == Stored(task.token, 1)
        assert await worker.receive() == Settled(task.token)
        assert (await assigned(worker)).output_bytes_max == 6


@virtually
async def test_a_hello_renews_what_the_worker_holds_and_says_what_is_lost() -> None:
    async with site() as at:
        for _ in range(2):
            await at.enqueue()
        worker, session = await at.greet(hello())
        one, two = await assigned(worker), await assigned(worker)
        await worker.send(Batch(one.token, 1, (output("a", "b"),)))
        assert await worker.receive() == Stored(one.token, 2)
        await ClientCalls(at.broker).cancel(two.job.id, SUE)
        assert await worker.receive() == CancelOrder(two.token)
        worker.cut()
        await session
        await asyncio.sleep(50)
        again, _ = at.connect()
        gone = TaskToken("long gone")
        await again.send(hello(two.token, gone, one.token))
        assert await again.receive() == Welcome(
            "1.2",
            (Held(two.token, 0, cancelled=True), Held(one.token, 2, cancelled=False)),
            (gone,),
        )
        await asyncio.sleep(59)
        assert await at.state(one.job.id) == (JobState.RUNNING, 0)


@holds("jobs/undelivered-lease-returns")
@virtually
async def test_a_lease_that_a_hello_does_not_list_was_never_delivered_and_goes_back() -> None:
    async with site() as at:
        job = await at.enqueue()
        worker, session = await at.greet(hello())
        await until_idle()
        await asyncio.sleep(1)
        worker.cut()
        await session
        assert await at.state(job.id) == (JobState.RUNNING, 0)
        await at.greet(hello(credit=0))
        back = await ClientCalls(at.broker).get(job.id)
        assert (back.state, back.failures, back.place) == (JobState.SCHEDULED, 0, job.place)


@holds("jobs/one-worker-at-a-time")
@virtually
async def test_a_hello_that_comes_after_a_later_one_is_void() -> None:
    """The network may bring what an abandoned connection carried when the next one lives already."""
    async with site() as at:
        job = await at.enqueue()
        worker, session = await at.greet(hello(connection=2))
        await assigned(worker)
        late, serving = at.connect()
        await late.send(hello(connection=1))
        assert await serving is None
        with pytest.raises(ChannelClosed):
            await late.receive()
        assert await at.state(job.id) == (JobState.RUNNING, 0)
        assert not session.done()
        worker.cut()
        await session
        again, serving = at.connect()
        await again.send(hello(connection=1))
        assert await serving is None
        assert await at.state(job.id) == (JobState.RUNNING, 0)


@virtually
async def test_a_cancelled_job_that_is_given_back_without_all_reports_has_no_complete_log() -> None:
    async with site() as at:
        job = await at.enqueue()
        worker, _ = await at.greet(hello())
        task = await assigned(worker)
        await ClientCalls(at.broker).cancel(job.id, SUE)
        await worker.send(GiveBack(task.token, log_complete=False))
        await until_idle()
        await asyncio.sleep(1)
        outcome = (await ClientCalls(at.broker).get(job.id)).outcome
        assert outcome
        assert (outcome.reason, outcome.log_complete) == (Reason.CANCELLED, False)


@virtually
async def test_a_job_that_is_given_back_before_its_last_report_has_come_stays_where_it_is() -> None:
    async with site() as at:
        job = await at.enqueue()
        worker, _ = await at.greet(hello())
        task = await assigned(worker)
        await worker.send(GiveBack(task.token, last=1))
        missing = "expected the report numbered 1, got 2"
        rejected = Rejected(task.token, "FAILED_PRECONDITION", missing, lease_lost=False)
        assert await worker.receive() == rejected
        assert await at.state(job.id) == (JobState.RUNNING, 0)
        await worker.send(Batch(task.token, 1, (Alive(Millis(1), True),)))
        await worker.send(GiveBack(task.token, last=1))
        assert await worker.receive() == Stored(task.token, 1)
        assert await worker.receive() == Settled(task.token)


@virtually
async def test_a_cancelled_job_that_a_hello_does_not_list_has_no_complete_log() -> None:
    """Its worker may have had it, written, and lost it while the server was away."""
    async with site() as at:
        job = await at.enqueue()
        worker, session = await at.greet(hello())
        await assigned(worker)
        await ClientCalls(at.broker).cancel(job.id, SUE)
        worker.cut()
        await session
        await at.greet(hello(credit=0))
        outcome = (await ClientCalls(at.broker).get(job.id)).outcome
        assert outcome
        assert (outcome.reason, outcome.log_complete) == (Reason.CANCELLED, False)


@virtually
async def test_another_workers_lease_stays_with_it() -> None:
    async with site() as at:
        job = await at.enqueue()
        worker, _ = await at.greet(hello())
        await assigned(worker)
        await at.greet(hello(worker="bob"))
        assert await at.state(job.id) == (JobState.RUNNING, 0)


# A stream that breaks


@promise(
    "jobs/broken-connection-redelivers-nothing",
    "A broken connection alone redelivers nothing. A server that is away for less than the "
    "visibility timeout costs no attempt.",
)
@virtually
async def test_a_stream_that_breaks_redelivers_nothing_until_the_lease_lapses() -> None:
    async with site() as at:
        job = await at.enqueue()
        worker, session = await at.greet(hello())
        await assigned(worker)
        worker.cut()
        assert await session is None
        await asyncio.sleep(58)
        assert await at.state(job.id) == (JobState.RUNNING, 0)
        await asyncio.sleep(2)
        assert await at.state(job.id) == (JobState.SCHEDULED, 1)


@virtually
async def test_an_assignment_that_was_never_written_goes_back_at_once() -> None:
    async with site() as at:
        job = await at.enqueue()
        worker, session = await at.greet(hello(credit=0))
        at.log.gate.clear()
        await worker.send(Credit(1))
        await asyncio.sleep(1)
        assert at.broker.engine.table.job(job.id).state is JobState.RUNNING
        worker.cut()
        await session
        at.log.gate.set()
        assert await at.state(job.id) == (JobState.SCHEDULED, 0)


@virtually
async def test_what_was_given_back_to_the_line_by_time_is_not_given_back_twice() -> None:
    async with site() as at:
        job = await at.enqueue()
        worker, session = await at.greet(hello(credit=0))
        at.log.gate.clear()
        await worker.send(Credit(1))
        await asyncio.sleep(61)
        worker.cut()
        await session
        at.log.gate.set()
        assert await at.state(job.id) == (JobState.SCHEDULED, 1)


@virtually
async def test_a_newer_stream_of_the_worker_ends_the_older() -> None:
    async with site() as at:
        old, session = await at.greet(hello(secret=b"s"))
        new, _ = await at.greet(hello(secret=b"s"))
        assert await session is None
        with pytest.raises(ChannelClosed):
            await old.receive()
        job = await at.enqueue()
        assert (await assigned(new)).job.id == job.id


@virtually
async def test_of_two_streams_that_begin_at_once_one_is_left() -> None:
    async with site() as at:
        (one, first), (two, second) = at.connect(), at.connect()
        await one.send(hello(secret=b"s"))
        await two.send(hello(secret=b"s"))
        assert await first is None
        assert not second.done()
        assert [
            each.slots for each in at.broker.connected_workers.serving(QueueKey("default"))
        ] == [4]


@virtually
async def test_nothing_is_taken_from_a_stream_that_a_newer_one_has_ended() -> None:
    async with site() as at:
        job = await at.enqueue()
        old, _ = await at.greet(hello(secret=b"s"))
        task = await assigned(old)
        new, _ = at.connect()
        with work_takes(0.1):  # the older stream rests between a message and its effect
            await old.send(Completion(task.token, 0, DONE))
            await new.send(hello(secret=b"s"))
            await until_idle()
        assert isinstance(await new.receive(), Welcome)
        assert (await assigned(new)).job.id == job.id
        assert await at.state(job.id) == (JobState.RUNNING, 0)


@virtually
async def test_a_stream_that_ends_with_a_refusal_says_which() -> None:
    async with site() as at:
        worker, session = await at.greet(hello())
        worker.refuse(Unauthenticated("the token has expired"))
        assert isinstance(await session, Unauthenticated)


# Reports


@virtually
async def test_what_is_stored_is_acknowledged_only_once_it_is_durable() -> None:
    async with site() as at:
        await at.enqueue()
        worker, _ = await at.greet(hello())
        task = await assigned(worker)
        at.log.gate.clear()
        await worker.send(Batch(task.token, 1, (output("a"), Alive(Millis(1), alive=True))))
        await asyncio.sleep(30)
        assert not worker.incoming.messages
        at.log.gate.set()
        assert await worker.receive() == Stored(task.token, 2)


@virtually
async def test_acknowledgements_that_meet_become_one() -> None:
    async with site() as at:
        await at.enqueue()
        worker, _ = await at.greet(hello())
        task = await assigned(worker)
        at.log.gate.clear()
        for first in (1, 3, 5):
            await worker.send(Batch(task.token, first, (output("a", "b"),)))
        await asyncio.sleep(1)
        appends = at.log.appends
        at.log.gate.set()
        await worker.send(Completion(task.token, 6, DONE))
        answers = [await worker.receive()]
        while answers[-1] != Settled(task.token):
            answers.append(await worker.receive())
        assert answers in (
            [Stored(task.token, 6), Settled(task.token)],
            [Stored(task.token, 2), Stored(task.token, 6), Settled(task.token)],
        )
        assert at.log.appends <= appends + 3


@virtually
async def test_an_acknowledgement_does_not_wait_for_one_that_is_not_durable_yet() -> None:
    async with site() as at:
        await at.enqueue()
        worker, _ = await at.greet(hello())
        task = await assigned(worker)
        at.log.gate.clear()
        await worker.send(Batch(task.token, 1, (output("a"),)))
        await asyncio.sleep(1)
        await worker.send(Batch(task.token, 2, (output("b"),)))
        await until_idle()
        at.log.gate.set()
        await until_idle()
        at.log.gate.clear()
        assert await worker.receive() == Stored(task.token, 1)
        await nothing_comes(worker)


@virtually
async def test_a_batch_that_is_sent_again_is_stored_once_and_acknowledged_twice() -> None:
    async with site() as at:
        job = await at.enqueue()
        worker, _ = await at.greet(hello())
        task = await assigned(worker)
        for _ in range(2):
            await worker.send(Batch(task.token, 1, (output("a", "b"),)))
            assert await worker.receive() == Stored(task.token, 2)
        assert (await ClientCalls(at.broker).get(job.id)).output_bytes == 2


@virtually
async def test_a_batch_of_many_reports_is_stored_in_parts_with_turns_of_others_between() -> None:
    async with site() as at:
        await at.enqueue()
        worker, _ = await at.greet(hello())
        task = await assigned(worker)
        reports = (output("a", "b"), *(output("c") for _ in range(2_500)))
        await worker.send(Batch(task.token, 1, reports))
        stored = 0
        while stored < 2_502:
            message = await worker.receive()
            assert isinstance(message, Stored)
            assert message.sent > stored
            stored = message.sent
        assert at.broker.engine.table.job(task.job.id).output_bytes == 2_502


@virtually
async def test_a_gap_in_the_numbers_is_rejected_and_the_lease_goes_on() -> None:
    async with site() as at:
        await at.enqueue()
        worker, _ = await at.greet(hello())
        task = await assigned(worker)
        await worker.send(Batch(task.token, 2, (output("b"),)))
        assert await rejected(worker) == ("FAILED_PRECONDITION", False)
        await worker.send(Batch(task.token, 1, (output("a"),)))
        assert await worker.receive() == Stored(task.token, 1)


@virtually
async def test_a_batch_without_a_number_or_with_too_much_in_it_is_rejected() -> None:
    async with site() as at:
        await at.enqueue()
        worker, _ = await at.greet(hello())
        task = await assigned(worker)
        await worker.send(Batch(task.token, 0, (output("a"),)))
        assert await rejected(worker) == ("INVALID_ARGUMENT", False)
        most = (Alive(Millis(1), alive=True),) * REPORTS_PER_BATCH_MAX
        await worker.send(Batch(task.token, 1, (*most, output("a"))))
        assert await rejected(worker) == ("INVALID_ARGUMENT", False)
        await worker.send(Batch(task.token, 1, most))
        assert await worker.receive() == Stored(task.token, REPORTS_PER_BATCH_MAX)


async def rejected(worker: Worker) -> tuple[str, bool]:
    message = await worker.receive()
    assert isinstance(message, Rejected)
    assert message.why
    return message.status, message.lease_lost


# The end of a job


@virtually
async def test_a_completion_behind_its_last_batch_settles_the_job() -> None:
    async with site() as at:
        job = await at.enqueue()
        worker, _ = await at.greet(hello())
        task = await assigned(worker)
        await worker.send(Batch(task.token, 1, (output("a", "b"),)))
        await worker.send(Completion(task.token, 2, DONE))
        assert await worker.receive() == Stored(task.token, 2)
        assert await worker.receive() == Settled(task.token)
        assert await at.state(job.id) == (JobState.COMPLETED, 0)


@holds("logs/stored-once-in-order")
@virtually
async def test_a_completion_whose_batch_is_missing_is_rejected_until_it_has_come() -> None:
    async with site() as at:
        job = await at.enqueue()
        worker, _ = await at.greet(hello())
        task = await assigned(worker)
        await worker.send(Completion(task.token, 1, DONE))
        assert await rejected(worker) == ("FAILED_PRECONDITION", False)
        assert await at.state(job.id) == (JobState.RUNNING, 0)
        await worker.send(Batch(task.token, 1, (output("a"),)))
        await worker.send(Completion(task.token, 1, DONE))
        assert await worker.receive() == Stored(task.token, 1)
        assert await worker.receive() == Settled(task.token)


@virtually
async def test_a_completion_said_twice_is_settled_twice_and_another_is_rejected() -> None:
    async with site() as at:
        await at.enqueue()
        worker, _ = await at.greet(hello())
        task = await assigned(worker)
        for _ in range(2):
            await worker.send(Completion(task.token, 0, DONE))
            assert await worker.receive() == Settled(task.token)
        await worker.send(Completion(task.token, 0, Outcome(reason=Reason.EXITED, exit_code=1)))
        assert await rejected(worker) == ("FAILED_PRECONDITION", True)


@virtually
async def test_a_job_that_is_given_back_is_no_failure_unless_it_is_lost() -> None:
    async with site() as at:
        job = await at.enqueue(attempts=2)
        worker, _ = await at.greet(hello(credit=1))
        task = await assigned(worker)
        await worker.send(GiveBack(task.token))
        assert await worker.receive() == Settled(task.token)
        assert await at.state(job.id) == (JobState.SCHEDULED, 0)
        await worker.send(Credit(1))
        task = await assigned(worker)
        await worker.send(GiveBack(task.token, lost=True))
        assert await worker.receive() == Settled(task.token)
        assert await at.state(job.id) == (JobState.SCHEDULED, 1)


@virtually
async def test_whatever_is_said_with_a_dead_token_is_rejected_as_lost() -> None:
    async with site() as at:
        worker, _ = await at.greet(hello())
        dead = TaskToken("dead")
        said: tuple[FromWorker, ...] = (
            Batch(dead, 1, (output("a"),)),
            Completion(dead, 0, DONE),
            GiveBack(dead),
        )
        for message in said:
            await worker.send(message)
            assert await rejected(worker) == ("FAILED_PRECONDITION", True)


# Leases


@virtually
async def test_a_heartbeat_renews_every_lease_it_names_and_says_which_are_lost() -> None:
    async with site() as at:
        job = await at.enqueue()
        worker, _ = await at.greet(hello())
        task = await assigned(worker)
        await asyncio.sleep(50)
        dead = TaskToken("dead")
        await worker.send(Heartbeat((dead, task.token, task.token)))
        assert await worker.receive() == Renewal((task.token,), (dead,))
        await asyncio.sleep(59)
        assert await at.state(job.id) == (JobState.RUNNING, 0)


@virtually
async def test_a_cancel_is_pushed_at_once_and_the_lease_goes_on_until_the_worker_confirms() -> None:
    async with site() as at:
        job = await at.enqueue()
        worker, _ = await at.greet(hello())
        task = await assigned(worker)
        await ClientCalls(at.broker).cancel(job.id, SUE)
        assert await worker.receive() == CancelOrder(task.token)
        await worker.send(Heartbeat((task.token,)))
        assert await worker.receive() == Renewal((task.token,), ())
        await worker.send(Completion(task.token, 0, Outcome(reason=Reason.CANCELLED)))
        assert await worker.receive() == Settled(task.token)
        assert await at.state(job.id) == (JobState.CANCELLED, 0)


@virtually
async def test_a_cancel_that_overtakes_the_assignment_is_pushed_behind_it() -> None:
    async with site() as at:
        job = await at.enqueue()
        worker, _ = await at.greet(hello(credit=0))
        at.log.gate.clear()
        await worker.send(Credit(1))
        await until_idle()
        cancelled = at.tasks.create_task(ClientCalls(at.broker).cancel(job.id, SUE))
        await asyncio.sleep(1)
        at.log.gate.set()
        task = await assigned(worker)
        assert await worker.receive() == CancelOrder(task.token)
        await cancelled


@virtually
async def test_a_cancel_of_what_the_worker_has_through_another_door_is_not_pushed() -> None:
    async with site() as at:
        worker, _ = await at.greet(hello(queues=("other",)))
        await at.enqueue()
        held = await leased(at.broker, "bob")
        present = at.broker.connected_workers.serving(QueueKey("other"))[0]
        present.cancel(at.broker.engine.table.job(held.job.id))
        await nothing_comes(worker)


# Farewell and stop


@virtually
async def test_after_a_farewell_no_more_jobs_come_and_the_rest_goes_on() -> None:
    async with site() as at:
        await at.enqueue()
        worker, _ = await at.greet(hello())
        task = await assigned(worker)
        await worker.send(Farewell())
        await until_idle()
        waiting = await at.enqueue()
        await nothing_comes(worker)
        await worker.send(Completion(task.token, 0, DONE))
        assert await worker.receive() == Settled(task.token)
        assert (await ClientCalls(at.broker).get(waiting.id)).state is JobState.SCHEDULED


@virtually
async def test_a_server_that_stops_answers_what_is_decided_then_drains_then_ends() -> None:
    async with site() as at:
        await at.enqueue()
        worker, session = await at.greet(hello())
        task = await assigned(worker)
        at.log.gate.clear()
        await worker.send(Batch(task.token, 1, (output("a"),)))
        await worker.send(Completion(task.token, 1, DONE))
        await asyncio.sleep(1)
        at.broker.stop()
        await asyncio.sleep(1)
        assert not worker.incoming.messages
        at.log.gate.set()
        assert await worker.receive() == Stored(task.token, 1)
        assert await worker.receive() == Settled(task.token)
        assert await worker.receive() == Drain()
        with pytest.raises(ChannelClosed):
            await worker.receive()
        assert await session is None


@virtually
async def test_a_worker_that_reads_slowly_still_hears_the_drain() -> None:
    async with site() as at:
        worker, session = at.connect(room=1)
        await worker.send(hello())
        await worker.send(Heartbeat(()))
        await until_idle()
        at.broker.stop()
        await asyncio.sleep(1)
        assert isinstance(await worker.receive(), Welcome)
        await asyncio.sleep(1)
        assert not session.done()
        assert await worker.receive() == Renewal((), ())
        assert await worker.receive() == Drain()
        assert await session is None


@virtually
async def test_a_server_whose_log_fails_ends_the_stream_without_an_answer() -> None:
    try:
        async with site() as at:
            await at.enqueue()
            worker, session = await at.greet(hello())
            task = await assigned(worker)
            at.log.broken = True
            await worker.send(Completion(task.token, 0, DONE))
            with pytest.raises(ChannelClosed):
                await worker.receive()
            assert await session is None
    except* OSError:
        pass


# Bounds


@virtually
async def test_a_worker_that_does_not_read_is_not_read_either() -> None:
    async with site() as at:
        worker, _ = at.connect(room=10)
        await worker.send(hello())

        async def talk() -> None:
            for _ in range(2 * PENDING_REPLIES_MAX):
                await worker.send(Heartbeat(()))

        async with asyncio.TaskGroup() as tasks:
            talking = tasks.create_task(talk())
            await asyncio.sleep(60)
            assert not talking.done()
            heard = [await worker.receive() for _ in range(2 * PENDING_REPLIES_MAX + 1)]
        assert heard[1:] == [Renewal((), ())] * 2 * PENDING_REPLIES_MAX


WRONG_HELLOS: list[tuple[str, Callable[[], Hello]]] = [
    ("hello.worker", lambda: hello(worker="")),
    ("hello.worker", lambda: hello(worker="w" * (2 * WORKER_NAME_CHARS_MAX + 1))),
    ("hello.name", lambda: hello(name="n" * (WORKER_NAME_CHARS_MAX + 1))),
    ("hello.queues", lambda: hello(queues=())),
    ("hello.queues", lambda: hello(queues=("no queue",))),
    ("hello.queues", lambda: hello(queues=("q",) * (WORKER_QUEUES_MAX + 1))),
    ("hello.span_millis", lambda: hello(span=999)),
    ("hello.span_millis", lambda: hello(span=12 * 3_600_000 + 1)),
    ("hello.slots", lambda: hello(slots=0, credit=0)),
    ("hello.slots", lambda: hello(slots=WORKER_SLOTS_MAX + 1)),
    ("hello.credit", lambda: hello(slots=1, credit=2)),
    ("hello.credit", lambda: hello(credit=-1)),
    ("hello.holding", lambda: hello(*[TaskToken("t")] * (HEARTBEAT_TOKENS_MAX + 1))),
]


@pytest.mark.parametrize(("field", "make"), WRONG_HELLOS)
def test_a_wrong_hello_is_refused_by_the_name_of_its_field(
    field: str, make: Callable[[], Hello]
) -> None:
    @virtually
    async def run() -> None:
        async with site() as at:
            worker, session = at.connect()
            await worker.send(make())
            refusal = await session
            assert isinstance(refusal, InvalidRequest)
            assert refusal.field == field
            with pytest.raises(ChannelClosed):
                await worker.receive()

    run()


WRONG_MESSAGES: list[tuple[str, FromWorker]] = [
    ("message", hello()),
    ("credit.more", Credit(0)),
    ("credit.more", Credit(WORKER_SLOTS_MAX + 1)),
    ("heartbeat.task_tokens", Heartbeat((TaskToken("t"),) * (HEARTBEAT_TOKENS_MAX + 1))),
]


@pytest.mark.parametrize(("field", "message"), WRONG_MESSAGES)
def test_what_breaks_the_protocol_ends_the_stream(field: str, message: FromWorker) -> None:
    @virtually
    async def run() -> None:
        async with site() as at:
            worker, session = await at.greet(hello())
            await worker.send(message)
            refusal = await session
            assert isinstance(refusal, InvalidRequest)
            assert refusal.field == field

    run()


@virtually
async def test_the_first_message_must_be_a_hello() -> None:
    async with site() as at:
        worker, session = at.connect()
        await worker.send(Farewell())
        assert isinstance(await session, InvalidRequest)


@virtually
async def test_a_stream_without_a_hello_ends_in_time_and_one_with_a_hello_stays() -> None:
    async with site() as at:
        _, silent = at.connect()
        late, _ = at.connect()
        await asyncio.sleep(HELLO_SECONDS_MAX - 1)
        assert not silent.done()
        await late.send(hello())
        assert isinstance(await late.receive(), Welcome)
        refusal = await silent
        assert isinstance(refusal, Unreachable)
        assert "HELLO_SECONDS_MAX" in str(refusal)
        await asyncio.sleep(HELLO_SECONDS_MAX)
        await late.send(Heartbeat(()))
        assert isinstance(await late.receive(), Renewal)


@virtually
async def test_a_stream_that_closes_before_its_hello_is_no_error() -> None:
    async with site() as at:
        worker, session = at.connect()
        await worker.close()
        assert await session is None


# ConnectedWorkers


@virtually
async def test_a_worker_is_counted_while_its_stream_is_open_with_what_it_does() -> None:
    async with site() as at:
        await at.enqueue()
        worker, session = await at.greet(hello(slots=4))
        task = await assigned(worker)
        (now,) = ClientCalls(at.broker).queue_statistics("default")
        assert (now.workers, now.slots, now.busy) == (1, 4, 1)
        await worker.send(Completion(task.token, 0, DONE))
        assert await worker.receive() == Settled(task.token)
        (now,) = ClientCalls(at.broker).queue_statistics("default")
        assert (now.workers, now.slots, now.busy) == (1, 4, 0)
        worker.cut()
        await session
        (now,) = ClientCalls(at.broker).queue_statistics("default")
        assert now.workers == 0


@holds("server/idle-costs-nothing")
@virtually
async def test_an_idle_stream_makes_no_time_pass() -> None:
    async with site() as at:
        await at.greet(hello())
        before = seconds_gone()
        await until_idle()
        assert seconds_gone() == before


# A full log


@holds("server/full-log-loses-nothing")
@virtually
async def test_a_stream_ends_as_stalled_while_the_log_is_full_and_the_next_one_goes_on() -> None:
    async with site() as it:
        worker, session = await it.greet(hello())
        await it.enqueue()
        held = await assigned(worker)
        it.log.full = True
        await worker.send(Batch(held.token, 1, (Alive(Millis(1), True),)))
        await worker.send(Batch(held.token, 2, (Alive(Millis(2), True),)))
        assert isinstance(await session, Stalled)
        worker, session = it.connect()
        await worker.send(hello(held.token))
        assert isinstance(await session, Stalled)
        it.log.full = False
        await asyncio.sleep(2)
        worker, _ = it.connect()
        await worker.send(hello(held.token, credit=0))
        assert await worker.receive() == Welcome("1.2", (Held(held.token, 2, False),), ())


@virtually
async def test_what_is_said_while_the_log_is_full_ends_the_stream() -> None:
    async with site() as it:
        worker, session = await it.greet(hello())
        await it.enqueue()
        held = await assigned(worker)
        it.log.full = True
        assert isinstance(await tried(ClientCalls(it.broker).enqueue(wish())), Stalled)
        await worker.send(Batch(held.token, 1, (Alive(Millis(1), True),)))
        assert isinstance(await session, Stalled)
        assert it.broker.engine.table.job(held.job.id).sent == 0


@virtually
async def test_an_assignment_that_a_full_log_holds_back_returns_the_job() -> None:
    async with site() as it:
        worker, session = await it.greet(hello())
        it.log.gate.clear()
        it.tasks.create_task(tried(it.enqueue()))
        await asyncio.sleep(1)
        it.log.full = True
        it.log.gate.set()
        assert isinstance(await session, Stalled)
        assert not worker.incoming.messages
        it.log.full = False
        await asyncio.sleep(2)
        (job,) = it.broker.engine.table.jobs()
        assert (job.state, job.attempt, job.failures) == (JobState.SCHEDULED, 1, 0)


@virtually
async def test_output_for_which_there_is_no_room_is_rejected_and_the_lease_lives() -> None:
    def crowded() -> None:
        raise LimitReached("little is left")

    async with served() as (broker, log), asyncio.TaskGroup() as tasks:
        it = Site(broker, log, tasks)
        worker, _ = await it.greet(hello())
        await it.enqueue()
        held = await assigned(worker)
        broker.check_room = crowded
        await worker.send(Batch(held.token, 1, (output("a"),)))
        rejected = Rejected(held.token, "RESOURCE_EXHAUSTED", "little is left", lease_lost=False)
        assert await worker.receive() == rejected
        await worker.send(Heartbeat((held.token,)))
        assert await worker.receive() == Renewal((held.token,), ())
        broker.stop()


@virtually
async def test_a_batch_of_many_reports_is_rejected_once_from_any_of_its_parts_on() -> None:
    room = [0]

    def crowded() -> None:
        if not room[0]:
            raise LimitReached("little is left")
        room[0] -= 1

    async with served() as (broker, log), asyncio.TaskGroup() as tasks:
        it = Site(broker, log, tasks)
        worker, _ = await it.greet(hello())
        await it.enqueue()
        held = await assigned(worker)
        broker.check_room = crowded
        for room[0] in (0, 2):
            await worker.send(Batch(held.token, 1, (output("a"),) * 4_500))
            while isinstance(answer := await worker.receive(), Stored):
                assert answer.sent in (1_000, 2_000)
            assert isinstance(answer, Rejected)
            await worker.send(Heartbeat((held.token,)))
            assert await worker.receive() == Renewal((held.token,), ())
        broker.stop()
