"""Commands, scripts and steps of a job, and the reader of a list of steps."""

import tracemalloc
from collections.abc import Callable
from typing import Any

import pytest

from airunner.jobfile.steps import STEP_KEYS, read_steps, suggestion
from airunner.model import limits
from airunner.model.errors import InvalidRequest
from airunner.model.jobs import Instant, Outcome, Reason, StepResult
from airunner.model.spec import JobSpec, first_difference
from airunner.model.steps import Step, StepStatus, check_steps
from tests.promises import holds

ONE = (Step(run="make"),)
SMALL_BYTES = 64 * limits.KIB  # memory of a job without its script or steps, at most


def refused(make: Callable[[], object]) -> InvalidRequest:
    with pytest.raises(InvalidRequest) as refusal:
        make()
    return refusal.value


# One of three


@pytest.mark.parametrize(
    "asked",
    [
        {"command": "make"},
        {"script": "make"},
        {"steps": ONE},
        {"steps": ()},
        {"source": "a"},
        {"source": "a", "command": "make"},
        {"source": "a", "script": "make"},
        {"source": "a", "steps": ()},
        {"source": "a", "shell": "sh"},
        {"script": "make", "repository": "/r", "shell": "bash -eu -o pipefail"},
        {"steps": ONE, "shell": "'/opt/my shell/sh'"},
    ],
)
def test_what_a_job_may_be(asked: dict[str, Any]) -> None:
    JobSpec(**asked)


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        ({}, "command: is empty: name the program to run"),
        ({"repository": "/r"}, "command: is empty: name the program to run"),
        (
            {"command": "x", "script": "y"},
            "script: there is a command already: a job is a command, a script, or steps",
        ),
        (
            {"command": "x", "steps": ()},
            "steps: there is a command already: a job is a command, a script, or steps",
        ),
        (
            {"script": "x", "steps": ()},
            "steps: there is a script already: a job is a command, a script, or steps",
        ),
        ({"script": " \n\t"}, "script: is empty: say what to run"),
        ({"script": "x", "args": ("y",)}, "args: belong to a command, and there is none"),
        ({"source": "x", "args": ("y",)}, "args: belong to a command, and there is none"),
        (
            {"command": "x", "shell": "sh"},
            "shell: means nothing to a command: leave it out, or use script",
        ),
        ({"script": "x", "shell": " "}, "shell: is not a program and its options, as in"),
        ({"script": "x", "shell": "'"}, "shell: is not a program and its options, as in"),
        ({"script": "x", "shell": "'' -e"}, "shell: is not a program and its options, as in"),
        ({"script": "x", "shell": "sh\n-e"}, "shell: has characters in it that cannot be shown"),
        (
            {"command": "x", "source": "a", "repository": "/r"},
            "source: there is a repository already: a job has one of them at most",
        ),
        ({"command": "x", "name": "two\nlines"}, "name: has characters in it that cannot be shown"),
    ],
)
def test_what_it_may_not(asked: dict[str, Any], sentence: str) -> None:
    assert str(refused(lambda: JobSpec(**asked))).startswith(sentence)


def test_steps_that_differ_make_another_job_and_none_are_not_the_same_as_empty_ones() -> None:
    one = JobSpec(source="a", steps=ONE)
    assert first_difference(one, JobSpec(source="a", steps=(Step(run="make"),))) is None
    assert first_difference(one, JobSpec(source="a", steps=(Step(run="make test"),))) == "steps"
    assert first_difference(JobSpec(source="a"), JobSpec(source="a", steps=())) == "steps"


# Sources and artifacts


@pytest.mark.parametrize("path", ["a", "0190-ab", "team/one job", "a..b/..c", "\u00e9"])
def test_what_may_be_a_source(path: str) -> None:
    assert JobSpec(source=path).source == path


@pytest.mark.parametrize("path", ["/a", "..", "a/../b", "a/..", ".", "./a", "a//b", "a/", "a\nb"])
def test_what_may_not_be_a_source(path: str) -> None:
    assert refused(lambda: JobSpec(source=path)).field == "source"


@pytest.mark.parametrize("pattern", ["*.log", "/build/", "!x", "a b", "\\!x", "\\\\", "a\\ ", "**"])
def test_what_may_be_a_pattern_of_artifacts(pattern: str) -> None:
    assert JobSpec(command="x", artifacts=(pattern,)).artifacts == (pattern,)


