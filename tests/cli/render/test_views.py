"""The views of a job: output, remarks, group markers and JSON."""

import asyncio
import os

import pytest

from airunner.cli.render.ci_groups import Buildkite, GitHub
from airunner.cli.render.views import PassThrough
from airunner.model.artifacts import Artifact
from airunner.model.job_events import (
    ArtifactStored,
    JobEvent,
    JobEventBody,
    JobFinished,
    JobLeased,
    JobReturned,
)
from airunner.model.jobs import (
    AttemptEnd,
    Instant,
    JobState,
    Millis,
    Outcome,
    Reason,
    Sequence,
    StepResult,
    WorkerId,
)
from airunner.model.reports import Chunk, Output, Remark, StepEnded, StepStarted, Stream
from airunner.model.steps import StepStatus
from tests.promises import holds, promise

NOW = Instant(1_900_000_000_000)
Capture = pytest.CaptureFixture[str]

BUILD, TEST = StepStarted(0, "build"), StepStarted(1, "test")
BUILT = StepEnded(0, "build", StepStatus.SUCCESS, 0, Millis(1_200))
BROKEN = StepEnded(1, "test", StepStatus.FAILED, 2, Millis(300))
GIVEN_UP = JobFinished(
    JobState.FAILED,
    Outcome(
        reason=Reason.EXITED,
        exit_code=2,
        steps=(
            StepResult(name="build", status=StepStatus.SUCCESS, exit_code=0),
            StepResult(name="test", status=StepStatus.FAILED, exit_code=2),
            StepResult(name="ship", status=StepStatus.SKIPPED),
        ),
    ),
)


def out(data: bytes, step: int = 0) -> Output:
    return Output((Chunk(Stream.STDOUT, data, NOW),), step)


def err(data: bytes, step: int = 0) -> Output:
    return Output((Chunk(Stream.STDERR, data, NOW),), step)


def show(passing: PassThrough, *happenings: JobEventBody) -> None:
    async def story() -> None:
        for at, what in enumerate(happenings, 1):
            await passing.show(
                JobEvent(first=Sequence(at), last=Sequence(at), at=NOW, attempt=1, body=what)
            )

    asyncio.run(story())


async def three() -> int | None:
    return 3


def grouped() -> PassThrough:
    return PassThrough(until_closed=True, count_steps=three, markers=GitHub())


@promise(
    "logs/remarks-have-their-own-line",
    "A command that shows output passes it on unchanged. Remarks and group markers stand on lines of "
    "their own, and the name of a step cannot break a marker.",
)
def test_steps_are_remarks_and_output_stays_as_it_is(capfd: Capture) -> None:
    passing = PassThrough(until_closed=True, count_steps=three)
    show(passing, BUILD, out(b"one\n"), BUILT, TEST, err(b"two\n", 1), BROKEN, GIVEN_UP)
    seen = capfd.readouterr()
    assert seen.out == "one\n"
    assert seen.err.splitlines() == [
        "airunner: step 1 of 3: build",
        "airunner: step 1 of 3 (build) succeeded in 1.2s",
        "airunner: step 2 of 3: test",
        "two",
        "airunner: step 2 of 3 (test) failed with exit code 2 after 0.3s",
        "airunner: step 3 of 3 was skipped: ship",
    ]


def test_how_many_steps_there_are_is_asked_for_once_and_only_for_steps(capfd: Capture) -> None:
    asked = 0

    async def total() -> int | None:
        nonlocal asked
        asked += 1
        return None

    show(PassThrough(until_closed=True, count_steps=total), JobLeased(WorkerId("w")), out(b"x"))
    assert asked == 0
    show(PassThrough(until_closed=True, count_steps=total), BUILD, BUILT, TEST)
    assert asked == 1
    assert "airunner: step 2: test\n" in capfd.readouterr().err


@holds("logs/remarks-have-their-own-line")
def test_a_remark_begins_a_line_of_its_own(capfd: Capture) -> None:
    show(PassThrough(until_closed=True), err(b"half a line"), Remark("heard"), Remark("again"))
    assert capfd.readouterr().err == "half a line\nairunner: heard\nairunner: again\n"


