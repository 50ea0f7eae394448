"""Jobs as JSON, as tables and as prose."""

import json

import pytest
from msgspec import structs
from rich.cells import cell_len

from airunner.cli.render.jobs import job_details, job_json, job_prose, job_table
from airunner.cli.render.table import aligned
from airunner.cli.render.work import in_words
from airunner.model.jobs import (
    Instant,
    Job,
    JobId,
    JobState,
    Lease,
    Millis,
    Outcome,
    Position,
    Reason,
    StepResult,
    TokenDigest,
    WorkerId,
)
from airunner.model.spec import JobSpec
from airunner.model.steps import Step, StepStatus
from airunner.model.wait_reason import WaitReason

NOW = Instant(1_900_000_000_000)
STEPS = JobSpec(
    name="nightly",
    steps=(Step(run="make"), Step(name="test", run="make check\nmake lint"), Step(run="deploy")),
    environment={"A": "b"},
    artifacts=("dist/", "*.log"),
)
RESULTS = (
    StepResult(
        name="make",
        status=StepStatus.SUCCESS,
        exit_code=0,
        started_at=Instant(NOW - 2_000),
        ended_at=Instant(NOW - 800),
    ),
    StepResult(
        name="test",
        status=StepStatus.FAILED,
        exit_code=2,
        started_at=Instant(NOW - 800),
        ended_at=NOW,
    ),
    StepResult(name="deploy", status=StepStatus.SKIPPED),
)
FAILED = Outcome(reason=Reason.EXITED, exit_code=2, error="in step 2 of 3 (test)", steps=RESULTS)


def job(command: str = "make", *args: str, outcome: Outcome | None = None) -> Job:
    return asked(JobSpec(command=command, args=args), outcome=outcome)


def asked(spec: JobSpec, *, outcome: Outcome | None = None) -> Job:
    return Job(
        id=JobId("id-1"),
        spec=spec,
        place=Position(1),
        created_at=Instant(NOW - 60_000),
        updated_at=NOW,
        attempt=1,
        state=outcome.state if outcome else JobState.SCHEDULED,
        outcome=outcome,
        finished_at=NOW if outcome else None,
    )


def test_a_job_in_line_has_neither_exit_code_nor_reason() -> None:
    said = job_json(job())
    assert (said["id"], said["state"], said["queue"]) == ("id-1", "scheduled", "default")
    assert (said["attempt"], said["exit_code"], said["reason"]) == (1, None, None)


def test_a_finished_job_says_how_it_ended() -> None:
    said = job_json(job(outcome=Outcome(reason=Reason.EXITED, exit_code=3)))
    assert (said["state"], said["exit_code"], said["reason"]) == ("failed", 3, "exited")


def test_a_job_that_waits_says_why() -> None:
    waiting = WaitReason(queue="default", ahead=3, workers=1, slots=2, busy=2)
    assert job_details(job(), waiting)["waiting"] == waiting.explanation
    assert any(waiting.explanation in line for line in job_prose(job(), waiting))


def test_a_job_that_runs_says_which_worker_has_it() -> None:
    lease = Lease(
        token=TokenDigest(b""), worker=WorkerId("w-1"), span=Millis(60_000), until=Instant(NOW)
    )
    running = structs.replace(job(), state=JobState.RUNNING, attempt=2, lease=lease)
    assert job_details(running, None)["worker"] == "w-1"
    assert job_prose(running, None)[-1] == "attempt 2  running, by w-1"
    assert job_details(job(), None)["worker"] is None


def test_a_command_cannot_talk_to_the_terminal_that_lists_it() -> None:
    lines = job_table([job("echo", "\x1b]0;title\x07")], NOW, colour=False, headings=False)
    assert "\x1b" not in lines[0]
    assert "\\x1b]0;title\\x07" in lines[0]


def test_columns_are_aligned_below_their_headings() -> None:
    heading, line = job_table([job()], NOW, colour=False, headings=True)
    assert heading.index("QUEUE") == line.index("default")
    assert heading.index("COMMAND") == line.index("make")


@pytest.mark.parametrize("width", [30, 60, 80, 120])
def test_lines_fit_the_terminal(width: int) -> None:
    listed = [job("make", "x" * 300), job("printf", "日本語" * 30)]
    lines = job_table(listed, NOW, colour=False, headings=True, width=width)
    assert max(map(cell_len, lines)) <= width
    assert all(line.startswith(("ID", "id-1")) for line in lines)
    assert all(line.endswith("…") for line in lines[1:])


def test_the_least_needed_columns_make_room_for_the_command() -> None:
    wide, narrow = (
        job_table([job("make", "test")], NOW, colour=False, headings=True, width=width)
        for width in (80, 50)
    )
    assert "TRY" in wide[0]
    assert "TRY" not in narrow[0]
    assert narrow[0].index("COMMAND") == narrow[1].index("make test")


def test_the_next_page_goes_on_in_the_same_columns() -> None:
    heading, first = job_table([job()], NOW, colour=False, headings=True)
    ended = job(outcome=Outcome(reason=Reason.EXITED, exit_code=3))
    (next_page,) = job_table([ended], NOW, colour=False, headings=False)
    assert heading.index("COMMAND") == first.index("make") == next_page.index("make")