@pytest.mark.parametrize(
    "pattern", ["", " ", "!", "! ", "..", "../x", "a/..", "\\", "a\\/b", "\\  "]
)
def test_what_may_not_be_a_pattern(pattern: str) -> None:
    assert refused(lambda: JobSpec(command="x", artifacts=("fine", pattern))).field == "artifacts"


# Steps


@pytest.mark.parametrize(
    ("field", "asked", "sentence"),
    [
        ("run", {"run": ""}, "is empty: say what to run"),
        ("run", {"run": "\n"}, "is empty: say what to run"),
        ("run", {"run": "a\0"}, "has a NUL character in it"),
        ("name", {"name": "a\tb"}, "has characters in it that cannot be shown in a line"),
        ("environment", {"environment": {"a-b": ""}}, "'a-b' is not a variable name"),
        ("working_directory", {"working_directory": "/a"}, "is not a path below the workspace"),
        ("working_directory", {"working_directory": "a/.."}, "is not a path below the workspace"),
        ("timeout_seconds", {"timeout_seconds": -1}, "-1 is not within 0 to"),
    ],
)
def test_a_step_that_breaks_a_rule_is_refused_by_its_field(
    field: str, asked: dict[str, Any], sentence: str
) -> None:
    refusal = refused(lambda: Step(**{"run": "make", **asked}))
    assert refusal.field == field
    assert refusal.why.startswith(sentence)


@pytest.mark.parametrize(
    ("run", "title"),
    [
        ("make test", "make test"),
        ("\n  make \ntest\n", "make"),
        ("x" * 100, "x" * 100),
        ("x" * 101, "x" * 99 + "\u2026"),
        ("a\tb\x1b[1mc", "a b [1mc"),
        ("a\u2028b", "a"),
    ],
)
def test_a_step_without_a_name_is_called_by_its_first_line(run: str, title: str) -> None:
    assert Step(run=run).title == title
    assert Step(run=run, name="named").title == "named"


def test_all_that_steps_say_counts_together() -> None:
    most = Step(run="x" * (limits.STEPS_BYTES_MAX - 3), environment={"A": "12"})
    check_steps("steps", [most])
    wrong = refused(lambda: JobSpec(steps=(most, Step(run="x"))))
    assert str(wrong).startswith("steps: takes 4194305 bytes, more than STEPS_BYTES_MAX")


# A file of steps


def test_steps_are_read_from_what_yaml_and_json_make_of_them() -> None:
    full = Step(
        run="make test",
        name="test",
        environment={"CI": "true"},
        working_directory="src",
        timeout_seconds=600,
        continue_on_error=True,
    )
    said = {
        "name": "test",
        "run": "make test",
        "environment": {"CI": "true"},
        "workingDirectory": "src",
    }
    as_yaml = {**said, "timeout": "10m", "continueOnError": "true"}
    as_json = {**said, "timeout": 600, "continueOnError": True}
    assert read_steps(["make", as_yaml, as_json]) == (Step(run="make"), full, full)
    assert read_steps([]) == ()
    bare = dict.fromkeys(STEP_KEYS, None) | {"run": "make"}
    assert read_steps([bare]) == (Step(run="make"),)


@pytest.mark.parametrize("said", [True, "true", "Yes", "on"])
def test_ways_to_say_yes(said: object) -> None:
    assert read_steps([{"run": "x", "continueOnError": said}])[0].continue_on_error


@pytest.mark.parametrize("said", [False, "false", "No", "off", None])
def test_ways_to_say_no(said: object) -> None:
    assert not read_steps([{"run": "x", "continueOnError": said}])[0].continue_on_error


@holds("server/memory-is-bounded")
def test_results_of_steps_count_as_no_less_than_they_take_in_memory() -> None:
    def result(number: int) -> StepResult:
        return StepResult(
            name=f"☃ {number}",
            status=StepStatus.SUCCESS,
            exit_code=number + 1_000,
            started_at=Instant(2**40 + number),
            ended_at=Instant(2**41 + number),
        )

    tracemalloc.start()
    try:
        outcome = Outcome(reason=Reason.EXITED, steps=tuple(map(result, range(limits.STEPS_MAX))))
        taken, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert taken < outcome.steps_bytes
    assert Outcome(reason=Reason.EXITED, steps=outcome.steps[:2]).steps_bytes == 0