def test_a_remark_leaves_the_lines_of_another_file_alone(capfd: Capture) -> None:
    show(PassThrough(until_closed=True), out(b"half"), Remark("heard"), out(b" a line"))
    assert capfd.readouterr() == ("half a line", "airunner: heard\n")


def test_a_remark_begins_a_line_where_both_streams_go_to_one_place() -> None:
    reading, writing = os.pipe()
    kept = [(descriptor, os.dup(descriptor)) for descriptor in (1, 2)]
    for descriptor, _ in kept:
        os.dup2(writing, descriptor)
    try:
        show(PassThrough(until_closed=True), out(b"half a line"), Remark("heard"))
    finally:
        for descriptor, copy in kept:
            os.dup2(copy, descriptor)
            os.close(copy)
        os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        assert pipe.read() == b"half a line\nairunner: heard\n"


def test_groups_stand_around_the_output_of_each_step(capfd: Capture) -> None:
    show(grouped(), BUILD, out(b"one\n"), BUILT, TEST, out(b"two\n", 1), BROKEN, GIVEN_UP)
    seen = capfd.readouterr()
    assert seen.out.splitlines() == [
        "::group::build",
        "one",
        "::endgroup::",
        "::group::test",
        "two",
        "::endgroup::",
    ]
    assert seen.err.splitlines() == [
        "airunner: step 1 of 3 (build) succeeded in 1.2s",
        "airunner: step 2 of 3 (test) failed with exit code 2 after 0.3s",
        "airunner: step 3 of 3 was skipped: ship",
    ]


def test_a_marker_on_one_stream_ends_no_line_of_the_other(capfd: Capture) -> None:
    show(grouped(), BUILD, err(b"half a line"), BUILT)
    assert capfd.readouterr().err == (
        "half a line\nairunner: step 1 of 3 (build) succeeded in 1.2s\n"
    )


@holds("logs/remarks-have-their-own-line")
@pytest.mark.parametrize("half", [out(b"half a line"), err(b"half a line")])
def test_a_marker_begins_a_line(half: Output, capfd: Capture) -> None:
    show(grouped(), BUILD, half, BUILT)
    assert capfd.readouterr().out.endswith("\n::endgroup::\n")


def test_what_an_attempt_left_open_ends_before_it_is_back_in_line(capfd: Capture) -> None:
    show(grouped(), BUILD, out(b"one\n"), JobReturned(AttemptEnd.LAPSED, 1))
    assert capfd.readouterr().out.endswith("::endgroup::\n")
    show(
        grouped(),
        BUILD,
        out(b"one\n"),
        JobReturned(AttemptEnd.LAPSED, 1),
        BUILD,
        out(b"one\n"),
        BUILT,
    )
    groups = [line for line in capfd.readouterr().out.splitlines() if line.startswith("::")]
    assert groups == ["::group::build", "::endgroup::"] * 2


def test_a_step_without_a_name_has_a_group_with_one(capfd: Capture) -> None:
    show(grouped(), StepStarted(4, ""))
    assert capfd.readouterr().out == "::group::step 5\n"


def test_what_needs_no_end_gets_none(capfd: Capture) -> None:
    show(
        PassThrough(until_closed=True, markers=Buildkite()),
        BUILD,
        out(b"one\n"),
        BUILT,
        TEST,
        BROKEN,
    )
    assert capfd.readouterr().out == "--- build\none\n--- test\n^^^ +++\n"


def test_artifacts_of_the_latest_attempt_are_counted() -> None:
    kept = ArtifactStored(Artifact(path="a", size=100, sha256="0" * 64))
    passing = PassThrough(until_closed=True)
    show(passing, JobLeased(WorkerId("w")), kept, kept, JobLeased(WorkerId("v")), kept)
    assert (passing.artifacts, passing.artifact_bytes) == (1, 100)
