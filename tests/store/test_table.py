"""The table, its indexes, and that check() catches an index that lies."""

import random
from collections.abc import Callable

import pytest
from msgspec.structs import replace

from airunner.model.artifacts import Artifact
from airunner.model.facts import Enqueued, Event, ReportTotals
from airunner.model.job_query import JobQuery
from airunner.model.jobs import (
    Instant,
    Job,
    JobId,
    JobRequest,
    JobState,
    Millis,
    Outcome,
    Position,
    Reason,
    RequestId,
    Sequence,
    Subject,
    TaskToken,
    WorkerId,
    digest,
)
from airunner.model.namespaces import QueueKey
from airunner.model.proof.seal import Link
from airunner.model.protocol.features import NONE
from airunner.model.reports import Chunk, Output, Stream
from airunner.model.spec import JobSpec
from airunner.store.deadlines import Deadlines
from airunner.store.engine import Engine
from airunner.store.job_index import JobIndex
from airunner.store.queries import page, statistics
from airunner.store.table import Table
from airunner.store.transitions import apply_fact, new_job
from tests.store.walk import Walk

NOW = Instant(0)
DONE = Outcome(reason=Reason.EXITED, exit_code=0)
TOKEN = {name: digest(TaskToken(name)) for name in ("run", "end")}


def engine() -> Engine:
    """One job that has ended with output and an artifact, one that runs, one in line, one that times out."""
    it = Engine()
    for id, queue, wait in (("end", "a", 0), ("run", "a", 0), ("line", "b", 0), ("due", "b", 9)):
        spec = JobSpec(script="x", queue=queue, queue_timeout_seconds=wait)
        wish = JobRequest(spec=spec, request=RequestId(f"key of {id}"))
        it.record(it.queue.enqueue(JobId(id), wish, NOW), NOW)
    for id in ("end", "run"):
        worker, span = WorkerId(f"worker of {id}"), Millis(1_000)
        it.record(
            it.queue.lease([QueueKey("a")], token=TOKEN[id], worker=worker, span=span, now=NOW), NOW
        )
    text = Output((Chunk(Stream.STDOUT, b"text", NOW),))
    it.record(it.queue.publish(TOKEN["end"], [(1, text)], now=NOW), NOW)
    artifact = Artifact(path="a", size=3, sha256="0" * 64)
    it.record(it.queue.store_artifact(TOKEN["end"], artifact, now=NOW), NOW)
    it.record(it.queue.finish(TOKEN["end"], DONE), NOW)
    it.check()
    return it


def change(id: str, **changes: object) -> Callable[[Table], None]:
    def tamper(table: Table) -> None:
        table._jobs[JobId(id)] = replace(table._jobs[JobId(id)], **changes)

    return tamper


def move(table: Table) -> None:
    job = table.job(JobId("line"))
    table.lines.drop(job)
    table.lines.add(replace(job, place=Position(99)))