def test_wide_characters_do_not_pull_columns_apart() -> None:
    first, second = aligned([("日本", "a"), ("e\u0301", "b")])
    assert cell_len(first[:-1]) == cell_len(second[:-1])


def test_states_have_colours_where_colours_may_be() -> None:
    (line,) = job_table([job()], NOW, colour=True, headings=False)
    assert "\x1b[33mscheduled\x1b[0m" in line


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        (JobSpec(command="make", args=("a b",)), "make 'a b'"),
        (JobSpec(script="date\n"), "date"),
        (JobSpec(script="#!/bin/sh\n\n# why\nset -eu\n  cd src\nmake\n"), "cd src …"),
        (JobSpec(script="# nothing\n"), "# nothing"),
        (JobSpec(script="echo '\x1b[31m'"), "echo '\\x1b[31m'"),
        (STEPS, "3 steps: make, test, deploy"),
        (JobSpec(steps=(Step(run="make\nmake install"),)), "1 step: make"),
        (JobSpec(steps=()), "no steps"),
        (JobSpec(source="runs/7"), "job.json of runs/7"),
        (JobSpec(source="runs/7", script="make"), "make"),
    ],
)
def test_what_a_job_runs_is_said_in_a_line(spec: JobSpec, words: str) -> None:
    assert in_words(spec) == words
    (line,) = job_table([asked(spec)], NOW, colour=False, headings=False)
    assert line.endswith(words)


def test_names_have_a_column_that_goes_first_where_nobody_has_one() -> None:
    for spec, name in ((STEPS, "nightly"), (JobSpec(command="make"), "-")):
        heading, line = job_table([asked(spec)], NOW, colour=False, headings=True)
        assert line[heading.index("NAME") :].startswith(name)
    spare = (
        job_table([asked(spec)], NOW, colour=False, headings=True, width=60)[0]
        for spec in (STEPS, JobSpec(command="make"))
    )
    assert ["NAME" in heading for heading in spare] == [True, False]


def test_a_list_says_as_json_what_each_job_runs() -> None:
    said = job_json(asked(STEPS))
    assert (said["name"], said["command"], said["script"]) == ("nightly", "", "")
    assert said["artifacts"] == ["dist/", "*.log"]
    steps = said["steps"]
    assert isinstance(steps, list)
    assert [each["run"] for each in steps] == ["make", "make check\nmake lint", "deploy"]
    assert [job_json(asked(JobSpec(source="s", steps=steps)))["steps"] for steps in (None, ())] == [
        None,
        [],
    ]


def test_a_job_alone_says_as_json_what_came_of_each_step() -> None:
    said = job_details(asked(STEPS, outcome=FAILED), None)
    results = said["step_results"]
    assert isinstance(results, list)
    assert [(each["status"], each["exit_code"], each["duration_ms"]) for each in results] == [
        ("success", 0, 1200),
        ("failed", 2, 800),
        ("skipped", None, None),
    ]
    assert results[0]["started_at"] == "2030-03-17T17:46:38.000Z"
    assert (said["artifacts_kept"], said["artifact_bytes"]) == (0, 0)
    assert job_details(asked(STEPS), None)["step_results"] == []
    assert json.loads(json.dumps(said)) == said


def test_a_person_sees_each_step_and_what_came_of_it() -> None:
    lines = job_prose(asked(STEPS, outcome=FAILED), None)
    assert "state      failed: it exited with 2 in step 2 of 3 (test)" in lines
    assert lines[-4:] == [
        "STEP  RESULT   EXIT  TOOK  WHAT",
        "1     success  0     1.2s  make",
        "2     failed   2     0.8s  test",
        "3     skipped  -     -     deploy",
    ]
    assert job_prose(asked(STEPS), None)[-1] == "3     -       -     -     deploy"


def test_steps_that_a_source_has_brought_are_seen_once_they_have_ended() -> None:
    waiting = asked(JobSpec(source="runs/7"))
    assert "steps    job.json of runs/7" in job_prose(waiting, None)
    ended = asked(JobSpec(source="runs/7"), outcome=FAILED)
    assert job_prose(ended, None)[-2] == "2     failed   2     0.8s  test"
    assert "steps    none" in job_prose(asked(JobSpec(source="runs/7", steps=())), None)


def test_a_person_sees_a_script_as_far_as_it_is_short() -> None:
    lines = job_prose(asked(JobSpec(script="if true\nthen\n\techo '\x1b[31m'\nfi\n")), None)
    at = lines.index("script (30 B):")
    assert lines[at + 1 :] == ["  if true", "  then", "      echo '\\x1b[31m'", "  fi"]
    long = job_prose(asked(JobSpec(script="echo\n" * 30)), None)
    assert long[-1] == "  and 10 more lines, which --json has"
    wide = job_prose(asked(JobSpec(script="x" * 1000)), None)
    assert max(map(cell_len, wide)) < 200


def test_what_was_kept_is_counted() -> None:
    job = structs.replace(asked(STEPS), artifacts=1200, artifact_bytes=2048)
    assert "artifacts  1,200 files, 2.0 KiB" in job_prose(job, None)
    assert "artifacts  dist/ *.log" in job_prose(asked(STEPS), None)
