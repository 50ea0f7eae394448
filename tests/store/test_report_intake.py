"""What is taken of a worker's reports, number by number."""

import pytest

from airunner.model.errors import InvalidRequest, OutOfSequence
from airunner.model.jobs import (
    Instant,
    Job,
    JobId,
    JobRequest,
    Millis,
    Position,
    TaskToken,
    WorkerId,
    digest,
)
from airunner.model.limits import COUNT_MAX
from airunner.model.namespaces import QueueKey
from airunner.model.reports import Alive, Chunk, Output, OutputCut, Report, Stream
from airunner.model.spec import JobSpec
from airunner.store.engine import Engine
from airunner.store.report_intake import ReportRoom, unseen
from airunner.store.retention import Retention


def output(*texts: str) -> Output:
    return Output(tuple(Chunk(Stream.STDOUT, text.encode(), Instant(0)) for text in texts))


def a_job() -> Job:
    return Job(
        id=JobId("j"),
        spec=JobSpec(command="x"),
        place=Position(1),
        created_at=Instant(1),
        updated_at=Instant(1),
    )


def taken(*reports: tuple[int, Report], sent: int, gaps: bool = False) -> list[tuple[int, Report]]:
    return list(unseen(reports, sent, gaps=gaps))


def test_what_follows_is_taken_with_the_number_of_its_last_item() -> None:
    assert taken((3, output("c", "d")), (5, output("e")), sent=2) == [
        (4, output("c", "d")),
        (5, output("e")),
    ]


def test_what_is_there_already_is_left_out_whole_or_in_part() -> None:
    assert taken((1, output("a", "b")), sent=2) == []
    assert taken((1, output("a", "b", "c")), sent=2) == [(3, output("c"))]
    assert taken((1, OutputCut(3, 30)), sent=2) == [(3, OutputCut(1, 30))]


def test_what_is_said_twice_in_one_request_is_taken_once() -> None:
    assert taken((1, output("a")), (1, output("a", "b")), sent=0) == [
        (1, output("a")),
        (2, output("b")),
    ]


def test_a_missing_number_is_refused_by_name_unless_gaps_are_allowed() -> None:
    with pytest.raises(OutOfSequence, match="numbered 2, got 3") as refusal:
        taken((1, output("a")), (3, output("c")), sent=0)
    assert refusal.value.expected == 2
    assert taken((3, output("c")), sent=0, gaps=True) == [(3, output("c"))]


def test_what_has_no_number_is_taken_as_it_is() -> None:
    alive = Alive(Millis(1), alive=True)
    assert taken((0, alive), (0, alive), (1, alive), sent=0) == [(0, alive), (0, alive), (1, alive)]


@pytest.mark.parametrize(
    ("room", "kept", "cut"),
    [
        (6, 3, None),
        (5, 2, OutputCut(1, 3)),
        (3, 2, OutputCut(1, 3)),
        (2, 1, OutputCut(2, 5)),
        (0, 0, OutputCut(3, 6)),
        (-4, 0, OutputCut(3, 6)),
    ],
)
def test_the_leading_chunks_that_fit_are_kept_and_the_rest_is_marked(
    room: int, kept: int, cut: OutputCut | None
) -> None:
    whole = output("a", "bc", "def")
    assert ReportRoom(a_job(), Retention()).fit(whole, room) == (Output(whole.chunks[:kept]), cut)


@pytest.mark.parametrize("report", [OutputCut(COUNT_MAX, 1), OutputCut(1, COUNT_MAX + 1)])
def test_what_nobody_can_count_is_refused_before_it_is_a_fact(report: OutputCut) -> None:
    engine, token = Engine(), digest(TaskToken("t"))
    wish = JobRequest(spec=JobSpec(command="x"))
    engine.record(engine.queue.enqueue(JobId("j"), wish, Instant(1)), Instant(1))
    leased = engine.queue.lease(
        [QueueKey("default")], token=token, worker=WorkerId("w"), span=Millis(9), now=Instant(1)
    )
    engine.record(leased, Instant(1))
    with pytest.raises(InvalidRequest, match="COUNT_MAX"):
        engine.queue.publish(token, [(1, report)], now=Instant(1))
    fits = OutputCut(COUNT_MAX - 2, COUNT_MAX)
    engine.record(engine.queue.publish(token, [(1, fits)], now=Instant(1)), Instant(1))
    with pytest.raises(InvalidRequest, match="COUNT_MAX"):
        engine.queue.publish(token, [(COUNT_MAX, OutputCut(1, 1))], now=Instant(1), gaps=True)
