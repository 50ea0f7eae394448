"""The numbers that the server's parts give for metrics, in situations that make them."""

import asyncio
from contextlib import aclosing

from airunner.model.jobs import Position, WorkerId
from airunner.server.client_calls import ClientCalls
from airunner.server.worker_calls import WorkerCalls
from tests.server.broker_fixture import MINUTE, leased, served, wish
from tests.support.loop import virtually


@virtually
async def test_a_broker_counts_jobs_leases_workers_and_waiters() -> None:
    async with served() as (broker, _), asyncio.TaskGroup() as tasks:
        clients, workers = ClientCalls(broker), WorkerCalls(broker)
        await clients.enqueue(wish())
        held = await leased(broker)
        waiting = tasks.create_task(
            workers.lease(("default",), worker=WorkerId("bob"), span=MINUTE)
        )
        await asyncio.sleep(1)
        numbers = broker.statistics()
        assert (numbers.jobs, numbers.leases, numbers.workers, numbers.parked) == (1, 1, 1, 1)
        assert numbers.position == broker.tail == 2
        assert (numbers.outbox.waiting, numbers.outbox.events, numbers.outbox.full) == (0, 2, 0)
        assert numbers.outbox.appends == 2
        await workers.release(held.token)
        await waiting
        numbers = broker.statistics()
        assert (numbers.leases, numbers.workers, numbers.parked) == (1, 0, 0)
        assert (numbers.undelivered, numbers.outbox.events) == (0, 4)


@virtually
async def test_watchers_count_streams_of_one_job_and_of_all() -> None:
    async with served() as (broker, _), asyncio.TaskGroup() as tasks:
        job = await ClientCalls(broker).enqueue(wish())
        async with (
            aclosing(ClientCalls(broker).watch(job.id)) as one,
            aclosing(broker.watchers.follow(Position(0))) as all_jobs,
        ):
            await anext(one)
            await anext(all_jobs)
            numbers = broker.statistics().watchers
            assert (numbers.watching, numbers.following, numbers.parked) == (1, 1, 0)
            more = tasks.create_task(anext(one))
            await asyncio.sleep(1)
            assert broker.statistics().watchers.parked == 1
            await ClientCalls(broker).cancel(job.id, job.submitter)
            await more
        numbers = broker.statistics().watchers
        assert (numbers.watching, numbers.following, numbers.parked) == (0, 0, 0)


@virtually
async def test_an_outbox_says_that_its_log_is_full_and_counts_leases_to_return() -> None:
    async with served() as (broker, log):
        await ClientCalls(broker).enqueue(wish())
        held = await leased(broker)
        log.full = True
        broker.decide(broker.engine.queue.cancel(held.job.id, held.job.submitter))
        await asyncio.sleep(1)
        broker.return_undelivered(held.token)
        numbers = broker.statistics()
        assert (numbers.outbox.full, numbers.undelivered) == (1, 1)
        log.full = False
        await asyncio.sleep(5)
        numbers = broker.statistics()
        assert (numbers.outbox.full, numbers.undelivered) == (0, 0)
