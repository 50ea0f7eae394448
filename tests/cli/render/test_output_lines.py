"""The lines of `airunner logs`: all of them, those since a time, the last ones."""

import asyncio

import pytest

from airunner.cli.render.line_splitter import LineSplitter
from airunner.cli.render.output_lines import LineFormat, LineView, StepFilter
from airunner.model.job_events import JobEvent, JobEventBody, JobFinished
from airunner.model.jobs import Instant, JobState, Outcome, Reason, Sequence
from airunner.model.reports import Chunk, Output, OutputCut, Remark, StepStarted, Stream

OUT, ERR = Stream.STDOUT, Stream.STDERR
ENDED = JobFinished(JobState.COMPLETED, Outcome(reason=Reason.EXITED, exit_code=0))
TOGETHER = LineFormat(None, apart=False)


def event(body: JobEventBody, at: int = 0) -> JobEvent:
    return JobEvent(first=Sequence(1), last=Sequence(1), at=Instant(at), attempt=1, body=body)


def output(*chunks: tuple[int, Stream, bytes], step: int | None = None) -> Output:
    return Output(tuple(Chunk(stream, data, Instant(at)) for at, stream, data in chunks), step)


def shown(view: LineView, *bodies: JobEventBody) -> None:
    async def story() -> None:
        for body in bodies:
            await view.show(event(body))
        await view.finish()

    asyncio.run(story())


LINES = output((1, OUT, b"a\nb"), (2, ERR, b"e\n"), (3, OUT, b"b\nc\n"), (4, OUT, b"d"))


def test_a_line_has_the_time_of_its_first_byte() -> None:
    splitter = LineSplitter()
    timed = [*splitter.split_timed(event(LINES)), *splitter.flush_timed()]
    assert timed == [
        *((1, (OUT, b"a")), (2, (ERR, b"e")), (1, (OUT, b"bb")), (3, (OUT, b"c"))),
        (4, (OUT, b"d")),
    ]
    assert list(splitter.split_timed(event(output((5, OUT, b"x\ny\n"))))) == [
        (5, (OUT, b"x")),
        (5, (OUT, b"y")),
    ]


@pytest.mark.parametrize(
    ("tail", "text"),
    [(0, ""), (1, "d\n"), (3, "bb\nc\nd\n"), (99, "a\ne\nbb\nc\nd\n"), (None, "a\ne\nbb\nc\nd\n")],
)
def test_the_last_lines_are_the_last_of_both_streams(
    tail: int | None, text: str, capfd: pytest.CaptureFixture[str]
) -> None:
    shown(LineView(TOGETHER, StepFilter(None), tail=tail), LINES)
    assert capfd.readouterr().out == text


def test_lines_since_a_time_began_then_or_later(capfd: pytest.CaptureFixture[str]) -> None:
    shown(LineView(TOGETHER, StepFilter(None), since=Instant(2)), LINES)
    assert capfd.readouterr().out == "e\nc\nd\n"
    shown(LineView(TOGETHER, StepFilter(None), since=Instant(2), tail=1), LINES)
    assert capfd.readouterr().out == "d\n"


def test_a_line_begins_with_its_time(capfd: pytest.CaptureFixture[str]) -> None:
    format = LineFormat("ERROR::", timestamps=True)
    shown(LineView(format, StepFilter(None), tail=4), LINES, ENDED)
    assert capfd.readouterr().out.splitlines() == [
        "1970-01-01T00:00:00.002Z ERROR::e",
        "1970-01-01T00:00:00.001Z bb",
        "1970-01-01T00:00:00.003Z c",
        "1970-01-01T00:00:00.004Z d",
        "EXIT:0",
    ]
    apart = LineFormat(None, timestamps=True)
    shown(LineView(apart, StepFilter(None)), LINES)
    assert capfd.readouterr().err == "1970-01-01T00:00:00.002Z e\n"


def test_the_last_lines_of_a_step_are_those_of_that_step(
    capfd: pytest.CaptureFixture[str],
) -> None:
    steps = (
        *(StepStarted(0, "one"), output((1, OUT, b"a\nb\n"), step=0)),
        *(StepStarted(1, "two"), output((2, OUT, b"c\n"), step=1), ENDED),
    )
    shown(LineView(TOGETHER, StepFilter("1"), tail=1), *steps)
    assert capfd.readouterr().out == "b\n"


def test_output_that_was_cut_among_the_last_lines_is_told(
    capfd: pytest.CaptureFixture[str],
) -> None:
    cut = OutputCut(3, 2048)
    shown(LineView(TOGETHER, StepFilter(None), tail=2), LINES, cut, ENDED)
    assert "2.0 KiB of output were cut here" in capfd.readouterr().err
    shown(LineView(TOGETHER, StepFilter(None), tail=2), cut, Remark("!"), LINES, ENDED)
    assert capfd.readouterr().err == ""
