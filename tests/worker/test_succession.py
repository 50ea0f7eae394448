"""A worker dies and the next one continues, at the real broker and in virtual time."""

import asyncio

import pytest

from airunner.model.errors import LimitReached
from airunner.model.jobs import JobState
from airunner.model.protocol.worker_protocol import Batch, Completion, Settled
from airunner.server.client_calls import ClientCalls
from airunner.worker.worker import Worker
from tests.promises import holds
from tests.support.fake_commands import Actor
from tests.support.loop import until_idle, virtually
from tests.worker.worker_fixture import Message, WorkerFixture, span, worker_fixture, working


async def die(it: WorkerFixture, worker: Worker, running: "asyncio.Task[object]") -> None:
    """Ends a worker as kill -9 does: no later action of it has an effect."""
    it.cut()
    worker._runtime.spools.close()
    running.cancel()
    await asyncio.wait([running])
    for actor in it.stage.alive:
        await actor.terminate(0)
    it.rooms.open.clear()


async def count(actor: Actor) -> int:
    for number in range(100):
        await actor.write(b"%d\n" % number)
        await asyncio.sleep(0.1)
    return 7


COUNTED = b"".join(b"%d\n" % number for number in range(100))


@virtually
async def test_a_job_goes_on_at_once_where_a_dead_workers_tail_ends() -> None:
    async with worker_fixture() as it:
        it.script("count", count)
        id = await it.submit("count")
        worker = it.worker(span=span(600))
        running = it.tasks.create_task(worker.run())
        await it.until(lambda: it.stage.alive)
        await asyncio.sleep(5)
        it.deaf = True
        await asyncio.sleep(2)
        before = await it.output(id)
        await die(it, worker, running)
        it.deaf = False
        it.hearing.set()
        async with working(it, span=span(600)):
            job = await it.ended(id)
        output = await it.output(id)
        first = output[: output.rindex(b"0\n1\n2\n")]
        assert COUNTED.startswith(first)
        assert len(first) > len(before) + 10 * 3
        assert output.endswith(COUNTED)
        assert (job.attempt, job.failures) == (2, 1)
        assert not it.disk.entries
        assert not it.disk.refused


@holds("jobs/next-worker-delivers-spool")
@pytest.mark.parametrize("kind", [Batch, Completion, Settled])
@virtually
async def test_a_dead_workers_last_word_is_the_jobs_end_at_whatever_message_it_died(
    kind: type[Message],
) -> None:
    async with worker_fixture() as it:
        it.script("count", count)
        id = await it.submit("count")
        worker = it.worker(span=span(600))
        running = it.tasks.create_task(worker.run())
        await it.until(lambda: it.stage.alive)
        await asyncio.sleep(9)
        it.breaks = lambda message: isinstance(message, kind)
        await it.until(lambda: it.breaks is None)
        it.away = True
        await it.until(lambda: it.logged("attempt_over"))
        await die(it, worker, running)
        it.away = False
        async with working(it, span=span(600)):
            job = await it.ended(id)
            await it.until(lambda: not it.disk.entries)
        assert job.outcome
        assert (job.outcome.exit_code, job.attempt, job.failures) == (7, 1, 0)
        assert job.outcome.log_complete
        assert await it.output(id) == COUNTED
        assert not it.disk.refused


@virtually
async def test_a_dead_workers_job_takes_no_slot_of_the_next() -> None:
    async with worker_fixture() as it:
        it.script("count", count)
        first = await it.submit("count")
        worker = it.worker(span=span(600), slots=1)
        running = it.tasks.create_task(worker.run())
        await it.until(lambda: it.stage.alive)
        await die(it, worker, running)
        second = await it.submit("count")
        async with working(it, span=span(600), slots=1):
            await until_idle()
            assert (await it.ended(first)).attempt == 2
            assert (await it.ended(second)).attempt == 1


@virtually
async def test_a_cancel_that_a_dead_worker_did_not_hear_is_the_end_of_the_job() -> None:
    async with worker_fixture() as it:
        it.script("count", count)
        id = await it.submit("count")
        worker = it.worker(span=span(600))
        running = it.tasks.create_task(worker.run())
        await it.until(lambda: it.stage.alive)
        await die(it, worker, running)
        await ClientCalls(it.broker).cancel(id, by=(await ClientCalls(it.broker).get(id)).submitter)
        async with working(it, span=span(600)):
            assert (await it.ended(id)).state is JobState.CANCELLED


@holds("logs/full-disk-costs-no-job")
@virtually
async def test_output_that_a_server_has_no_room_for_comes_when_it_has() -> None:
    low: list[str] = []

    def room() -> None:
        if low:
            raise LimitReached(low[0])

    async with worker_fixture(room=room) as it, working(it, span=span(30)):
        it.script("count", count)
        id = await it.submit("count")
        await it.until(lambda: it.stage.alive)
        await asyncio.sleep(3)
        low.append("the disk is low")
        await it.until(lambda: it.logged("attempt_over"))
        await asyncio.sleep(300)
        assert (await ClientCalls(it.broker).get(id)).state is JobState.RUNNING
        low.clear()
        job = await it.ended(id)
        assert job.outcome
        assert (job.outcome.exit_code, job.attempt, job.outcome.log_complete) == (7, 1, True)
        assert await it.output(id) == COUNTED
        assert it.logged("postponed")
        assert not it.logged("rejected")
