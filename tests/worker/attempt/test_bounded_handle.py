"""The limits of an attempt's reports: every text is valid, is cut with a mark, and is bounded in all."""

import asyncio

import pytest

from airunner.model.jobs import (
    AttemptEnd,
    Instant,
    Job,
    JobId,
    Millis,
    Outcome,
    Position,
    Reason,
    StepResult,
    Subject,
)
from airunner.model.limits import (
    REMARK_BYTES_MAX,
    REPORT_STDERR_BYTES_MAX,
    REPORT_TEXT_BYTES_MAX,
)
from airunner.model.reports import (
    Chunk,
    CloneEnded,
    CloneFailed,
    CloneProgressed,
    Output,
    ProcessFailed,
    Remark,
    Report,
    Stream,
)
from airunner.model.spec import JobSpec
from airunner.model.steps import StepStatus
from airunner.system.bounded_text import bounded_text
from airunner.worker.attempt.bounded_handle import BoundedHandle, bounded_outcome, bounded_report
from airunner.worker.attempt.local_attempt import LocalAttempt

HUGE = "a" * 5_000_000 + "the end"


@pytest.mark.parametrize("text", ["", "plain", "é" * 50, "line\nline\ttab"])
def test_a_text_within_the_limit_stays_as_it_is(text: str) -> None:
    assert bounded_text(text, 100) == text


@pytest.mark.parametrize(
    ("text", "plain"), [("\ud800x", "\\ud800x"), ("a\0b", "a\\x00b"), ("\udcff", "\\udcff")]
)
def test_what_is_no_text_is_escaped(text: str, plain: str) -> None:
    assert bounded_text(text, 100) == plain


@pytest.mark.parametrize("letter", ["a", "é", "\U0001f600", "\ud800", "\0"])
@pytest.mark.parametrize("length", [99, 101, 5_000, 5_000_000])
def test_no_text_is_longer_than_the_limit(letter: str, length: int) -> None:
    cut = bounded_text(f"begin{letter * length}end", 100)
    assert len(cut.encode()) <= 100
    if length > 100:
        assert cut.startswith("begin")
        assert cut.endswith("end")
        assert "bytes cut" in cut


@pytest.mark.parametrize(
    "report",
    [
        Remark(HUGE),
        ProcessFailed(HUGE),
        CloneProgressed(HUGE),
        CloneEnded(HUGE, Millis(1), HUGE),
        CloneFailed(HUGE, HUGE),
    ],
)
def test_every_text_of_every_report_is_cut(report: Report) -> None:
    cut = bounded_report(report)
    assert type(cut) is type(report)
    assert len(str(cut)) <= 2 * REPORT_TEXT_BYTES_MAX + REPORT_STDERR_BYTES_MAX
    assert "the end" in str(cut)


def test_every_text_of_an_outcome_is_cut() -> None:
    step = StepResult(name=HUGE, status=StepStatus.FAILED)
    outcome = bounded_outcome(Outcome(reason=Reason.EXITED, exit_code=3, error=HUGE, steps=(step,)))
    assert len(outcome.error) <= REPORT_TEXT_BYTES_MAX
    assert len(outcome.steps[0].name) <= REPORT_TEXT_BYTES_MAX
    assert outcome.exit_code == 3


async def _said(*reports: Report) -> tuple[list[Report], LocalAttempt]:
    heard: list[Report] = []

    async def listen(report: Report) -> None:
        heard.append(report)

    job = Job(
        id=JobId("x"),
        spec=JobSpec(command="true"),
        place=Position(1),
        created_at=Instant(0),
        updated_at=Instant(0),
        submitter=Subject("sue"),
    )
    attempt = LocalAttempt(job, listen)
    handle = BoundedHandle(attempt)
    for report in reports:
        await handle.report(report)
    handle.end(AttemptEnd.RELEASED)
    return heard, attempt


def test_the_remarks_of_an_attempt_are_bounded_in_all_and_what_matters_is_not_left_out() -> None:
    output = Output((Chunk(Stream.STDOUT, b"x" * 1_000_000, Instant(0)),))
    remarks = [Remark("r" * 1_000)] * 5_000
    heard, attempt = asyncio.run(_said(*remarks, output, ProcessFailed("oh"), Remark("late")))
    kept = [each for each in heard if isinstance(each, Remark)]
    assert sum(len(each.message) for each in kept) <= REMARK_BYTES_MAX
    assert "REMARK_BYTES_MAX" in kept[-1].message
    assert heard[-2:] == [output, ProcessFailed("oh")]
    assert attempt.verdict is AttemptEnd.RELEASED
