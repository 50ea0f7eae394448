"""The JSON of jobs."""

import json

from airunner.model.jobs import (
    Outcome,
    Reason,
)
from airunner.model.spec import JobSpec
from airunner.wire.json.jobs import job_details_json, job_json
from tests.wire.json.sample_jobs import FAILED, STEPS, asked, job


def test_a_job_in_line_has_neither_exit_code_nor_reason() -> None:
    said = job_json(job())
    assert (said["id"], said["state"], said["queue"]) == ("id-1", "scheduled", "default")
    assert (said["attempt"], said["exit_code"], said["reason"]) == (1, None, None)


def test_a_finished_job_says_how_it_ended() -> None:
    said = job_json(job(outcome=Outcome(reason=Reason.EXITED, exit_code=3)))
    assert (said["state"], said["exit_code"], said["reason"]) == ("failed", 3, "exited")


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
    said = job_details_json(asked(STEPS, outcome=FAILED), None)
    results = said["step_results"]
    assert isinstance(results, list)
    assert [(each["status"], each["exit_code"], each["duration_ms"]) for each in results] == [
        ("success", 0, 1200),
        ("failed", 2, 800),
        ("skipped", None, None),
    ]
    assert results[0]["started_at"] == "2030-03-17T17:46:38.000Z"
    assert (said["artifacts_kept"], said["artifact_bytes"]) == (0, 0)
    assert job_details_json(asked(STEPS), None)["step_results"] == []
    assert json.loads(json.dumps(said)) == said
