"""Who serves which queue now, and who hears of a cancel."""

from airunner.model.facts import CancelRequested
from airunner.model.job_query import QueueStatistics
from airunner.model.jobs import (
    Instant,
    Job,
    JobId,
    JobState,
    Lease,
    Millis,
    Place,
    Subject,
    TaskToken,
    WorkerId,
    digest,
)
from airunner.model.limits import CONNECTIONS_REMEMBERED_MAX
from airunner.model.spec import JobSpec
from airunner.server.workers.connected_workers import Attendance, Presence


def present(name: str, *queues: str, slots: int = 2, busy: int = 1) -> Presence:
    return Presence(worker=WorkerId(name), queues=queues, slots=slots, busy=busy)


def test_a_worker_serves_its_queues_for_as_long_as_it_is_there() -> None:
    attendance = Attendance()
    ann, bob = present("ann", "a", "b"), present("bob", "b")
    with attendance.enter(ann):
        with attendance.enter(bob):
            assert attendance.serving("a") == (ann,)
            assert attendance.serving("b") == (ann, bob)
            assert attendance.queues() == ("a", "b")
        assert attendance.serving("b") == (ann,)
    assert attendance.queues() == ()


def test_a_newer_presence_supersedes_the_older_which_then_leaves_in_peace() -> None:
    attendance, told = Attendance(), list[str]()
    older = present("ann", "a", "old")
    older.supersede = lambda: told.append("superseded")
    newer = present("ann", "a")
    leaving = attendance.enter(older)
    with leaving:
        staying = attendance.enter(newer)
        staying.__enter__()
        assert told == ["superseded"]
        assert attendance.queues() == ("a",)
    assert attendance.serving("a") == (newer,)
    staying.__exit__(None, None, None)
    assert attendance.queues() == ()


def test_a_presence_that_nobody_asked_about_supersedes_and_cancels_in_silence() -> None:
    attendance = Attendance()
    with attendance.enter(present("ann", "a")), attendance.enter(present("ann", "a")):
        attendance.tell(CancelRequested(JobId("x"), 1, Subject("sue")), job("ann"))


def job(worker: str | None) -> Job:
    lease = Lease(
        token=digest(TaskToken("t")),
        worker=WorkerId(worker or ""),
        span=Millis(1),
        until=Instant(1),
    )
    return Job(
        id=JobId("x"),
        spec=JobSpec(command="x"),
        place=Place(1),
        created_at=Instant(0),
        updated_at=Instant(0),
        state=JobState.RUNNING if worker else JobState.SCHEDULED,
        lease=lease if worker else None,
    )


def test_a_cancel_is_told_to_the_worker_that_has_the_job_and_to_no_other() -> None:
    attendance, told = Attendance(), list[str]()
    ann, bob = present("ann", "a"), present("bob", "a")
    ann.cancel = lambda job: told.append(f"ann: {job.id}")
    bob.cancel = lambda job: told.append(f"bob: {job.id}")
    with attendance.enter(ann), attendance.enter(bob):
        fact = CancelRequested(JobId("x"), 1, Subject("sue"))
        attendance.tell(fact, job("bob"))
        attendance.tell(fact, job("cho"))
        attendance.tell(fact, job(None))
    assert told == ["bob: x"]


def test_statistics_and_explanations_add_up_who_is_there() -> None:
    attendance = Attendance()
    ann, bob = present("ann", "a", slots=2, busy=2), present("bob", "a", slots=3, busy=1)
    with attendance.enter(ann), attendance.enter(bob):
        waiting = attendance.explain("a", ahead=4)
        full = attendance.complete(QueueStatistics(queue="a", counts={}, oldest=None))
    assert (waiting.workers, waiting.slots, waiting.busy, waiting.ahead) == (2, 5, 3, 4)
    assert (full.workers, full.slots, full.busy) == (2, 5, 3)


def test_only_the_latest_workers_connections_are_remembered() -> None:
    attendance = Attendance()
    assert not attendance.is_void(WorkerId("first"), 2)
    assert attendance.is_void(WorkerId("first"), 1)
    for number in range(CONNECTIONS_REMEMBERED_MAX):
        assert not attendance.is_void(WorkerId(f"worker {number}"), 1)
    assert not attendance.is_void(WorkerId("first"), 1)
    assert len(attendance._connections) == CONNECTIONS_REMEMBERED_MAX
