"""Jobs as tables and as prose."""

import pytest
from msgspec import structs
from rich.cells import cell_len

from airunner.cli.render.jobs import job_prose, job_table
from airunner.cli.render.table import aligned
from airunner.cli.render.work import work_line
from airunner.model.jobs import (
    Instant,
    JobState,
    Lease,
    Millis,
    Outcome,
    Reason,
    TokenDigest,
    WorkerId,
)
from airunner.model.spec import JobSpec
from airunner.model.steps import Step
from airunner.model.wait_reason import WaitReason
from airunner.wire.json.jobs import job_details_json
from tests.wire.json.sample_jobs import FAILED, NOW, STEPS, asked, job


def test_a_job_that_waits_says_why() -> None:
    waiting = WaitReason(queue="default", ahead=3, workers=1, slots=2, busy=2)
    assert job_details_json(job(), waiting)["waiting"] == waiting.explanation
    assert any(waiting.explanation in line for line in job_prose(job(), waiting))


def test_a_job_that_runs_says_which_worker_has_it() -> None:
    lease = Lease(
        token=TokenDigest(b""), worker=WorkerId("w-1"), span=Millis(60_000), until=Instant(NOW)
    )
    running = structs.replace(job(), state=JobState.RUNNING, attempt=2, lease=lease)
    assert job_details_json(running, None)["worker"] == "w-1"
    assert job_prose(running, None)[-1] == "attempt 2  running, by w-1"
    assert job_details_json(job(), None)["worker"] is None


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
    assert work_line(spec) == words
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


def test_a_person_sees_each_step_and_what_came_of_it() -> None:
    lines = job_prose(asked(STEPS, outcome=FAILED), None)
    assert "state      failed: it exited with 2 in step 2 of 3 (test)" in lines
    assert lines[-4:] == [
        "STEP  RESULT   EXIT  TOOK  TITLE",
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
    assert long[-1] == "  and 10 more lines: --json has the whole script"
    wide = job_prose(asked(JobSpec(script="x" * 1000)), None)
    assert max(map(cell_len, wide)) < 200


def test_what_was_kept_is_counted() -> None:
    job = structs.replace(asked(STEPS), artifacts=1200, artifact_bytes=2048)
    assert "artifacts  1,200 files, 2.0 KiB" in job_prose(job, None)
    assert "artifacts  dist/ *.log" in job_prose(asked(STEPS), None)
