"""Following all jobs: a cursor over the whole log, which parks when it has read all of it."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

import pytest

from airunner.model.errors import DataLoss, ShuttingDown
from airunner.model.facts import Event, Reported
from airunner.model.jobs import JobId, Millis, Position
from airunner.model.limits import KIB
from airunner.model.reports import Output
from airunner.server.broker import Broker
from airunner.server.client_calls import ClientCalls
from airunner.server.watchers import RANGE_BYTES_MAX, RANGE_EVENTS_MAX, EventRange
from airunner.server.worker_calls import WorkerCalls
from airunner.store.retention import Retention
from tests.promises import holds, promise
from tests.server.broker_fixture import (
    DONE,
    MINUTE,
    SlowLog,
    broker_over,
    leased,
    output,
    served,
    told,
    wish,
)
from tests.support.loop import until_idle, virtually

NOTHING = Position(0)


class Follower:
    """One who follows all jobs, and what it has been told."""

    def __init__(self, broker: Broker, after: Position = NOTHING) -> None:
        self.stretches: AsyncGenerator[EventRange, None] = broker.watchers.follow(after)
        self.events: list[Event] = []
        self.place = after

    async def read(self) -> None:
        """All there is, for ever."""
        async with aclosing(self.stretches) as stretches:
            async for stretch in stretches:
                self.take(stretch)

    def take(self, stretch: EventRange) -> None:
        assert stretch.through > self.place
        places = [self.place, *(event.place for event in stretch.events)]
        assert places == sorted(set(places))
        assert places[-1] <= stretch.through
        self.events += stretch.events
        self.place = stretch.through

    def told(self, id: JobId) -> list[str]:
        return [told(event) for event in self.events if event.job == id]


async def run_job(broker: Broker, *texts: str) -> JobId:
    """A job from its enqueueing to its end."""
    job = await ClientCalls(broker).enqueue(wish())
    granted = await leased(broker)
    for number, text in enumerate(texts):
        await WorkerCalls(broker).publish(granted.token, [(number + 1, output(text))])
    await WorkerCalls(broker).complete(granted.token, DONE)
    return job.id


@promise(
    "logs/follower-misses-nothing",
    "A follower of all jobs misses nothing after its start. It reads all events in one order, over "
    "lost connections and restarts, however slow it is. It delays nobody, and an idle follower "
    "costs nothing. Where events are gone, it is told: by a mark where retention removed output, "
    "or by the name of a new log.",
)
@virtually
async def test_a_follower_is_told_of_every_job_in_one_order_as_it_comes() -> None:
    async with served() as (broker, _), asyncio.TaskGroup() as tasks:
        follower = Follower(broker)
        reading = tasks.create_task(follower.read())
        ids = [await run_job(broker, "a", "b"), await run_job(broker)]
        await until_idle()
        assert follower.told(ids[0]) == [
            *("Enqueued 1", "Leased 2", "Reported 3", "Reported 4", "Finished 5")
        ]
        assert follower.told(ids[1]) == ["Enqueued 1", "Leased 2", "Finished 3"]
        assert follower.place == broker.tail
        reading.cancel()


@holds("logs/follower-misses-nothing")
@virtually
async def test_no_follower_sees_an_event_before_the_log_has_it() -> None:
    async with served() as (broker, log), asyncio.TaskGroup() as tasks:
        follower = Follower(broker)
        reading = tasks.create_task(follower.read())
        log.gate.clear()
        enqueueing = tasks.create_task(ClientCalls(broker).enqueue(wish()))
        await asyncio.sleep(60)
        assert (follower.events, broker.watchers.end) == ([], 0)
        log.gate.set()
        job = await enqueueing
        await until_idle()
        assert follower.told(job.id) == ["Enqueued 1"]
        reading.cancel()


@holds("logs/follower-misses-nothing")
@virtually
async def test_a_follower_that_waits_costs_nothing() -> None:
    async with served() as (broker, _), asyncio.TaskGroup() as tasks:
        followers = [Follower(broker) for _ in range(100)]
        reading = [tasks.create_task(each.read()) for each in followers]
        await run_job(broker)
        await until_idle()
        before = asyncio.get_running_loop().time()
        await asyncio.sleep(3600)
        assert asyncio.get_running_loop().time() == before + 3600
        assert len(broker.watchers._news) == 100
        for each in reading:
            each.cancel()


@virtually
async def test_a_follower_goes_on_from_any_place_and_misses_nothing() -> None:
    async with served() as (broker, log):
        assert broker.watchers.log == log.name
        for number in range(4):
            await run_job(broker, *"abc"[:number])
        whole = await all_of(broker)
        for place in range(broker.tail):
            expected = [event for event in whole if event.place > place]
            assert await all_of(broker, Position(place)) == expected


@holds("logs/follower-misses-nothing")
@virtually
async def test_a_slow_follower_misses_nothing_and_holds_nobody_up() -> None:
    async with served() as (broker, _):
        slow = Follower(broker)
        ids = [await run_job(broker, "a")]
        slow.take(await anext(slow.stretches))
        ids += [await run_job(broker, "x" * KIB) for _ in range(100)]
        while slow.place < broker.tail:
            await asyncio.sleep(1)
            slow.take(await anext(slow.stretches))
        await slow.stretches.aclose()
        assert [len(slow.told(id)) for id in ids] == [4] * 101


@virtually
async def test_what_has_come_while_a_follower_read_is_told_at_once() -> None:
    async with served() as (broker, _):
        await run_job(broker)
        follower = Follower(broker)
        follower.take(await anext(follower.stretches))
        id = await run_job(broker)
        before = asyncio.get_running_loop().time()
        follower.take(await anext(follower.stretches))
        assert len(follower.told(id)) == 3
        assert asyncio.get_running_loop().time() == before
        await follower.stretches.aclose()


@virtually
async def test_a_stretch_is_bounded_in_events_and_in_bytes() -> None:
    async with served() as (broker, _):
        for _ in range(RANGE_EVENTS_MAX):
            await ClientCalls(broker).enqueue(wish("many"))
        text = "x" * (RANGE_BYTES_MAX // 4 + 1)
        await run_job(broker, *[text] * 8)
        follower = Follower(broker)
        sizes = list[int]()
        while follower.place < broker.tail:
            stretch = await anext(follower.stretches)
            follower.take(stretch)
            assert len(stretch.events) <= RANGE_EVENTS_MAX
            sizes.append(sum(map(size, stretch.events)))
        assert max(sizes) == 4 * len(text)
        assert len(sizes) == 4
        await follower.stretches.aclose()


@virtually
async def test_a_follower_is_told_how_far_it_has_come_though_nobody_sees_it() -> None:
    async with served() as (broker, _), asyncio.TaskGroup() as tasks:
        await ClientCalls(broker).enqueue(wish())
        granted = await leased(broker)
        follower = Follower(broker, broker.tail)
        reading = tasks.create_task(follower.read())
        await WorkerCalls(broker).renew(granted.token, span=MINUTE)
        await until_idle()
        assert (follower.events, follower.place) == ([], broker.tail)
        reading.cancel()


@virtually
async def test_a_follower_spares_nothing_and_is_told_what_is_left() -> None:
    async with served(Retention(finished_age=MINUTE, spared=Millis(1_000))) as (broker, _):
        gone = await run_job(broker, "a")
        follower = Follower(broker)
        await asyncio.sleep(600)
        kept = await run_job(broker, "b")
        follower.take(await anext(follower.stretches))
        assert (len(follower.told(gone)), len(follower.told(kept))) == (0, 4)
        await follower.stretches.aclose()


@virtually
async def test_a_place_that_the_log_never_had_is_refused() -> None:
    async with served() as (broker, _):
        await run_job(broker)
        with pytest.raises(DataLoss, match=f"the log ends at place {broker.tail}: nothing follows"):
            await anext(broker.watchers.follow(Position(broker.tail + 1)))


@virtually
async def test_a_follower_is_sent_away_when_the_server_stops() -> None:
    log = SlowLog()
    broker = broker_over(log)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(broker.run())
        parked = tasks.create_task(sent_away(Follower(broker)))
        await until_idle()
        broker.stop()
        await parked
    await sent_away(Follower(broker))


async def sent_away(follower: Follower) -> None:
    with pytest.raises(ShuttingDown):
        await follower.read()


async def all_of(broker: Broker, after: Position = NOTHING) -> list[Event]:
    """What a follower is told up to the end of the log."""
    follower = Follower(broker, after)
    while follower.place < broker.watchers.end:
        follower.take(await anext(follower.stretches))
    await follower.stretches.aclose()
    return follower.events


def size(event: Event) -> int:
    fact = event.fact
    return fact.report.size if isinstance(fact, Reported) and isinstance(fact.report, Output) else 0


@virtually
async def test_a_follower_goes_on_in_its_own_log_as_far_as_that_has_come() -> None:
    async with served() as (broker, log):
        await ClientCalls(broker).enqueue(wish())
        watchers, end = broker.watchers, broker.tail
        assert all(watchers.knows(name, end) for name in ("", log.name))
        assert not watchers.knows("another log", end)
        assert not any(watchers.knows(name, Position(end + 1)) for name in ("", log.name))
