"""What every Log promises. A backend's tests subclass this and say how one is made.

    class TestMyLog(LogContract):
        def make(self) -> Log: ...  # one that also reads and writes the facts of CODEC

Every test runs on a fresh log, in virtual time unless the backend says otherwise: threads and
files take time of their own.
"""

import asyncio
import functools
import random
from collections.abc import Awaitable, Callable, Sequence
from contextlib import aclosing
from typing import ClassVar, TypeVar

from msgspec import structs
from msgspec.structs import replace

from airunner.log.log import Log
from airunner.log.records import FactCodec
from airunner.model.artifacts import Artifact
from airunner.model.facts import (
    ArtifactKept,
    ArtifactsDropped,
    CancelRequested,
    Event,
    Fact,
    Forgotten,
    Leased,
    OutputDropped,
    Renewed,
    Reported,
    SubjectFact,
    sequence_count,
    subject_of,
)
from airunner.model.jobs import (
    Instant,
    Job,
    JobId,
    JobRequest,
    Millis,
    Outcome,
    Position,
    Reason,
    TaskToken,
    WorkerId,
    digest,
)
from airunner.model.namespaces import QueueKey
from airunner.model.reports import (
    Chunk,
    Output,
    OutputCut,
    ProcessStarted,
    Report,
    StepEnded,
    StepStarted,
    Stream,
    count_sequences,
)
from airunner.model.spec import JobSpec
from airunner.model.steps import Step, StepStatus
from airunner.store.engine import Engine, replayed
from tests.store.test_engine import Paused, Pauses, Resumed
from tests.store.walk import KEEP, Walk
from tests.support.loop import VirtualLoop

NOW = Instant(1_000)
CODEC = FactCodec({Paused: 190, Resumed: 191})  # of kinds that no airunner writes
ONE, TWO, THREE = JobId("one"), JobId("two"), JobId("three")
DONE = Outcome(reason=Reason.EXITED, exit_code=0)


def output(*texts: str, step: int | None = None) -> Output:
    return Output(tuple(Chunk(Stream.STDERR, text.encode(), NOW) for text in texts), step)


def artifact(path: str, size: int) -> Artifact:
    return Artifact(path=path, size=size, sha256="0" * 64)


class Writer:
    """Makes events as a server would, and appends them in batches."""

    def __init__(self, log: Log) -> None:
        self.log = log
        self.engine = Engine()
        self.events: list[Event] = []

    async def run(self, id: JobId, *reports: Report, ends: bool = True) -> None:
        """A job from its enqueueing to its end, if it ends; what it reports, in a batch each."""
        queue, token = self.engine.queue, digest(TaskToken(f"token of {id}"))
        wish = JobRequest(spec=JobSpec(command="x", queue=str(id)))
        await self.append(self.engine.record(queue.enqueue(id, wish, NOW), NOW))
        leased = queue.lease(
            [QueueKey(str(id))], token=token, worker=WorkerId("w"), span=Millis(9_000), now=NOW
        )
        renewed = self.engine.record(leased, NOW)
        renewed += self.engine.record(queue.renew(token, span=Millis(9_000), now=NOW), NOW)
        await self.append(renewed)
        for number, report in enumerate(reports):
            first = sum(map(count_sequences, reports[:number])) + 1
            facts = queue.publish(token, [(first, report)], now=NOW)
            await self.append(self.engine.record(facts, NOW))
        if ends:
            await self.append(self.engine.record(queue.finish(token, DONE), NOW))

    async def append(self, events: Sequence[Event]) -> None:
        self.events += events
        await self.log.append(events)

    async def drop(self, id: JobId) -> None:
        await self.append(self.engine.record([OutputDropped(id)], NOW))

    async def forget(self, id: JobId) -> None:
        await self.append(self.engine.record([Forgotten(id)], NOW))

    def visible(self, id: JobId) -> list[Event]:
        """What a watcher should see of a job from which nothing was taken."""
        mine = (event for event in self.events if event.job == id)
        return [event for event in mine if not isinstance(event.fact, Renewed)]


async def read(
    log: Log, id: JobId | None = None, after: int = 0, *, reported: bool = True
) -> list[Event]:
    async with aclosing(log.read(id, after, reported=reported)) as events:
        return [event async for event in events]


async def of_all(log: Log, place: int = 0) -> list[Event]:
    async with aclosing(log.read_all(Position(place))) as events:
        return [event async for event in events]


