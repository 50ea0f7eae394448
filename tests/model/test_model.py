"""Refusals, reports, facts, wait reasons, tokens, and the state that follows from an outcome."""

from typing import get_args

import pytest

from airunner.model import errors
from airunner.model.errors import IdempotencyConflict, InvalidRequest, Refused
from airunner.model.facts import (
    Enqueued,
    Event,
    Fact,
    Finished,
    Forgotten,
    Leased,
    OutputDropped,
    Renewed,
    Reported,
    sequence_count,
)
from airunner.model.jobs import (
    Instant,
    JobId,
    JobState,
    Lease,
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
from airunner.model.reports import (
    Alive,
    Chunk,
    CloneEnded,
    CloneFailed,
    CloneProgressed,
    CloneStarted,
    ContainerCreated,
    ContainerRemoved,
    ImagePullEnded,
    ImagePullProgressed,
    ImagePullStarted,
    Output,
    OutputCut,
    ProcessEnded,
    ProcessFailed,
    ProcessStarted,
    Remark,
    Report,
    StepEnded,
    StepStarted,
    Stream,
    TerminalResized,
    count_sequences,
    text_size,
    without_first,
)
from airunner.model.spec import JobSpec
from airunner.model.steps import StepStatus
from airunner.model.wait_reason import WaitReason

T = Instant(0)
REFUSALS = [
    each
    for each in vars(errors).values()
    if isinstance(each, type) and issubclass(each, Refused) and each is not Refused
]
CANONICAL = {
    "INVALID_ARGUMENT",
    "UNAUTHENTICATED",
    "PERMISSION_DENIED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "FAILED_PRECONDITION",
    "RESOURCE_EXHAUSTED",
    "DATA_LOSS",
    "UNAVAILABLE",
}


@pytest.mark.parametrize("refusal", REFUSALS, ids=lambda it: it.__name__)
def test_a_refusal_has_a_canonical_status_that_says_whether_to_retry(
    refusal: type[Refused],
) -> None:
    assert refusal.status in CANONICAL
    assert refusal.retry == (refusal.status in ("UNAVAILABLE", "RESOURCE_EXHAUSTED"))
    assert refusal.__doc__


def test_the_table_of_refusals_lists_each_with_its_status() -> None:
    rows = [line.split() for line in (errors.__doc__ or "").splitlines() if line.startswith("  ")]
    table = {row[0]: row[1] for row in rows if len(row) > 1}
    assert table == {each.__name__: each.status for each in REFUSALS}


def test_a_refusal_says_what_it_is_about() -> None:
    wrong = InvalidRequest("queue", "is empty")
    assert (str(wrong), wrong.field, wrong.why) == ("queue: is empty", "queue", "is empty")
    assert str(IdempotencyConflict("why")) == "why"


# Reports

CHUNKS = tuple(Chunk(Stream.STDOUT, data, T) for data in (b"a", b"bc", b""))
SINGLE: list[Report] = [
    ProcessStarted(1, T),
    ProcessEnded(1, 0, Millis(1)),
    ProcessFailed("why"),
    Alive(Millis(1), alive=True),
    TerminalResized(80, 24),
    CloneStarted("/r", "", "main", T),
    CloneProgressed("45%"),
    CloneEnded("abcd", Millis(1), "d"),
    CloneFailed("why", "fatal"),
    Remark("no spool"),
    ContainerCreated("c", "i", T),
    ContainerRemoved("c", T),
    ImagePullStarted("i", T),
    ImagePullProgressed("i", "s", 1, 2),
    ImagePullEnded("i", Millis(1)),
    StepStarted(0, "n"),
    StepEnded(0, "n", StepStatus.SUCCESS, 0, Millis(1)),
]


def test_every_report_is_tested_here() -> None:
    assert {type(each) for each in SINGLE} | {Output, OutputCut} == set(get_args(Report))


@pytest.mark.parametrize("report", SINGLE, ids=lambda it: type(it).__name__)
def test_a_report_that_is_no_output_takes_one_number_and_has_no_tail(report: Report) -> None:
    assert count_sequences(report) == 1
    assert without_first(report, 0) == report
    with pytest.raises(AssertionError):
        without_first(report, 1)


def test_output_takes_a_number_for_each_chunk() -> None:
    output = Output(CHUNKS)
    assert (count_sequences(output), output.size) == (3, 3)
    assert without_first(output, 0) == output
    assert without_first(output, 2) == Output(CHUNKS[2:])
    assert without_first(Output(CHUNKS, 7), 2) == Output(CHUNKS[2:], 7)


def test_a_cut_takes_the_numbers_of_what_was_cut() -> None:
    assert count_sequences(OutputCut(3, 90)) == 3
    assert without_first(OutputCut(3, 90), 2) == OutputCut(1, 90)


# Facts


def test_a_fact_that_no_watcher_sees_takes_no_sequence() -> None:
    id, lease = (
        JobId("x"),
        Lease(token=digest(TaskToken("t")), worker=WorkerId("w"), span=Millis(1), until=T),
    )
    unseen: list[Fact] = [Renewed(id, lease), OutputDropped(id), Forgotten(id)]
    assert [sequence_count(fact) for fact in unseen] == [0, 0, 0]
    assert Event(Position(9), T, unseen[0], Sequence(4)).last == 4


def test_a_fact_that_they_see_takes_as_many_as_it_has_items() -> None:
    id, lease = (
        JobId("x"),
        Lease(token=digest(TaskToken("t")), worker=WorkerId("w"), span=Millis(1), until=T),
    )
    assert sequence_count(Leased(id, 1, lease)) == 1
    assert sequence_count(Enqueued(id, JobSpec(command="x"), RequestId(""), Subject(""), None)) == 1
    event = Event(Position(9), T, Reported(id, 1, 3, Output(CHUNKS)), Sequence(4))
    assert (sequence_count(event.fact), event.first, event.last) == (3, 4, 6)
    end = Finished(id, 1, JobState.FAILED, Outcome(reason=Reason.LOST), None, 1)
    assert Event(Position(9), T, end, Sequence(4)).last == 4


# Outcomes and tokens


@pytest.mark.parametrize("reason", Reason)
def test_only_an_exit_with_zero_is_a_success(reason: Reason) -> None:
    for code in (0, 1, None):
        expected = JobState.FAILED
        if reason is Reason.CANCELLED:
            expected = JobState.CANCELLED
        elif reason is Reason.EXITED and code == 0:
            expected = JobState.COMPLETED
        assert Outcome(reason=reason, exit_code=code).state is expected


def test_final_states_are_those_that_a_job_never_leaves() -> None:
    assert [state for state in JobState if not state.final] == ["scheduled", "running"]


def test_a_digest_does_not_tell_its_token() -> None:
    one, other = digest(TaskToken("one")), digest(TaskToken("other"))
    assert one != other
    assert one == digest(TaskToken("one"))
    assert len(one) == 16
    assert one.find(b"one") < 0


# Waiting


@pytest.mark.parametrize(
    ("waiting", "sentence"),
    [
        ((3, 1, 2, 2), "3 jobs ahead in queue gpu, 2 of 2 slots of 1 worker busy"),
        ((1, 2, 1, 0), "1 job ahead in queue gpu, 0 of 1 slot of 2 workers busy"),
        ((0, 1, 4, 4), "first in queue gpu, 4 of 4 slots of 1 worker busy"),
        ((0, 0, 0, 0), "first in queue gpu, and no worker polls queue gpu"),
        ((9, 0, 0, 0), "9 jobs ahead in queue gpu, and no worker polls queue gpu"),
    ],
)
def test_why_a_job_waits_is_one_sentence(waiting: tuple[int, int, int, int], sentence: str) -> None:
    ahead, workers, slots, busy = waiting
    it = WaitReason(queue="gpu", ahead=ahead, workers=workers, slots=slots, busy=busy)
    assert it.explanation == sentence


def test_the_texts_of_a_report_count_by_their_characters() -> None:
    assert text_size(CloneFailed(error="no such branch", stderr="fatal: ä")) == 14 + 8
    assert text_size(Alive(Millis(1), True)) == 0
