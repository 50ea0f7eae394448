"""The engine drives every machine that it holds: facts, time, replay and checks reach each of them."""

from collections.abc import Sequence

import pytest

from airunner.model.facts import Event, Fact, SubjectFact, sequence_count, subject_of
from airunner.model.job_events import job_event
from airunner.model.jobs import Instant, JobId, JobRequest, RequestId, Subject
from airunner.model.spec import JobSpec
from airunner.store.engine import Engine, replayed

NOON = Instant(1_000_000)


class Paused(SubjectFact, frozen=True, gc=False):
    until: Instant


class Resumed(SubjectFact, frozen=True, gc=False):
    pass


class Pauses:
    """A machine of queues that are paused until a time."""

    def __init__(self) -> None:
        self.paused: dict[str, Instant] = {}
        self.indexed = False

    def pause(self, queue: str, until: Instant) -> Sequence[Fact]:
        return (Paused(f"queue/{queue}", until),)

    def apply(self, event: Event) -> None:
        match event.fact:
            case Paused(subject, until):
                self.paused[subject] = until
            case Resumed(subject):
                del self.paused[subject]
            case _:
                raise AssertionError(event)

    def restore(self, event: Event) -> None:
        assert not self.indexed
        self.apply(event)

    def index(self) -> None:
        self.indexed = True

    def expire(self, now: Instant) -> Sequence[Fact]:
        due = [subject for subject, until in self.paused.items() if until <= now]
        return [Resumed(due[0])] if due else ()

    def next_deadline(self) -> Instant | None:
        return min(self.paused.values(), default=None)

    def check(self) -> None:
        assert all(subject.startswith("queue/") for subject in self.paused)


def engine_with(pauses: Pauses) -> Engine:
    return Engine(machines={"queue": pauses})


def job(name: str, queue_timeout_seconds: int = 0) -> tuple[JobId, JobRequest]:
    spec = JobSpec(command="true", queue_timeout_seconds=queue_timeout_seconds)
    return JobId(name), JobRequest(spec=spec, request=RequestId(""), submitter=Subject("sue"))


def test_a_fact_about_no_job_takes_a_position_and_no_sequence() -> None:
    pauses = Pauses()
    engine = engine_with(pauses)
    engine.record(engine.queue.enqueue(*job("one"), NOON), NOON)
    (event,) = engine.record(pauses.pause("builds", Instant(NOON + 5)), NOON)
    assert (event.place, event.first, subject_of(event.fact)) == (2, 0, "queue/builds")
    assert sequence_count(event.fact) == 0
    assert job_event(event) is None
    assert engine.tail == 2
    (_, other) = engine.record(engine.queue.cancel(JobId("one"), Subject("sue")), Instant(NOON + 9))
    assert subject_of(other.fact) == "queue/builds"


def test_time_settles_every_machine_in_the_order_of_their_facts() -> None:
    pauses = Pauses()
    engine = engine_with(pauses)
    engine.record(engine.queue.enqueue(*job("one", 60), NOON), NOON)
    assert engine.next_deadline() == NOON + 60_000
    engine.record(pauses.pause("builds", Instant(NOON + 5)), NOON)
    assert engine.next_deadline() == engine.due == NOON + 5
    assert engine.settle(Instant(NOON + 4)) == []
    (resumed,) = engine.settle(Instant(NOON + 5))
    assert resumed.fact == Resumed("queue/builds")
    engine.record(pauses.pause("builds", Instant(NOON + 6)), Instant(NOON + 5))
    facts = [subject_of(event.fact) for event in engine.settle(Instant(NOON + 60_000))]
    assert facts == ["one", "queue/builds"]
    engine.check()


def test_a_replay_restores_and_indexes_every_machine() -> None:
    pauses, again = Pauses(), Pauses()
    engine = engine_with(pauses)
    log = engine.record(engine.queue.enqueue(*job("one"), NOON), NOON)
    log += engine.record(pauses.pause("builds", Instant(NOON + 5)), NOON)
    twin = replayed(log, machines={"queue": again})
    assert again.paused == pauses.paused
    assert again.indexed
    assert (twin.tail, twin.now) == (engine.tail, engine.now)
    assert list(twin.table.jobs()) == list(engine.table.jobs())


def test_a_broken_invariant_of_any_machine_is_found() -> None:
    pauses = Pauses()
    engine = engine_with(pauses)
    pauses.paused["no queue"] = NOON
    with pytest.raises(AssertionError):
        engine.check()


def test_the_table_and_the_readers_of_jobs_refuse_a_fact_about_something_else() -> None:
    event = engine_with(pauses := Pauses()).record(pauses.pause("builds", Instant(NOON + 1)), NOON)[
        0
    ]
    with pytest.raises(AssertionError):
        Engine().table.apply(event)
    with pytest.raises(AssertionError):
        Engine().table.restore(event)
    with pytest.raises(AssertionError):
        _ = event.job
