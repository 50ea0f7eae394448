"""Splitting output into lines, independent of its chunks."""

import random
import tracemalloc
from collections.abc import Iterable

import pytest

from airunner.cli.render.line_splitter import Line, LineBuffer, LineSplitter
from airunner.model.job_events import JobEvent, JobEventBody, JobFinished, JobLeased, JobReturned
from airunner.model.jobs import AttemptEnd, Instant, JobState, Outcome, Reason, Sequence, WorkerId
from airunner.model.limits import KIB, LINE_BYTES_MAX, MIB
from airunner.model.reports import Chunk, Output, Remark, StepEnded, StepStarted, Stream
from airunner.model.steps import StepStatus
from tests.promises import holds, promise

OUT, ERR = Stream.STDOUT, Stream.STDERR
NOW = Instant(0)


def assembled(*pieces: bytes) -> list[bytes]:
    assembly = LineBuffer()
    lines = [line for piece in pieces for line in assembly.feed(piece)]
    return [*lines, *assembly.flush()]


def told(*happenings: JobEventBody) -> list[Line]:
    lines = LineSplitter()
    return [line for what in happenings for line in lines.split(event(what))]


def event(what: JobEventBody) -> JobEvent:
    return JobEvent(first=Sequence(1), last=Sequence(1), at=NOW, attempt=1, body=what)


def output(*chunks: tuple[Stream, bytes], step: int | None = None) -> Output:
    return Output(tuple(Chunk(stream, data, NOW) for stream, data in chunks), step)


@promise(
    "logs/lines-are-whole",
    "`airunner logs` prints each line whole and once, however the pieces were read. Lines of "
    "different streams, steps and attempts never mix, bytes stay unchanged, and a line beyond the "
    "limit comes in pieces.",
)
@pytest.mark.parametrize(
    ("text", "lines"),
    [
        (b"", []),
        (b"one", [b"one"]),
        (b"one\n", [b"one"]),
        (b"\n\none\n\n", [b"", b"", b"one", b""]),
        (b"one\r\ntwo\r\n\r\nthree", [b"one", b"two", b"", b"three"]),
        (b"one\r\r\ntwo\r\r\n", [b"one", b"two"]),
        (b"10%\r20%\r100%\ndone\n", [b"10%", b"20%", b"100%", b"done"]),
        (b"\r10%\r20%\n", [b"10%", b"20%"]),
        (b"10%\r\n\r\n20%\r", [b"10%", b"", b"20%"]),
        (b"\xff\xfe\x00one\x0b\x0ctwo\x85\n\xc3", [b"\xff\xfe\x00one\x0b\x0ctwo\x85", b"\xc3"]),
    ],
)
def test_lines_are_the_same_however_they_were_read(text: bytes, lines: list[bytes]) -> None:
    assert assembled(text) == lines
    assert assembled(*(bytes([byte]) for byte in text)) == lines
    dice = random.Random(1)
    for _ in range(50):
        cuts = sorted(dice.randrange(len(text) + 1) for _ in range(3))
        pieces = (text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True))
        assert assembled(*pieces) == lines


def test_a_carriage_return_tells_its_line_at_once() -> None:
    assembly = LineBuffer()
    assert list(assembly.feed(b"10%\r")) == [b"10%"]
    assert list(assembly.feed(b"\n")) == []
    assert list(assembly.feed(b"\n")) == [b""]


def test_a_long_line_is_told_in_pieces() -> None:
    assembly = LineBuffer(size_max=4)
    assert list(assembly.feed(b"abcd")) == []
    assert list(assembly.feed(b"\n")) == [b"abcd"]
    assert list(assembly.feed(b"abcdefghij\n")) == [b"abcd", b"efgh", b"ij"]
    assert list(assembly.feed(b"ab")) + list(assembly.feed(b"cdef")) == [b"abcd"]
    assert list(assembly.flush()) == [b"ef"]


@holds("logs/lines-are-whole")
def test_a_line_of_100_mb_does_not_take_100_mb() -> None:
    assembly, piece, size, longest = LineBuffer(), b"x" * 64 * KIB, 0, 0
    tracemalloc.start()
    try:
        for _ in range(1600):
            for line in assembly.feed(piece):
                size, longest = size + len(line), max(longest, len(line))
        assert tracemalloc.get_traced_memory()[1] < 4 * MIB
    finally:
        tracemalloc.stop()
    assert size + sum(map(len, assembly.flush())) == 100 * MIB
    assert longest == LINE_BYTES_MAX


@holds("logs/lines-are-whole")
def test_streams_are_assembled_apart_and_told_in_order_of_completion() -> None:
    assert told(
        output((OUT, b"o1"), (ERR, b"e1\ne2"), (OUT, b"\no2")),
        output((ERR, b"!\n"), (OUT, b"!\n")),
    ) == [(ERR, b"e1"), (OUT, b"o1"), (ERR, b"e2!"), (OUT, b"o2!")]


ENDED = JobFinished(JobState.COMPLETED, Outcome(reason=Reason.EXITED, exit_code=0))


@pytest.mark.parametrize(
    "over",
    [
        JobReturned(AttemptEnd.LAPSED, 1),
        JobLeased(WorkerId("w")),
        StepEnded(0, "a", StepStatus.SUCCESS, 0, 1),  # type: ignore[arg-type]  # a test's
        StepStarted(1, "b"),
        ENDED,
    ],
    ids=lambda what: type(what).__name__,
)
def test_what_is_unended_when_its_attempt_or_step_is_over_is_a_line(over: JobEventBody) -> None:
    begun = output((OUT, b"o"), (ERR, b"e"))
    assert told(begun, over, begun, ENDED) == [(OUT, b"o"), (ERR, b"e")] * 2


def test_what_another_step_writes_does_not_glue_on() -> None:
    steps: Iterable[Output] = (output((OUT, b"a"), step=0), output((OUT, b"b\n"), step=1))
    assert told(*steps) == [(OUT, b"a"), (OUT, b"b")]


def test_what_is_said_meanwhile_parts_no_line() -> None:
    assert told(output((OUT, b"a")), Remark("!"), output((OUT, b"b\n"))) == [(OUT, b"ab")]
