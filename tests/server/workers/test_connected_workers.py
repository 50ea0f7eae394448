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
    Position,
    Subject,
    TaskToken,
    WorkerId,
    digest,
)
from airunner.model.limits import CONNECTIONS_REMEMBERED_MAX
from airunner.model.namespaces import QueueKey
from airunner.model.spec import JobSpec
from airunner.server.workers.connected_workers import ConnectedWorker, ConnectedWorkers


def present(name: str, *queues: str, slots: int = 2, busy: int = 1) -> ConnectedWorker:
    return ConnectedWorker(
        worker=WorkerId(name), queues=tuple(map(QueueKey, queues)), slots=slots, busy=busy
    )


def test_a_worker_serves_its_queues_for_as_long_as_it_is_there() -> None:
    connected_workers = ConnectedWorkers()
    ann, bob = present("ann", "a", "b"), present("bob", "b")
    with connected_workers.connect(ann):
        with connected_workers.connect(bob):
            assert connected_workers.serving(QueueKey("a")) == (ann,)
            assert connected_workers.serving(QueueKey("b")) == (ann, bob)
            assert tuple(connected_workers.queues()) == (QueueKey("a"), QueueKey("b"))
        assert connected_workers.serving(QueueKey("b")) == (ann,)
    assert tuple(connected_workers.queues()) == ()


def test_a_newer_presence_supersedes_the_older_which_then_leaves_in_peace() -> None:
    connected_workers, told = ConnectedWorkers(), list[str]()
    older = present("ann", "a", "old")
    older.supersede = lambda: told.append("superseded")
    newer = present("ann", "a")
    leaving = connected_workers.connect(older)
    with leaving:
        staying = connected_workers.connect(newer)
        staying.__enter__()
        assert told == ["superseded"]
        assert tuple(connected_workers.queues()) == (QueueKey("a"),)
    assert connected_workers.serving(QueueKey("a")) == (newer,)
    staying.__exit__(None, None, None)
    assert tuple(connected_workers.queues()) == ()


def test_a_presence_that_nobody_asked_about_supersedes_and_cancels_in_silence() -> None:
    connected_workers = ConnectedWorkers()
    with (
        connected_workers.connect(present("ann", "a")),
        connected_workers.connect(present("ann", "a")),
    ):
        connected_workers.notify_cancel(CancelRequested(JobId("x"), 1, Subject("sue")), job("ann"))


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
        place=Position(1),
        created_at=Instant(0),
        updated_at=Instant(0),
        state=JobState.RUNNING if worker else JobState.SCHEDULED,
        lease=lease if worker else None,
    )


def test_a_cancel_is_told_to_the_worker_that_has_the_job_and_to_no_other() -> None:
    connected_workers, told = ConnectedWorkers(), list[str]()
    ann, bob = present("ann", "a"), present("bob", "a")
    ann.cancel = lambda job: told.append(f"ann: {job.id}")
    bob.cancel = lambda job: told.append(f"bob: {job.id}")
    with connected_workers.connect(ann), connected_workers.connect(bob):
        fact = CancelRequested(JobId("x"), 1, Subject("sue"))
        connected_workers.notify_cancel(fact, job("bob"))
        connected_workers.notify_cancel(fact, job("cho"))
        connected_workers.notify_cancel(fact, job(None))
    assert told == ["bob: x"]


def test_statistics_and_explanations_add_up_who_is_there() -> None:
    connected_workers = ConnectedWorkers()
    ann, bob = present("ann", "a", slots=2, busy=2), present("bob", "a", slots=3, busy=1)
    with connected_workers.connect(ann), connected_workers.connect(bob):
        waiting = connected_workers.explain(QueueKey("a"), ahead=4)
        full = connected_workers.complete(QueueStatistics(queue="a", counts={}, oldest=None))
    assert (waiting.workers, waiting.slots, waiting.busy, waiting.ahead) == (2, 5, 3, 4)
    assert (full.workers, full.slots, full.busy) == (2, 5, 3)


def test_only_the_latest_workers_connections_are_remembered() -> None:
    connected_workers = ConnectedWorkers()
    assert not connected_workers.is_void(WorkerId("first"), 2, Subject("sue"))
    assert connected_workers.is_void(WorkerId("first"), 1, Subject("sue"))
    for number in range(CONNECTIONS_REMEMBERED_MAX):
        assert not connected_workers.is_void(WorkerId(f"worker {number}"), 1, Subject("sue"))
    assert not connected_workers.is_void(WorkerId("first"), 1, Subject("sue"))
    assert len(connected_workers._connections) == CONNECTIONS_REMEMBERED_MAX