@holds("server/memory-is-bounded")
@pytest.mark.parametrize("of", ["steps", "variables", "texts", "letters"])
def test_steps_count_as_no_less_than_they_take_in_memory_with_their_results(of: str) -> None:
    variables = 100 if of == "variables" else 0
    repeated = {"texts": "x", "letters": "☃"}.get(of, "") * 2_000
    tracemalloc.start()
    try:
        spec = JobSpec(
            steps=tuple(
                Step(
                    run=f"{number} {repeated}",
                    environment={f"NAME_{each}": f"{number} {each}" for each in range(variables)},
                )
                for number in range(limits.STEPS_MAX)
            )
        )
        results = [
            StepResult(
                name=f"name {number}",
                status=StepStatus.SUCCESS,
                exit_code=number,
                started_at=Instant(2**40 + number),
                ended_at=Instant(2**41 + number),
            )
            for number in range(limits.STEPS_MAX)
        ]
        taken, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(results) == limits.STEPS_MAX
    assert taken < spec.spec_bytes + SMALL_BYTES


@pytest.mark.parametrize(
    ("said", "sentence"),
    [
        (None, "steps: must be a list of shell commands, or of steps with `run`"),
        ("make", "steps: must be a list of shell commands, or of steps with `run`"),
        ({"run": "make"}, "steps: must be a list of shell commands, or of steps with `run`"),
        (["make", 5], "steps[1]: must be a shell command, or a step with `run`"),
        (["make", ["x"]], "steps[1]: must be a shell command, or a step with `run`"),
        ([{}], "steps[0]: has no `run`: say what to run"),
        ([{"run": None}], "steps[0]: has no `run`: say what to run"),
        ([""], "steps[0].run: is empty: say what to run"),
        ([{"run": ["make"]}], "steps[0].run: must be text"),
        ([{"run": "x", "name": 5}], "steps[0].name: must be text"),
        (
            [{"run": "x", "timout": 5}],
            "steps[0].timout: a step has no key 'timout': did you mean timeout?",
        ),
        ([{"run": "x", 5: 5}], "steps[0].5: a step has no key 5; it may have name, run, "),
        (["x", {"run": "x", "timeout": "soon"}], "steps[1].timeout: 'soon' is not a duration: "),
        ([{"run": "x", "timeout": 1.5}], "steps[0].timeout: '1.5' is not a duration: "),
        ([{"run": "x", "timeout": True}], "steps[0].timeout: 'True' is not a duration: "),
        ([{"run": "x", "timeout": -5}], "steps[0].timeout: -5 is not within 0 to "),
        ([{"run": "x", "timeout": 10**30}], "steps[0].timeout: 1000000000000000000000000000000 "),
        ([{"run": "x", "continueOnError": "maybe"}], "steps[0].continueOnError: must be true or "),
        ([{"run": "x", "continueOnError": 1}], "steps[0].continueOnError: must be true or false"),
        (
            [{"run": "x", "workingDirectory": "/x"}],
            "steps[0].workingDirectory: is not a path below the workspace",
        ),
        ([{"run": "x", "environment": ["A=1"]}], "steps[0].environment: must be names and values"),
        (
            [{"run": "x", "environment": {"A": 1}}],
            "steps[0].environment.A: must be text: write it in quotes",
        ),
        (
            [{"run": "x", "environment": {5: "1"}}],
            "steps[0].environment.5: must be text: write it in quotes",
        ),
        (
            [{"run": "x", "environment": {"A B": "1"}}],
            "steps[0].environment: 'A B' is not a variable name",
        ),
        (["x"] * 257, "steps: has 257 entries, more than STEPS_MAX (256)"),
        (["x" * 2**21] * 3, "steps: takes 6291456 bytes, more than STEPS_BYTES_MAX"),
        (
            [{"run": "x", "when": "sometimes"}],
            "steps[0].when: is not one of on_success, on_failure, always",
        ),
    ],
)
def test_a_mistake_in_a_file_of_steps_is_named_with_its_place(said: object, sentence: str) -> None:
    assert str(refused(lambda: read_steps(said))).startswith(sentence)


def test_steps_elsewhere_in_a_file_have_their_own_place() -> None:
    assert refused(lambda: read_steps([{"run": "x", "name": "\n"}], "job.steps")).field == (
        "job.steps[0].name"
    )


def test_a_key_that_is_like_no_other_is_answered_with_all_there_are() -> None:
    assert suggestion("zzz", ["run", "name"]) == "; it may have run, name"
    assert suggestion("nmae", ["run", "name"]) == ": did you mean name?"
    assert suggestion("name" * 1_000_000, ["run", "name"]) == "; it may have run, name"
