"""A job.json gives steps and patterns, and an error in it is reported with its position."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from airunner.model import limits
from airunner.model.spec import JobSpec
from airunner.model.steps import Step
from airunner.system.descent import FOLDER
from airunner.worker.workspace.sources.job_json import parse_job_json, read_job_json
from airunner.worker.workspace.workspace import SetupFailed
from tests.promises import promise

SPEC = JobSpec(source="job")


@pytest.fixture
def source(tmp_path: Path) -> Iterator[int]:
    descriptor = os.open(tmp_path, FOLDER)
    yield descriptor
    os.close(descriptor)


def test_steps_and_patterns_are_read(tmp_path: Path, source: int) -> None:
    said = {
        "steps": [
            "make",
            {"name": "test", "run": "make test", "timeout": "1m30s", "continueOnError": True},
            {"run": "ls", "workingDirectory": "src", "environment": {"A": "b"}, "timeout": 7},
        ],
        "artifacts": ["build/", "!build/tmp"],
    }
    (tmp_path / "job.json").write_text(json.dumps(said))
    job_json = read_job_json(source, SPEC)
    assert job_json.steps == (
        Step(run="make"),
        Step(run="make test", name="test", timeout_seconds=90, continue_on_error=True),
        Step(run="ls", working_directory="src", environment={"A": "b"}, timeout_seconds=7),
    )
    assert job_json.artifacts == ("build/", "!build/tmp")
    assert job_json.remarks == ()


def test_no_steps_are_steps(source: int) -> None:
    assert parse_job_json(b'{"steps": []}', SPEC).steps == ()


def test_a_byte_order_mark_is_none_of_it() -> None:
    assert parse_job_json(b'\xef\xbb\xbf{"steps": ["make"]}', SPEC).steps == (Step(run="make"),)


def test_a_key_that_is_not_known_is_remarked_and_not_refused() -> None:
    job_json = parse_job_json(b'{"steps": [], "artefacts": ["x"], "$schema": "y"}', SPEC)
    assert job_json.remarks == (
        "job.json: a job.json has no key 'artefacts', which is ignored: did you mean artifacts?",
        "job.json: a job.json has no key '$schema', which is ignored; it may have steps, artifacts",
    )


@promise(
    "sources/errors-have-a-place",
    "An error in a `job.json` names its place, and comes before anything is copied.",
)
@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            '{\n  "steps": [\n    "make" "x"\n  ]\n}',
            "job.json:3:12: this is not JSON: Expecting ','",
        ),
        ("", "job.json:1:1: this is not JSON"),
        ('{"steps": ["make"],}', "job.json:1:20: this is not JSON"),
        ("[]", "job.json:1:1: must be an object"),
        ("{}", 'job.json has no "steps": say what to run'),
        ('{"steps": "make"}', "job.json: steps: must be a list"),
        ('{"steps": [], "steps": []}', "job.json: the key 'steps' is in an object more than once"),
        ('{"steps": [{"run": "a", "run": "b"}]}', "job.json: the key 'run' is in an object more"),
        ('{"steps": ["a", {"run": "b", "timeout": "soon"}]}', "job.json: steps[1].timeout: 'soon'"),
        ('{"steps": [{"run": "a", "timeuot": 3}]}', "did you mean timeout?"),
        ('{"steps": [{"name": "a"}]}', "job.json: steps[0]: has no `run`"),
        ('{"steps": [{"run": "a", "workingDirectory": "../x"}]}', "steps[0].workingDirectory"),
        ('{"steps": [{"run": "a", "timeout": NaN}]}', "job.json: NaN is not JSON"),
        (
            '{"steps": [{"run": "a", "timeout": -1}]}',
            "job.json: steps[0].timeout: -1 is not within",
        ),
        ('{"steps": ["\\ud800"]}', "job.json: steps[0].run: has bytes in it that are not UTF-8"),
        ('{"steps": ["a\\u0000b"]}', "job.json: steps[0].run: has a NUL"),
        ('{"steps": [], "artifacts": "x"}', "job.json: artifacts: must be a list of patterns"),
        ('{"steps": [], "artifacts": ["x", 3]}', "job.json: artifacts[1]: must be text"),
        ('{"steps": [], "artifacts": ["../x"]}', "job.json: artifacts: '../x' is not a pattern"),
        ('{"steps": ' + "[" * 100_000, "job.json is nested too deeply"),
        ('{"steps": [], "a": ' + "9" * 5_000 + "}", "job.json: Exceeds the limit"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(text: str, said: str) -> None:
    with pytest.raises(SetupFailed) as caught:
        parse_job_json(text.encode(), SPEC)
    assert said in str(caught.value)


def test_the_limits_of_a_job_hold_for_what_it_brings() -> None:
    many = json.dumps({"steps": ["x"] * (limits.STEPS_MAX + 1)}).encode()
    with pytest.raises(SetupFailed, match=r"job.json: steps: has 257 entries, more than STEPS_MAX"):
        parse_job_json(many, SPEC)


def test_bytes_that_are_no_text_are_told_so() -> None:
    with pytest.raises(SetupFailed, match=r"job.json is not UTF-8 text at byte 12"):
        parse_job_json(b'{"steps": ["\xff"]}'.replace(b'["', b'"'), SPEC)


def test_a_source_without_one_says_what_the_job_lacks(source: int) -> None:
    with pytest.raises(
        SetupFailed,
        match=r"nothing to run: give it a command, .* or put a job.json into its source",
    ):
        read_job_json(source, SPEC)


def test_one_that_is_too_large_is_not_read(tmp_path: Path, source: int) -> None:
    with (tmp_path / "job.json").open("wb") as file:
        file.truncate(limits.JOB_FILE_BYTES_MAX + 1)
    with pytest.raises(SetupFailed, match=r"JOB_FILE_BYTES_MAX"):
        read_job_json(source, SPEC)


def test_one_that_is_no_file_leads_nowhere_and_holds_nobody_up(tmp_path: Path, source: int) -> None:
    job, outside = tmp_path / "job.json", tmp_path / "outside"
    outside.write_text('{"steps": []}')
    job.symlink_to(outside)
    with pytest.raises(SetupFailed, match=r"job.json of the source: it is a link"):
        read_job_json(source, SPEC)
    job.unlink()
    os.mkfifo(job)
    with pytest.raises(SetupFailed, match=r"it is no regular file"):
        read_job_json(source, SPEC)
    job.unlink()
    job.mkdir()
    with pytest.raises(SetupFailed, match=r"it is no regular file"):
        read_job_json(source, SPEC)
