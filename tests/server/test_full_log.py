"""A server whose log is full, and one whose disk soon will be."""

import asyncio

import pytest

from airunner.model.errors import LimitReached, ShuttingDown, Stalled
from airunner.model.jobs import AttemptEnd, JobState, Millis, Subject
from airunner.model.reports import ProcessStarted
from airunner.server.client_calls import ClientCalls
from airunner.server.worker_calls import WorkerCalls
from tests.promises import holds, promise
from tests.server.broker_fixture import (
    DONE,
    MINUTE,
    SlowLog,
    broker_over,
    lease,
    leased,
    output,
    served,
    wish,
)
from tests.support.loop import virtually


@promise(
    "server/full-log-loses-nothing",
    "A full log loses nothing and invents nothing. Until its pending append succeeds, every call "
    "is UNAVAILABLE and no lease lapses; then every running lease starts its whole span again.",
)
@virtually
async def test_a_full_log_refuses_everybody_until_it_takes_what_it_was_given() -> None:
    async with served() as (broker, log), asyncio.TaskGroup() as tasks:
        job = await ClientCalls(broker).enqueue(wish())
        log.full = True
        asked = tasks.create_task(tried(ClientCalls(broker).enqueue(wish())))
        await asyncio.sleep(1)
        assert isinstance(await asked, Stalled)
        for call in (
            ClientCalls(broker).enqueue(wish()),
            ClientCalls(broker).get(job.id),
            ClientCalls(broker).cancel(job.id, Subject("sue")),
            lease(broker, seconds=0),
        ):
            with pytest.raises(Stalled, match="no room on the disk"):
                await call
        log.full = False
        await asyncio.sleep(2)
        assert (await ClientCalls(broker).get(job.id)).state is JobState.SCHEDULED
        assert len(list(broker.engine.table.jobs())) == 2


@virtually
async def test_what_waits_for_a_log_that_fills_up_is_told_so() -> None:
    async with served() as (broker, log), asyncio.TaskGroup() as tasks:
        log.gate.clear()
        asked = tasks.create_task(tried(ClientCalls(broker).enqueue(wish())))
        await asyncio.sleep(1)
        log.full = True
        log.gate.set()
        assert isinstance(await asked, Stalled)


@holds("server/full-log-loses-nothing")
@virtually
async def test_no_lease_lapses_while_the_log_is_full_and_then_each_has_its_span_anew() -> None:
    async with served() as (broker, log):
        await ClientCalls(broker).enqueue(wish())
        held = await leased(broker)
        log.full = True
        assert isinstance(await tried(ClientCalls(broker).enqueue(wish())), Stalled)
        await asyncio.sleep(3_600)
        log.full = False
        await asyncio.sleep(59)
        job = await WorkerCalls(broker).renew(held.token, span=MINUTE)
        assert (job.state, job.failures) == (JobState.RUNNING, 0)
        await WorkerCalls(broker).complete(held.token, DONE)


@virtually
async def test_a_lease_that_was_lost_to_a_full_log_goes_back_once_there_is_room() -> None:
    async with served() as (broker, log), asyncio.TaskGroup() as tasks:
        job = await ClientCalls(broker).enqueue(wish())
        log.gate.clear()
        asked = tasks.create_task(tried(leased(broker)))
        await asyncio.sleep(1)
        log.full = True
        log.gate.set()
        assert isinstance(await asked, Stalled)
        log.full = False
        await asyncio.sleep(2)
        job = await ClientCalls(broker).get(job.id)
        assert (job.state, [over.ending for over in job.attempts]) == (
            JobState.SCHEDULED,
            [AttemptEnd.RELEASED],
        )


@virtually
async def test_a_server_whose_log_is_full_can_be_stopped() -> None:
    log = SlowLog()
    broker = broker_over(log)
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(broker.run())
        log.full = True
        assert isinstance(await tried(ClientCalls(broker).enqueue(wish())), Stalled)
        broker.stop()
        await running
    with pytest.raises(ShuttingDown):
        await ClientCalls(broker).enqueue(wish())


@promise(
    "server/short-disk-refuses-new-work",
    "A server that is short of disk refuses jobs and output. It still accepts messages that end, "
    "renew or return a job.",
)
@virtually
async def test_where_there_is_no_room_jobs_and_output_are_refused_and_all_else_is_not() -> None:
    crowded = False

    def room() -> None:
        if crowded:
            raise LimitReached("little is left")

    async with served(room=room) as (broker, _):
        await ClientCalls(broker).enqueue(wish())
        held = await leased(broker)
        crowded = True
        with pytest.raises(LimitReached, match="little is left"):
            await ClientCalls(broker).enqueue(wish())
        with pytest.raises(LimitReached, match="little is left"):
            await WorkerCalls(broker).publish(held.token, [(1, output("a"))])
        await WorkerCalls(broker).publish(held.token, [(1, ProcessStarted(1, broker.now()))])
        await WorkerCalls(broker).renew(held.token, span=Millis(5_000))
        assert (await WorkerCalls(broker).complete(held.token, DONE)).state is JobState.COMPLETED


async def tried(call: object) -> object:
    """What a call answers, or how it was refused."""
    try:
        return await call  # type: ignore[misc]  # a test's
    except Stalled as refusal:
        return refusal