def as_replayed(job: Job) -> Job:
    """The job but for what a log need not know.

    That is when its lease lapses, since a restart renews it, and the number of the last
    report of a job that has ended, since nobody can report any more.
    """
    lease = job.lease and replace(job.lease, until=NOW, span=Millis(1))
    return structs.replace(job, lease=lease, sent=0 if job.state.final else job.sent)


def by_id(engine: Engine) -> list[Job]:
    return sorted(map(as_replayed, engine.table.jobs()), key=lambda job: job.id)


C = TypeVar("C", bound="LogContract")


def on_its_loop(test: Callable[[C], Awaitable[None]]) -> Callable[[C], None]:
    """Run an async test of a contract as its backend wants, and end what it made."""

    @functools.wraps(test)
    def run(contract: C) -> None:
        async def main() -> None:
            try:
                await test(contract)
            finally:
                await contract.end()

        with asyncio.Runner(loop_factory=contract.loop) as runner:
            runner.run(main())

    return run


class LogContract:
    loop: ClassVar[type[asyncio.AbstractEventLoop]] = VirtualLoop

    def make(self) -> Log:
        raise NotImplementedError

    async def end(self) -> None:
        """Close whatever make() has opened."""

    @on_its_loop
    async def test_an_empty_log_has_nothing_to_say(self) -> None:
        log = self.make()
        assert await read(log) == []
        assert await read(log, ONE) == []

    @on_its_loop
    async def test_a_job_is_read_as_it_was_appended_and_no_other_with_it(self) -> None:
        writer = Writer(log := self.make())
        await writer.run(ONE, ProcessStarted(7, NOW), output("a", "b"))
        await writer.run(TWO, output("c"))
        assert await read(log, ONE) == writer.visible(ONE)
        assert await read(log, TWO) == writer.visible(TWO)

    @on_its_loop
    async def test_a_job_is_read_on_from_any_sequence_with_the_whole_batch(self) -> None:
        writer = Writer(log := self.make())
        await writer.run(ONE, output("a", "b", "c"), output("d"))
        events = writer.visible(ONE)
        for after in range(events[-1].last + 2):
            expected = [event for event in events if event.last > after]
            assert await read(log, ONE, after) == expected

    @on_its_loop
    async def test_a_job_can_be_read_without_what_was_reported_of_it(self) -> None:
        writer = Writer(log := self.make())
        await writer.run(ONE, ProcessStarted(7, NOW), output("a", "b"))
        await writer.run(TWO, output("c"))
        events = [event for event in writer.visible(ONE) if not isinstance(event.fact, Reported)]
        for after in range(events[-1].last + 1):
            expected = [event for event in events if event.last > after]
            assert await read(log, ONE, after, reported=False) == expected
        await writer.forget(ONE)
        assert await read(log, ONE, reported=False) == []

    @on_its_loop
    async def test_everything_is_read_in_the_order_of_places_whatever_the_job(self) -> None:
        walk = walked()
        log = self.make()
        await log.append(walk.log)
        places = [event.place for event in await read(log)]
        assert places == sorted(set(places))
        middle = places[len(places) // 2]
        after = [event.place for event in await read(log, None, middle)]
        assert after == [place for place in places if place > middle]

    @on_its_loop
    async def test_a_replay_gives_the_same_jobs_whatever_the_batches_were(self) -> None:
        walk, dice = walked(), random.Random(1)
        log, left = self.make(), list(walk.log)
        while left:
            size = dice.choice([1, 2, 30])
            await log.append(left[:size])
            del left[:size]
        twin = replayed(await read(log), KEEP)
        twin.check()
        assert by_id(twin) == by_id(walk.engine)

    @on_its_loop
    async def test_a_replay_knows_how_far_the_reports_of_each_attempt_have_come(self) -> None:
        log, engine = self.make(), Engine()
        wish = JobRequest(spec=JobSpec(command="x"))
        await log.append(engine.record(engine.queue.enqueue(ONE, wish, NOW), NOW))
        for name in ("first", "second", "third"):
            token = digest(TaskToken(name))
            facts = engine.queue.lease(
                [QueueKey("default")],
                token=token,
                worker=WorkerId(name),
                span=Millis(9_000),
                now=NOW,
            )
            await log.append(engine.record(facts, NOW))
            assert by_id(replayed(await read(log))) == by_id(engine)
            if name == "third":
                break
            for first, report in ((1, output("a", "b")), (3, OutputCut(4, 40)), (0, output("c"))):
                facts = engine.queue.publish(token, [(first, report)], now=NOW)
                await log.append(engine.record(facts, NOW))
                assert by_id(replayed(await read(log))) == by_id(engine)
            await log.append(engine.record(engine.queue.give_back(token), NOW))
            assert by_id(replayed(await read(log))) == by_id(engine)

    @on_its_loop
    async def test_a_replay_after_any_append_counts_what_steps_wrote_and_left(self) -> None:
        log, engine = self.make(), Engine()

        async def append(facts: Sequence[Fact]) -> None:
            await log.append(engine.record(facts, NOW))
            assert by_id(replayed(await read(log))) == by_id(engine)

        queue, wish = engine.queue, JobRequest(spec=JobSpec(steps=(Step(run="make"),)))
        await append(queue.enqueue(ONE, wish, NOW))
        for token in map(digest, map(TaskToken, ("first", "second"))):
            worker, span = WorkerId("w"), Millis(9_000)
            await append(
                queue.lease([QueueKey("default")], token=token, worker=worker, span=span, now=NOW)
            )
            await append(queue.publish(token, [(1, StepStarted(0, "make"))], now=NOW))
            await append(queue.store_artifact(token, artifact("a", 5), now=NOW))
            await append(queue.publish(token, [(2, output("a", "b", step=0))], now=NOW))
            await append(queue.store_artifact(token, artifact("b", 7), now=NOW))
            await append(queue.store_artifact(token, artifact("c", 0), now=NOW))
            ended = StepEnded(0, "make", StepStatus.FAILED, 2, Millis(7))
            await append(queue.publish(token, [(4, ended), (5, output("c"))], now=NOW))
            assert engine.table.artifact_bytes == 12
            if token == digest(TaskToken("first")):
                await append(queue.give_back(token))
        await append(queue.finish(token, structs.replace(DONE, exit_code=2)))
        without_gap(events := await read(log, ONE))
        steps = [event.fact.report for event in events if isinstance(event.fact, Reported)]
        assert [each.step for each in steps if isinstance(each, Output)] == [0, None] * 2
        await append([ArtifactsDropped(ONE)])
        assert await read(log, ONE) == events
        assert engine.table.artifact_bytes == 0

    @on_its_loop
    async def test_a_replay_of_a_job_whose_reports_have_no_number_knows_of_none(self) -> None:
        log, engine, token = self.make(), Engine(), digest(TaskToken("t"))
        wish = JobRequest(spec=JobSpec(command="x"))
        await log.append(engine.record(engine.queue.enqueue(ONE, wish, NOW), NOW))
        facts = engine.queue.lease(
            [QueueKey("default")], token=token, worker=WorkerId("w"), span=Millis(9_000), now=NOW
        )
        await log.append(engine.record(facts, NOW))
        facts = engine.queue.publish(token, [(0, output("a"))], now=NOW)
        await log.append(engine.record(facts, NOW))
        assert by_id(replayed(await read(log))) == by_id(engine)

    @on_its_loop
    async def test_of_a_forgotten_job_a_replay_is_told_no_more_than_that(self) -> None:
        writer = Writer(log := self.make())
        await writer.run(ONE, output("a"))
        await writer.forget(ONE)
        await writer.run(TWO)
        told = [event.fact for event in await read(log) if event.job == ONE]
        assert told in ([], [Forgotten(ONE)])

    @on_its_loop
    async def test_what_is_forgotten_is_gone(self) -> None:
        writer = Writer(log := self.make())
        await writer.run(ONE, output("a"))
        await writer.run(TWO, output("b"))
        await writer.forget(ONE)
        assert await read(log, ONE) == []
        assert await read(log, TWO) == writer.visible(TWO)
        assert by_id(replayed(await read(log))) == by_id(writer.engine)

    @on_its_loop
    async def test_dropped_output_leaves_marks_and_no_gap(self) -> None:
        writer = Writer(log := self.make())
        await writer.run(ONE, output("a", "bc"), output("d"), ProcessStarted(7, NOW), output("e"))
        await writer.drop(ONE)
        events = await read(log, ONE)
        reports = [event.fact.report for event in events if isinstance(event.fact, Reported)]
        assert not [report for report in reports if isinstance(report, Output)]
        cuts = [report for report in reports if isinstance(report, OutputCut)]
        assert (sum(map(count_sequences, cuts)), sum(cut.size for cut in cuts)) == (4, 5)
        without_gap(events)
        assert by_id(replayed(await read(log))) == by_id(writer.engine)

    @on_its_loop
    async def test_a_mark_is_found_from_any_sequence_in_it(self) -> None:
        writer = Writer(log := self.make())
        await writer.run(ONE, output("a", "b"), output("c"))
        await writer.drop(ONE)
        whole = await read(log, ONE)
        for after in range(whole[-1].last + 1):
            assert await read(log, ONE, after) == [e for e in whole if e.last > after]

    @on_its_loop
    async def test_cuts_that_follow_each_other_are_still_a_stream_without_a_gap(self) -> None:
        writer = Writer(log := self.make())
        await writer.run(ONE, OutputCut(2, 20), OutputCut(3, 30), output("a"), OutputCut(1, 10))
        events = await read(log, ONE)
        without_gap(events)
        cuts = [event.fact.report for event in events if isinstance(event.fact, Reported)]
        sizes = [each.size for each in cuts if isinstance(each, OutputCut)]
        assert sum(sizes) == 60
        assert by_id(replayed(await read(log))) == by_id(writer.engine)

    @on_its_loop
    async def test_marks_of_two_attempts_stay_apart(self) -> None:
        log, engine = self.make(), Engine()
        wish = JobRequest(spec=JobSpec(command="x"))
        await log.append(engine.record(engine.queue.enqueue(ONE, wish, NOW), NOW))
        for name in ("first", "second"):
            token, worker = digest(TaskToken(name)), WorkerId(name)
            leased = engine.queue.lease(
                [QueueKey("default")], token=token, worker=worker, span=Millis(9_000), now=NOW
            )
            await log.append(engine.record(leased, NOW))
            cut = engine.queue.publish(token, [(1, OutputCut(1, 10))], now=NOW)
            await log.append(engine.record(cut, NOW))
            await log.append(engine.record(engine.queue.give_back(token), NOW))
        events = await read(log, ONE)
        without_gap(events)
        attempts = [event.fact.attempt for event in events if isinstance(event.fact, Reported)]
        assert attempts == [1, 2]
        assert by_id(replayed(await read(log))) == by_id(engine)

    @on_its_loop
    async def test_what_is_appended_while_somebody_reads_disturbs_nobody(self) -> None:
        writer = Writer(log := self.make())
        await writer.run(ONE, output("a"), OutputCut(1, 1))
        before = writer.visible(ONE)
        async with aclosing(log.read(ONE)) as events:
            got = [await anext(events)]
            await writer.run(TWO, output("b"))
            await writer.drop(ONE)
            got += [event async for event in events]
        without_gap(got)
        assert [event.first for event in got] == [event.first for event in before]

    @on_its_loop
    async def test_a_reader_may_leave_in_the_middle(self) -> None:
        writer = Writer(log := self.make())
        await writer.run(ONE, output("a"))
        async with aclosing(log.read(ONE)) as events:
            await anext(events)
        async with aclosing(log.read()) as events:
            await anext(events)
        assert await read(log, ONE) == writer.visible(ONE)

    @on_its_loop
    async def test_of_all_jobs_is_read_what_watchers_see_in_the_order_of_places(self) -> None:
        writer = Writer(log := self.make())
        await writer.run(ONE, output("a"), ProcessStarted(7, NOW), ends=False)
        await writer.run(TWO, output("b", "c"))
        await writer.run(THREE)
        seen = [event for event in writer.events if sequence_count(event.fact)]
        assert [event.place for event in seen] != [event.place for event in writer.events]
        for place in range(writer.events[-1].place + 2):
            assert await of_all(log, place) == [e for e in seen if e.place > place]

    @on_its_loop
    async def test_what_one_reads_of_all_jobs_bit_by_bit_is_what_one_reads_at_once(self) -> None:
        walk, dice, log = walked(), random.Random(2), self.make()
        left, got = list(walk.log), list[Event]()
        while left:
            size = dice.choice([1, 7, 40])
            await log.append(left[:size])
            del left[:size]
            got += await of_all(log, got[-1].place if got else 0)
        assert [event.place for event in got] == sorted({event.place for event in got})
        ends: dict[JobId, int] = {}
        for event in got:  # a cut may begin before what was told, and nothing begins after it
            assert event.first <= ends.get(event.job, 0) + 1
            assert event.last > ends.get(event.job, 0)
            ends[event.job] = event.last
        for job in walk.engine.table.jobs():
            assert ends[job.id] == job.sequence

    @on_its_loop
    async def test_of_what_retention_has_taken_a_reader_of_all_jobs_is_told_the_rest(self) -> None:
        writer = Writer(log := self.make())
        await writer.run(ONE, output("a", "bc"), output("d"), ProcessStarted(7, NOW), output("e"))
        await writer.run(TWO, output("f"))
        await writer.run(THREE, output("g"))
        whole = {event.place for event in writer.events}
        await writer.drop(ONE)
        await writer.forget(TWO)
        events = await of_all(log)
        assert {event.place for event in events} < whole
        assert [event for event in events if event.job != ONE] == writer.visible(THREE)
        mine = [event for event in events if event.job == ONE]
        without_gap(mine)
        reports = [event.fact.report for event in mine if isinstance(event.fact, Reported)]
        cuts = [each.size for each in reports if isinstance(each, OutputCut)]
        assert (len(reports) - len(cuts), sum(cuts)) == (1, 5)

    @on_its_loop
    async def test_retention_that_comes_while_somebody_reads_of_all_jobs_disturbs_nobody(
        self,
    ) -> None:
        writer = Writer(log := self.make())
        await writer.run(ONE, output("a"), output("b"))
        await writer.run(TWO, output("c"))
        await writer.run(THREE, output("d"))
        async with aclosing(log.read_all(Position(0))) as events:
            got = [await anext(events) for _ in range(3)]
            await writer.drop(ONE)
            await writer.forget(TWO)
            got += [event async for event in events]
        places = [event.place for event in got]
        assert places == sorted(set(places))
        assert [event for event in got if event.job == THREE] == writer.visible(THREE)
        assert max(event.last for event in got if event.job == ONE) == 5

    @on_its_loop
    async def test_facts_about_other_subjects_are_replayed_in_their_place_and_no_watcher_sees_them(
        self,
    ) -> None:
        log, pauses, again = self.make(), Pauses(), Pauses()
        writer = Writer(log)
        writer.engine = engine = Engine(machines={"queue": pauses})
        await writer.run(ONE, output("a"), ends=False)
        await writer.append(engine.record(pauses.pause("b", Instant(NOW + 9)), NOW))
        await writer.run(TWO, output("b"))
        await writer.append(engine.record([*pauses.pause("c", Instant(NOW + 99))], NOW))
        await writer.append(engine.settle(Instant(NOW + 9)))
        others = [event for event in writer.events if isinstance(event.fact, SubjectFact)]
        assert [type(event.fact) for event in others] == [Paused, Paused, Resumed]
        replay = await read(log)
        assert [event for event in replay if isinstance(event.fact, SubjectFact)] == others
        assert [event.place for event in replay] == sorted({event.place for event in replay})
        twin = replayed(replay, machines={"queue": again})
        assert (by_id(twin), again.paused) == (by_id(engine), pauses.paused)
        assert twin.tail == engine.tail
        assert await of_all(log) == [event for event in writer.events if sequence_count(event.fact)]
        for event in others:
            assert await read(log, JobId(subject_of(event.fact))) == []
            left = [each for each in others if each.place > event.place]
            rest = await read(log, None, event.place)
            assert [each for each in rest if isinstance(each.fact, SubjectFact)] == left

    @on_its_loop
    async def test_a_log_says_how_far_it_has_come(self) -> None:
        writer = Writer(log := self.make())
        assert (await log.statistics()).newest == 0
        await writer.run(ONE, output("a"))
        await writer.run(TWO, output("b"))
        numbers = await log.statistics()
        assert numbers.newest == writer.events[-1].place
        assert numbers.oldest in (None, 1)
        assert numbers.events in (None, len(writer.visible(ONE) + writer.visible(TWO)))
        await writer.forget(ONE)
        assert (await log.statistics()).newest == writer.events[-1].place

    @on_its_loop
    async def test_a_log_knows_its_own_name_and_no_other(self) -> None:
        writer = Writer(log := self.make())
        await writer.run(ONE, output("a"))
        assert log.name
        for place in (0, writer.events[-1].place):
            assert log.knows(log.name, Position(place))
            assert not log.knows("another", Position(place))
            assert not log.knows("", Position(place))


def walked() -> Walk:
    walk = Walk(random.Random(4))
    walk.run(600)
    kinds = {type(event.fact) for event in walk.log}
    assert {Renewed, OutputDropped, Forgotten, Leased, CancelRequested} <= kinds
    assert {ArtifactKept, ArtifactsDropped} <= kinds
    return walk


def without_gap(events: Sequence[Event]) -> None:
    last = 0
    for event in events:
        assert event.first == last + 1
        last = event.last
