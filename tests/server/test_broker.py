"""The broker in virtual time: what is answered, when, and who waits for what."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Sequence
from contextlib import aclosing

import pytest

from airunner.model.errors import (
    AlreadyFinished,
    CancelPending,
    DataLoss,
    IdempotencyConflict,
    InvalidRequest,
    Refused,
    ShuttingDown,
    StaleLease,
    UnknownJob,
)
from airunner.model.facts import Event
from airunner.model.job_query import JobQuery
from airunner.model.jobs import (
    Job,
    JobId,
    JobRequest,
    JobState,
    Millis,
    Reason,
    RequestId,
    Subject,
    TaskToken,
    WorkerId,
)
from airunner.model.limits import PAGE_SIZE_DEFAULT
from airunner.model.namespaces import QueueKey
from airunner.model.spec import JobSpec
from airunner.server.broker import Broker
from airunner.server.client_calls import ClientCalls
from airunner.server.replay import replay
from airunner.server.worker_calls import WorkerCalls
from airunner.server.workers.connected_workers import ConnectedWorker
from airunner.store.engine import Engine
from airunner.store.retention import Retention
from tests.promises import holds, promise
from tests.server.broker_fixture import (
    DONE,
    MINUTE,
    SlowLog,
    broker_over,
    lease,
    leased,
    output,
    seconds_gone,
    seen,
    served,
    told,
    wish,
)
from tests.support.loop import until_idle, virtually

# Write, then answer


@promise(
    "jobs/write-then-answer",
    "The server writes to the log first and answers second. No reply leaves and no watcher sees an "
    "event before the log has the event. If the log fails, the server answers nothing.",
)
@virtually
async def test_no_reply_leaves_before_the_log_has_what_it_says() -> None:
    async with served() as (broker, log), asyncio.TaskGroup() as tasks:
        log.gate.clear()
        asked = tasks.create_task(ClientCalls(broker).enqueue(wish()))
        await asyncio.sleep(60)
        assert not asked.done()
        log.gate.set()
        assert (await asked).state is JobState.SCHEDULED


@virtually
async def test_not_even_a_question_is_answered_with_what_is_not_durable() -> None:
    async with served() as (broker, log), asyncio.TaskGroup() as tasks:
        job = await ClientCalls(broker).enqueue(wish())
        log.gate.clear()
        cancelled = tasks.create_task(ClientCalls(broker).cancel(job.id, Subject("sue")))
        await asyncio.sleep(1)
        asked = tasks.create_task(ClientCalls(broker).get(job.id))
        await asyncio.sleep(60)
        assert not asked.done()
        log.gate.set()
        assert (await asked).state is (await cancelled).state is JobState.CANCELLED


@holds("jobs/write-then-answer")
@virtually
async def test_no_watcher_sees_an_event_before_the_log_has_it() -> None:
    async with served() as (broker, log), asyncio.TaskGroup() as tasks:
        job = await ClientCalls(broker).enqueue(wish())
        async with aclosing(ClientCalls(broker).watch(job.id)) as events:
            assert told(await anext(events)) == "Enqueued 1"
            following = tasks.create_task(anext(events))
            log.gate.clear()
            cancelled = tasks.create_task(ClientCalls(broker).cancel(job.id, Subject("sue")))
            await asyncio.sleep(60)
            assert not following.done()
            log.gate.set()
            assert told(await following) == "Finished 2"
        await cancelled


@virtually
async def test_two_hundred_submits_that_meet_share_two_appends() -> None:
    async with served() as (broker, log):
        async with asyncio.TaskGroup() as tasks:
            asked = [tasks.create_task(ClientCalls(broker).enqueue(wish())) for _ in range(200)]
        assert log.appends <= 2
        assert len({each.result().id for each in asked}) == 200


@virtually
async def test_many_in_one_request_get_a_job_or_a_refusal_each_and_one_append() -> None:
    async with served() as (broker, log):
        other = JobRequest(spec=JobSpec(command="false"), request=RequestId("key"))
        same = JobRequest(spec=JobSpec(command="true"), request=RequestId("key"))
        one, again, conflict, two = await ClientCalls(broker).enqueue_many(
            [same, same, other, wish()]
        )
        assert isinstance(one, Job)
        assert isinstance(two, Job)
        assert isinstance(again, Job)
        assert again.id == one.id != two.id
        assert isinstance(conflict, IdempotencyConflict)
        assert log.appends == 1


# Parking


@virtually
async def test_a_worker_that_waits_gets_the_job_that_comes() -> None:
    async with served() as (broker, _), asyncio.TaskGroup() as tasks:
        waiting = tasks.create_task(lease(broker, seconds=60))
        await asyncio.sleep(30)
        job = await ClientCalls(broker).enqueue(wish())
        (leased,) = await waiting
        assert leased.job.id == job.id
        assert leased.job.state is JobState.RUNNING


@virtually
async def test_a_worker_that_waits_too_long_gets_nothing() -> None:
    async with served() as (broker, _):
        assert await lease(broker, seconds=60) == []
        assert seconds_gone() == 60


@virtually
async def test_a_worker_that_will_not_wait_gets_nothing_at_once() -> None:
    async with served() as (broker, _):
        assert await lease(broker, seconds=0) == []
        assert seconds_gone() == 0


@virtually
async def test_a_worker_gets_as_many_as_it_asks_for_and_no_more() -> None:
    async with served() as (broker, _):
        await ClientCalls(broker).enqueue_many([wish()] * 5)
        assert len(await lease(broker, most=3)) == 3
        assert len(await lease(broker, most=3)) == 2


@holds("jobs/first-in-first-out")
@virtually
async def test_workers_are_served_in_the_order_in_which_they_came() -> None:
    async with served() as (broker, _), asyncio.TaskGroup() as tasks:
        waits = [tasks.create_task(lease(broker, name)) for name in "abcdef"]
        await until_idle()
        got = []
        for _ in waits:
            job = await ClientCalls(broker).enqueue(wish())
            await asyncio.sleep(1)
            got.append((await ClientCalls(broker).get(job.id)).lease)
        assert [each and each.worker for each in got] == list("abcdef")


@virtually
async def test_a_waiter_that_is_cancelled_passes_its_turn_on() -> None:
    async with served() as (broker, _), asyncio.TaskGroup() as tasks:
        first, second = (tasks.create_task(lease(broker, name)) for name in "ab")
        await until_idle()
        broker.decide(broker.engine.queue.enqueue(JobId("x"), wish(), broker.now()))
        first.cancel()
        (leased,) = await second
        assert leased.job.lease
        assert leased.job.lease.worker == "b"


@virtually
async def test_a_worker_on_two_queues_strands_no_job_that_it_was_woken_for() -> None:
    async with served() as (broker, _), asyncio.TaskGroup() as tasks:
        both = tasks.create_task(lease(broker, "both", "a", "b"))
        await until_idle()
        only = tasks.create_task(lease(broker, "only", "b"))
        await until_idle()
        in_b, in_a = await ClientCalls(broker).enqueue_many([wish("b"), wish("a")])
        assert isinstance(in_a, Job)
        assert isinstance(in_b, Job)
        assert [each.job.id for each in await both] == [in_a.id]
        assert [each.job.id for each in await only] == [in_b.id]


@promise(
    "server/idle-costs-nothing",
    "An idle server does nothing, with a thousand parked workers.",
)
@virtually
async def test_a_thousand_parked_workers_leave_nothing_on_the_loop() -> None:
    async with served() as (broker, log), asyncio.TaskGroup() as tasks:
        waits = [tasks.create_task(lease(broker, f"w{n}")) for n in range(1_000)]
        await until_idle()
        loop = asyncio.get_running_loop()
        assert not [timer for timer in getattr(loop, "_scheduled") if not timer.cancelled()]  # noqa: B009  # private
        assert not getattr(loop, "_ready")  # noqa: B009  # private
        assert log.appends == 0
        for each in waits:
            each.cancel()


@promise(
    "jobs/undelivered-lease-returns",
    "A leased job that was not delivered returns at once. The return does not count as a failure.",
)
@virtually
async def test_a_lease_that_is_cancelled_before_its_answer_returns_the_job_uncounted() -> None:
    async with served() as (broker, log), asyncio.TaskGroup() as tasks:
        job = await ClientCalls(broker).enqueue(wish())
        log.gate.clear()
        asked = tasks.create_task(lease(broker))
        await asyncio.sleep(1)
        assert broker.engine.table.job(job.id).state is JobState.RUNNING
        asked.cancel()
        await until_idle()
        log.gate.set()
        back = await ClientCalls(broker).get(job.id)
        assert (back.state, back.failures, back.place) == (JobState.SCHEDULED, 0, job.place)


@virtually
async def test_what_time_has_taken_already_is_not_taken_back_again() -> None:
    async with served() as (broker, log), asyncio.TaskGroup() as tasks:
        job = await ClientCalls(broker).enqueue(wish())
        log.gate.clear()
        asked = tasks.create_task(lease(broker))
        await asyncio.sleep(61)
        asked.cancel()
        await until_idle()
        log.gate.set()
        assert (await ClientCalls(broker).get(job.id)).failures == 1


# Time


@promise(
    "jobs/timeouts-are-on-time",
    "Leases and queue timeouts end on time. The server's own timer ends them.",
)
@virtually
async def test_a_lease_lapses_on_time_and_the_next_worker_gets_the_job() -> None:
    async with served() as (broker, _):
        await ClientCalls(broker).enqueue(wish())
        dead = await leased(broker, "dead")
        assert dead.job.lease
        next = await leased(broker, "next")
        assert round(seconds_gone() * 1000) - dead.job.lease.until in range(100)
        assert (next.job.id, next.job.attempt, next.job.failures) == (dead.job.id, 2, 1)
        with pytest.raises(StaleLease):
            await WorkerCalls(broker).publish(dead.token, [(1, output("late"))])


@virtually
async def test_a_renewed_lease_lapses_later() -> None:
    async with served() as (broker, _):
        await ClientCalls(broker).enqueue(wish())
        held = await leased(broker)
        await asyncio.sleep(50)
        renewed = await WorkerCalls(broker).renew(held.token, span=Millis(100_000))
        assert renewed.lease
        await asyncio.sleep(99)
        assert (await ClientCalls(broker).get(held.job.id)).state is JobState.RUNNING
        await asyncio.sleep(2)
        assert (await ClientCalls(broker).get(held.job.id)).state is JobState.SCHEDULED


@virtually
async def test_a_wait_in_line_times_out_by_the_servers_own_timer() -> None:
    async with served() as (broker, _):
        job = await ClientCalls(broker).enqueue(wish(wait=90))
        await seen(broker, job)
        assert 90 <= seconds_gone() < 90.1
        ended = await ClientCalls(broker).get(job.id)
        assert ended.outcome
        assert ended.outcome.reason is Reason.QUEUE_TIMEOUT


@virtually
async def test_retention_takes_a_job_on_time_but_not_while_it_is_watched() -> None:
    keep = Retention(finished_age=MINUTE, spared=Millis(1_000))
    async with served(keep) as (broker, _):
        job = await ClientCalls(broker).enqueue(wish())
        await ClientCalls(broker).cancel(job.id, Subject("sue"))
        async with aclosing(ClientCalls(broker).watch(job.id)) as slow:
            await anext(slow)
            await asyncio.sleep(600)
            assert broker.engine.table.find(job.id)
        await asyncio.sleep(1)
        with pytest.raises(UnknownJob):
            await ClientCalls(broker).get(job.id)


@virtually
async def test_a_job_stays_while_one_of_two_watchers_does() -> None:
    keep = Retention(finished_age=MINUTE, spared=Millis(1_000))
    async with served(keep) as (broker, _):
        job = await ClientCalls(broker).enqueue(wish())
        await ClientCalls(broker).cancel(job.id, Subject("sue"))
        async with aclosing(ClientCalls(broker).watch(job.id)) as slow:
            await anext(slow)
            await seen(broker, job)
            await asyncio.sleep(600)
            assert [told(event) async for event in slow] == ["Finished 2"]


# Watching


EVENTS = ["Enqueued 1", "Leased 2", "Reported 3-5", "Reported 6", "Finished 7"]


async def work(broker: Broker) -> None:
    """One attempt with two batches of output, of three chunks and of one."""
    held = await leased(broker)
    assert await WorkerCalls(broker).publish(held.token, [(1, output("a", "b", "c"))]) == 3
    await asyncio.sleep(1)
    assert await WorkerCalls(broker).publish(held.token, [(3, output("c", "d"))]) == 4
    await WorkerCalls(broker).complete(held.token, DONE)


@virtually
async def test_a_watcher_sees_everything_in_order_and_then_ends_by_itself() -> None:
    async with served() as (broker, _), asyncio.TaskGroup() as tasks:
        job = await ClientCalls(broker).enqueue(wish())
        watching = tasks.create_task(seen(broker, job))
        await work(broker)
        assert await watching == EVENTS


@holds("logs/watchers-are-independent")
@virtually
async def test_one_who_comes_late_sees_as_much() -> None:
    async with served() as (broker, _):
        job = await ClientCalls(broker).enqueue(wish())
        await work(broker)
        assert await seen(broker, job) == EVENTS


@promise(
    "logs/watchers-are-independent",
    "Any number of watchers may read a job. No watcher delays another watcher or the job. A "
    "watcher that comes late or returns misses nothing, and each stream ends by itself.",
)
@virtually
async def test_a_slow_watcher_misses_nothing_and_holds_nobody_up() -> None:
    async with served() as (broker, _):
        job = await ClientCalls(broker).enqueue(wish())
        async with aclosing(ClientCalls(broker).watch(job.id)) as slow:
            first = told(await anext(slow))
            await work(broker)
            assert await seen(broker, job) == EVENTS
            assert [first, *[told(event) async for event in slow]] == EVENTS


@virtually
async def test_twenty_watchers_see_the_same() -> None:
    async with served() as (broker, _), asyncio.TaskGroup() as tasks:
        job = await ClientCalls(broker).enqueue(wish())
        watching = [tasks.create_task(seen(broker, job)) for _ in range(20)]
        await work(broker)
        assert [await each for each in watching] == [EVENTS] * 20


@virtually
async def test_a_watcher_resumes_inside_a_batch_with_the_whole_batch() -> None:
    async with served() as (broker, _):
        job = await ClientCalls(broker).enqueue(wish())
        await work(broker)
        assert await seen(broker, job, after=2) == EVENTS[2:]
        assert await seen(broker, job, after=3) == EVENTS[2:]
        assert await seen(broker, job, after=4) == EVENTS[2:]
        assert await seen(broker, job, after=5) == EVENTS[3:]
        assert await seen(broker, job, after=7) == []


@virtually
async def test_a_watcher_may_stop_where_the_job_is_now() -> None:
    async with served() as (broker, _):
        job = await ClientCalls(broker).enqueue(wish())
        assert await seen(broker, job, stop_at_tail=True) == ["Enqueued 1"]
        held = await leased(broker)
        assert await seen(broker, job, after=1, stop_at_tail=True) == ["Leased 2"]
        assert await seen(broker, job, after=2, stop_at_tail=True) == []
        await WorkerCalls(broker).complete(held.token, DONE)


@virtually
async def test_a_watcher_who_has_seen_more_than_there_is_is_told_of_the_loss() -> None:
    async with served() as (broker, _):
        job = await ClientCalls(broker).enqueue(wish())
        with pytest.raises(DataLoss, match="ends at sequence 1: nothing follows 2"):
            await seen(broker, job, after=2)


@virtually
async def test_nobody_watches_a_job_that_is_not_there() -> None:
    async with served() as (broker, _):
        with pytest.raises(UnknownJob):
            await anext(ClientCalls(broker).watch(JobId("none")))


@virtually
async def test_news_that_come_while_a_watcher_reads_are_read_on_at_once() -> None:
    async with served(seconds=0) as (broker, _):
        job = await ClientCalls(broker).enqueue(wish())
        async with aclosing(ClientCalls(broker).watch(job.id)) as slow:
            await anext(slow)
            await ClientCalls(broker).cancel(job.id, Subject("sue"))
            assert [told(event) async for event in slow] == ["Finished 2"]


class PagedLog(SlowLog):
    """Reads on into what came meanwhile, as one on a disk does, a page of one event at a time."""

    async def read(
        self, id: JobId | None = None, after: int = 0, *, reported: bool = True
    ) -> AsyncGenerator[Event, None]:
        while event := await self._next(id, after, reported):
            yield event
            after = event.last

    async def _next(self, id: JobId | None, after: int, reported: bool) -> Event | None:
        async with aclosing(super().read(id, after, reported=reported)) as events:
            async for event in events:
                return event
        return None


@holds("logs/watchers-are-independent")
@virtually
async def test_a_watcher_ends_though_the_job_has_ended_while_it_read() -> None:
    broker = broker_over(PagedLog())
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(broker.run())
        job = await ClientCalls(broker).enqueue(wish())
        async with aclosing(ClientCalls(broker).watch(job.id)) as slow:
            first = told(await anext(slow))
            await work(broker)
            assert [first, *[told(event) async for event in slow]] == EVENTS
        broker.stop()


# How it ends


@holds("jobs/write-then-answer")
@virtually
async def test_a_failing_log_stops_the_server_and_nothing_is_answered() -> None:
    log = SlowLog()
    broker = broker_over(log)
    log.broken = True
    async with asyncio.TaskGroup() as tasks:
        asked = tasks.create_task(refusal(ClientCalls(broker).enqueue(wish())))
        parked = tasks.create_task(refusal(lease(broker, "ann", "other")))
        with pytest.raises(ExceptionGroup) as failure:
            await broker.run()
        assert failure.group_contains(OSError, match="the disk is gone")
        assert isinstance(await asked, ShuttingDown)
        assert isinstance(await parked, ShuttingDown)
    assert isinstance(await refusal(ClientCalls(broker).enqueue(wish())), ShuttingDown)


async def refusal(asked: Awaitable[object]) -> Refused | None:
    try:
        await asked
    except Refused as refused:
        return refused
    return None


@promise(
    "server/stops-in-ten-seconds",
    "A server stops within 10 s, with every caller parked. It answers every request that it has "
    "decided.",
)
@virtually
async def test_stop_ends_the_parked_and_answers_what_is_decided() -> None:
    log = SlowLog()
    broker = broker_over(log)
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(broker.run())
        job = await ClientCalls(broker).enqueue(wish("other"))
        parked = tasks.create_task(refusal(lease(broker)))
        watching = tasks.create_task(refusal(seen(broker, job)))
        stopped = tasks.create_task(broker.stopped())
        await asyncio.sleep(1)
        log.gate.clear()
        decided = tasks.create_task(ClientCalls(broker).cancel(job.id, Subject("sue")))
        await until_idle()
        broker.stop()
        await stopped
        assert broker.stopping
        assert isinstance(await parked, ShuttingDown)
        assert isinstance(await watching, ShuttingDown)
        await asyncio.sleep(1)
        assert not running.done()
        log.gate.set()
        assert (await decided).state is JobState.CANCELLED
        await running


@virtually
async def test_after_stop_nothing_new_begins() -> None:
    async with served() as (broker, log), asyncio.TaskGroup() as tasks:
        job, _ = await ClientCalls(broker).enqueue_many([wish(), wish()])
        assert isinstance(job, Job)
        log.gate.clear()
        cancelled = tasks.create_task(ClientCalls(broker).cancel(job.id, Subject("sue")))
        await until_idle()
        broker.stop()
        for new in (ClientCalls(broker).enqueue(wish()), lease(broker), lease(broker, seconds=0)):
            assert isinstance(await refusal(new), ShuttingDown)
        log.gate.set()
        await cancelled


@virtually
async def test_a_watcher_who_comes_after_stop_is_told_to_try_again() -> None:
    async with served() as (broker, _):
        job = await ClientCalls(broker).enqueue(wish())
        broker.stop()
        assert isinstance(await refusal(seen(broker, job)), ShuttingDown)


@virtually
async def test_a_watcher_of_an_ended_job_ends_although_the_server_stops() -> None:
    async with served() as (broker, _):
        job = await ClientCalls(broker).enqueue(wish())
        await ClientCalls(broker).cancel(job.id, Subject("sue"))
        broker.stop()
        assert await seen(broker, job) == ["Enqueued 1", "Finished 2"]


# Verbs


@virtually
async def test_a_worker_releases_and_what_it_releases_is_no_failure_unless_lost() -> None:
    async with served() as (broker, _):
        await ClientCalls(broker).enqueue(wish())
        held = await leased(broker)
        assert (await WorkerCalls(broker).release(held.token)).failures == 0
        assert (await WorkerCalls(broker).release(held.token)).failures == 0
        held = await leased(broker)
        assert (await WorkerCalls(broker).release(held.token, lost=True)).failures == 1
        with pytest.raises(StaleLease):
            await WorkerCalls(broker).release(TaskToken("nobody's"))


@virtually
async def test_a_completion_said_twice_is_answered_twice() -> None:
    async with served() as (broker, _):
        await ClientCalls(broker).enqueue(wish())
        held = await leased(broker)
        assert await WorkerCalls(broker).complete(held.token, DONE) == await WorkerCalls(
            broker
        ).complete(held.token, DONE)
        with pytest.raises(AlreadyFinished):
            await ClientCalls(broker).cancel(held.job.id, Subject("sue"))


@virtually
async def test_a_renewal_that_names_another_queue_is_refused() -> None:
    async with served() as (broker, _):
        await ClientCalls(broker).enqueue(wish())
        held = await leased(broker)
        await WorkerCalls(broker).renew(held.token, span=MINUTE, queue="default")
        with pytest.raises(InvalidRequest, match="default"):
            await WorkerCalls(broker).renew(held.token, span=MINUTE, queue="gpu")


@virtually
async def test_a_cancelled_job_is_not_renewed_for_a_worker_that_may_not_know() -> None:
    async with served() as (broker, _):
        await ClientCalls(broker).enqueue(wish())
        held = await leased(broker)
        assert (
            await ClientCalls(broker).cancel(held.job.id, Subject("sue"))
        ).state is JobState.RUNNING
        with pytest.raises(CancelPending):
            await WorkerCalls(broker).renew(held.token, span=MINUTE)
        assert (await WorkerCalls(broker).complete(held.token, DONE)).state is JobState.CANCELLED


@virtually
async def test_a_retry_is_a_new_job_like_the_old_one_and_linked_to_it() -> None:
    async with served() as (broker, _):
        old = await ClientCalls(broker).enqueue(wish("gpu"))
        new = await ClientCalls(broker).retry(old.id, RequestId("again"), Subject("sue"))
        assert (new.spec, new.retry_of, new.submitter) == (old.spec, old.id, "sue")
        assert await ClientCalls(broker).retry(old.id, RequestId("again"), Subject("sue")) == new


@promise(
    "jobs/wait-has-a-reason",
    "A waiting job has a reason that `show` prints.",
)
@virtually
async def test_a_job_that_waits_says_why() -> None:
    async with served() as (broker, _):
        await ClientCalls(broker).enqueue(wish())
        job = await ClientCalls(broker).enqueue(wish())
        waiting = ClientCalls(broker).explain(job)
        assert waiting
        assert waiting.explanation == (
            "1 job ahead in queue default, and no worker polls queue default"
        )
        held = await leased(broker)
        assert ClientCalls(broker).explain(held.job) is None
        assert ClientCalls(broker).explain(job)
        await ClientCalls(broker).cancel(job.id, Subject("sue"))
        assert ClientCalls(broker).explain(job) is None


@virtually
async def test_statistics_know_every_queue_that_has_jobs_or_workers() -> None:
    async with served() as (broker, _):
        await ClientCalls(broker).enqueue(wish("a"))
        present = ConnectedWorker(
            worker=WorkerId("w"), queues=(QueueKey("b"), QueueKey("a")), slots=4, busy=1
        )
        with broker.connected_workers.connect(present):
            a, b = ClientCalls(broker).queue_statistics()
            assert (a.queue, a.counts[JobState.SCHEDULED], a.workers, a.slots, a.busy) == (
                *("a", 1, 1, 4, 1),
            )
            assert (b.queue, sum(b.counts.values()), b.oldest) == ("b", 0, None)
            assert ClientCalls(broker).queue_statistics("b") == (b,)
        assert [each.queue for each in ClientCalls(broker).queue_statistics()] == ["a"]


@virtually
async def test_a_page_has_the_newest_first() -> None:
    async with served() as (broker, _):
        jobs = await ClientCalls(broker).enqueue_many([wish()] * (PAGE_SIZE_DEFAULT + 1))
        page = await ClientCalls(broker).page(JobQuery())
        assert list(page.jobs) == jobs[:0:-1]
        assert page.last_page == 2


@virtually
async def test_a_listener_hears_of_every_event_once_it_is_durable() -> None:
    heard: list[str] = []

    def journal(events: Sequence[Event]) -> None:
        heard.extend(map(told, events))

    keep = Retention(finished_age=MINUTE, spared=Millis(0))
    async with served(keep, (journal,)) as (broker, log), asyncio.TaskGroup() as tasks:
        log.gate.clear()
        asked = tasks.create_task(ClientCalls(broker).enqueue(wish()))
        await asyncio.sleep(1)
        assert not heard
        log.gate.set()
        await ClientCalls(broker).cancel((await asked).id, Subject("sue"))
        await asyncio.sleep(61)
        assert heard == ["Enqueued 1", "Finished 2", "Forgotten 2"]


@virtually
async def test_a_restarted_server_gives_every_lease_its_whole_span_anew() -> None:
    log = SlowLog()
    before = broker_over(log)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(before.run())
        await ClientCalls(before).enqueue(wish())
        held = await leased(before)
        await asyncio.sleep(40)
        await ClientCalls(before).enqueue(wish())  # so that the log knows what time it is
        before.stop()
    engine = Engine()
    assert await replay(log, engine) == 3
    after = broker_over(log, engine=engine)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(after.run())
        await asyncio.sleep(59)
        assert (await WorkerCalls(after).renew(held.token, span=MINUTE)).state is JobState.RUNNING
        after.stop()


@virtually
async def test_a_completion_that_names_another_job_than_its_token_is_refused() -> None:
    async with served() as (broker, _):
        one, other = [await ClientCalls(broker).enqueue(wish()) for _ in range(2)]
        held = await leased(broker)
        assert held.job.id == one.id
        with pytest.raises(InvalidRequest, match=f"the task token is of job {one.id}"):
            await WorkerCalls(broker).complete(held.token, DONE, job=other.id)
        done = await WorkerCalls(broker).complete(held.token, DONE, job=one.id)
        assert done.state is JobState.COMPLETED