TAMPERED: dict[str, Callable[[Table], object]] = {
    "a running job without a lease": change("run", lease=None),
    "a running job that was never leased": change("run", leased_at=None),
    "a lease on a job in line": change("line", leased_at=NOW),
    "an end that is no end": change("end", outcome=None),
    "an end without a time": change("end", finished_at=None),
    "a job in line since never": change("line", queued_at=None),
    "an attempt that was skipped": change("run", attempt=2),
    "more failures than attempts": change("run", failures=2),
    "more failures than allowed": change("run", failures=4, attempt=4),
    "a cancel of a job in line": change("line", cancel_requested_at=NOW),
    "output that nobody counted": change("run", output_bytes=1),
    "a total that is not the sum": lambda table: setattr(table, "output_bytes", 3),
    "a job in no line": lambda table: table.lines.drop(table.job(JobId("line"))),
    "a job in two lines": lambda table: table.lines.add(
        replace(table.job(JobId("line")), state=JobState.FAILED)
    ),
    "a job in another's line": move,
    "a lease that never lapses": lambda table: table.deadlines.drop(JobId("run")),
    "a lease that lapses late": lambda table: table.deadlines.put(JobId("run"), 5_000),
    "a wait that never ends": lambda table: table.deadlines.drop(JobId("due")),
    "a deadline of nothing": lambda table: table.deadlines.put(JobId("line"), 1),
    "a token of nobody": lambda table: table._tokens.pop(TOKEN["run"]),
    "a dead token that lives": lambda table: table._tokens.update({TOKEN["end"]: JobId("end")}),
    "an ended token forgotten": lambda table: table._ended.pop(TOKEN["end"]),
    "a worker without its job": lambda table: table._holders.pop(WorkerId("worker of run")),
    "a worker with another's": lambda table: table._holders.update(
        {WorkerId("x"): {JobId("run"): None}}
    ),
    "a key forgotten": lambda table: table._requests.pop(
        ("default", Subject(""), RequestId("key of end"))
    ),
    "a key of another": lambda table: table._requests.update(
        {("default", Subject(""), RequestId("key of end")): JobId("run")}
    ),
    "an end that retention overlooks": lambda table: table.finished.clear(),
    "an end too many": lambda table: table.finished.add((NOW, JobId("run"))),
    "output that retention overlooks": lambda table: table.outputs.clear(),
    "artifacts that nobody counted": change("run", artifact_bytes=1),
    "a total of artifacts that is not the sum": lambda table: setattr(table, "artifact_bytes", 2),
    "artifacts that retention overlooks": lambda table: table.artifact_owners.clear(),
    "artifacts of nobody": lambda table: table.artifact_owners.add((NOW, JobId("run"))),
    "a total of scripts that is not the sum": lambda table: setattr(table, "bulk_bytes", 9),
    "a script that retention overlooks": lambda table: table.bulky.clear(),
    "a script of nobody": lambda table: table.bulky.add((NOW, JobId("run"))),
    "output of nobody": lambda table: table.outputs.add((NOW, JobId("run"))),
}


@pytest.mark.parametrize("lie", TAMPERED)
def test_check_catches(lie: str) -> None:
    it = engine()
    TAMPERED[lie](it.table)
    with pytest.raises(AssertionError):
        it.check()


def test_a_job_begins_once() -> None:
    fact = Enqueued(JobId("x"), JobSpec(command="x"), RequestId(""), Subject(""), None)
    event = Event(Position(1), NOW, fact, Sequence(1))
    with pytest.raises(AssertionError, match="begins once"):
        apply_fact(new_job(fact, event), fact, event)


def test_a_tally_stands_for_all_that_was_reported_before_it() -> None:
    it = engine()
    running = next(it.table.running())
    fact = ReportTotals(running.id, 7, 100, 20)
    event = Event(Position(it.tail + 1), NOW, fact, Sequence(12), Link(b"link"))
    it.table.apply(event)
    it.check()
    job = it.table.job(running.id)
    assert (job.sequence, job.link, job.sent) == (12, b"link", 7)
    assert (job.output_bytes, job.output_bytes_cut) == (100, 20)


# Agenda


def test_an_agenda_gives_the_soonest_whatever_was_put_moved_and_dropped() -> None:
    dice, agenda, model = random.Random(1), Deadlines[str](), dict[str, int]()
    for _ in range(5_000):
        item = f"item {dice.randrange(40)}"
        if dice.random() < 0.7:
            model[item] = dice.randrange(1_000)
            agenda.put(item, model[item])
        else:
            model.pop(item, None)
            agenda.drop(item)
        first = agenda.first()
        assert (first is None) == (not model)
        if first:
            assert (first[0], model[first[1]]) == (min(model.values()), first[0])
        assert len(agenda) == len(model)
        assert agenda.key(item) == model.get(item)


def test_an_item_that_moves_for_days_leaves_no_trail() -> None:
    agenda = Deadlines[str]()
    for key in range(100_000):
        agenda.put("lease", key)
    assert len(agenda._heap) < 100
    assert agenda.first() == (99_999, "lease")


# Lines and answers


def test_an_empty_line_leaves_no_trace() -> None:
    lines = JobIndex()
    job = engine().table.job(JobId("line"))
    lines.add(job)
    assert list(lines.queues()) == [QueueKey("b")]
    lines.drop(job)
    assert list(lines.queues()) == []
    assert lines.first(QueueKey("b")) is None
    assert lines.total(None, None) == lines.count(QueueKey("b"), JobState.SCHEDULED) == 0
    assert job not in lines


def test_a_job_stands_where_its_place_says_not_when_it_came_back() -> None:
    lines = JobIndex()
    job = engine().table.job(JobId("line"))
    for place in (5, 1, 3):
        lines.add(replace(job, place=Position(place), id=JobId(f"job-{place}")))
    assert lines.first(QueueKey("b")) == "job-1"
    assert lines.ahead(replace(job, place=Position(5), id=JobId("job-5"))) == 2


def listed(jobs: tuple[Job, ...]) -> list[str]:
    return [job.id for job in jobs]


def test_a_listing_is_newest_first_and_filtered_by_queue_and_state() -> None:
    table = engine().table
    assert listed(page(table, JobQuery()).jobs) == ["due", "line", "run", "end"]
    assert listed(page(table, JobQuery(queue="a")).jobs) == ["run", "end"]
    assert listed(page(table, JobQuery(state=JobState.SCHEDULED)).jobs) == ["due", "line"]
    assert listed(page(table, JobQuery(queue="a", state=JobState.RUNNING)).jobs) == ["run"]
    assert listed(page(table, JobQuery(queue="none")).jobs) == []
    assert page(table, JobQuery(queue="none")).last_page == 1


def test_pages_by_number_cover_everything_once() -> None:
    table = engine().table
    pages = [page(table, JobQuery(page=n, page_size=3)) for n in (1, 2, 3)]
    assert [listed(each.jobs) for each in pages] == [["due", "line", "run"], ["end"], []]
    assert {each.last_page for each in pages} == {2}
    assert [each.next for each in pages] == [table.job(JobId("run")).place, None, None]


def test_pages_by_place_stay_as_new_jobs_come() -> None:
    it = engine()
    first = page(it.table, JobQuery(page_size=2))
    it.record(it.queue.enqueue(JobId("new"), JobRequest(spec=JobSpec(command="x")), NOW), NOW)
    second = page(it.table, JobQuery(page_size=2, before=first.next, page=7))
    assert [*listed(first.jobs), *listed(second.jobs)] == ["due", "line", "run", "end"]
    assert second.next is None


def test_every_page_of_a_random_table_is_what_a_sort_would_give() -> None:
    walk = Walk(random.Random(7))
    walk.run(300)
    jobs = sorted(walk.engine.table.jobs(), key=lambda job: -job.place)
    got, before = list[Job](), None
    while True:
        part = page(walk.engine.table, JobQuery(namespace=None, page_size=3, before=before))
        got += part.jobs
        before = part.next
        if before is None:
            break
    assert got == jobs


def test_jobs_that_need_different_workers_are_one_line_of_one_queue() -> None:
    it, queue = Engine(), QueueKey("default")
    specs = {"a": True, "b": False, "c": True, "d": False}
    for id, strict in specs.items():
        request = JobRequest(spec=JobSpec(script="make", strict=strict))
        it.record(it.queue.enqueue(JobId(id), request, NOW), NOW)
    lines = it.table.lines
    assert [lines.ahead(it.table.job(JobId(id))) for id in specs] == [0, 1, 2, 3]
    assert (lines.first(queue), lines.first(queue, NONE)) == ("a", "b")
    assert lines.count(queue, JobState.SCHEDULED) == lines.total() == 4
    assert list(lines.newest()) == list(lines.newest(queue.namespace, queue.name)) == [*"dcba"]
    assert list(lines.queues()) == [queue]
    it.record(it.queue.cancel(JobId("b"), Subject("sue")), NOW)
    assert (lines.first(queue), lines.first(queue, NONE)) == ("a", "d")
    it.table.check()


def test_statistics_count_every_state_and_know_who_waits_longest() -> None:
    a, b = (statistics(engine().table, QueueKey(queue)) for queue in "ab")
    assert a.counts == {state: int(state in ("completed", "running")) for state in JobState}
    assert a.oldest is None
    assert (b.counts[JobState.SCHEDULED], b.oldest) == (2, NOW)
