"""The outcome of a job from the results of its stages."""

import pytest

from airunner.model.jobs import Instant, JobState, Outcome, Reason
from airunner.model.spec import JobSpec
from airunner.model.steps import Step, StepStatus
from airunner.worker.attempt.stage_results import StageExit, StageNotStarted, StageResults
from airunner.worker.attempt.stages import interpreters, plan
from airunner.worker.attempt.stop import StopReason
from airunner.worker.process import Exit
from tests.promises import holds

SUCCESS, FAILED, SKIPPED = StepStatus.SUCCESS, StepStatus.FAILED, StepStatus.SKIPPED
CANCELLED, TIMEOUT = StepStatus.CANCELLED, StepStatus.TIMEOUT


def candidates(script: str, **fields: object) -> tuple[tuple[str, ...], ...]:
    spec = JobSpec(script=script, **fields)  # type: ignore[arg-type]  # a test's
    return interpreters(spec, script).candidates


def course(*steps: Step, **fields: object) -> StageResults:
    spec = JobSpec(steps=steps, **fields)  # type: ignore[arg-type]  # a test's
    return StageResults(plan(spec, lambda: ()), spec.timeout_seconds)


def ran(
    code: int = 0,
    *,
    signal: int | None = None,
    why: StopReason | None = None,
    overdue: bool = False,
    at: int = 0,
) -> StageExit:
    return StageExit(
        exit=Exit(code, signal),
        why=why,
        overdue=overdue,
        started_at=Instant(at),
        ended_at=Instant(at + 5),
    )


def play(it: StageResults, *came: StageExit | StageNotStarted) -> tuple[list[StepStatus], Outcome]:
    """Records the ends of the stages, until no further stage runs."""
    for stage, each in zip(it.stages, came, strict=False):
        it.record(stage, each)
        if it.over:
            break
    return [result.status for result in it.results()], it.outcome()


def test_a_command_is_a_plan_of_one_stage_and_has_no_steps() -> None:
    spec = JobSpec(command="make", args=("a b",), working_directory="src")
    (stage,) = plan(spec, lambda: ())
    assert (stage.command, stage.argv, stage.directory) == ("make 'a b'", ("make", "a b"), "src")
    it = StageResults((stage,), 0)
    it.record(stage, ran(3, at=7))
    outcome = it.outcome()
    assert (outcome.reason, outcome.exit_code, outcome.steps) == (Reason.EXITED, 3, ())
    assert (outcome.started_at, outcome.ended_at) == (7, 12)


def test_a_script_is_one_stage_for_a_shell() -> None:
    (stage,) = plan(JobSpec(script="echo hello"), lambda: ())
    assert (stage.text, stage.argv, stage.step) == ("echo hello", (), None)


def test_steps_say_where_they_run_or_the_job_does() -> None:
    steps = (Step(run="one"), Step(run="two", working_directory="b"))
    stages = plan(JobSpec(steps=steps, working_directory="a"), lambda: ())
    assert [stage.directory for stage in stages] == ["a", "b"]
    assert [stage.step for stage in stages] == [0, 1]


def test_steps_of_the_job_win_over_those_that_its_source_brings() -> None:
    def brought() -> tuple[Step, ...]:
        return (Step(run="brought"),)

    assert [each.text for each in plan(JobSpec(source="a"), brought)] == ["brought"]
    said = JobSpec(source="a", steps=(Step(run="said"),))
    assert [each.text for each in plan(said, brought)] == ["said"]
    assert plan(JobSpec(source="a", steps=()), brought) == ()


def test_a_shell_is_what_the_job_says_or_the_first_that_there_is() -> None:
    assert candidates("x") == (("bash",), ("sh",))
    assert candidates("x", shell="bash -eu -o 'pipefail'") == (("bash", "-eu", "-o", "pipefail"),)
    assert candidates("x", strict=True) == (("bash", "-e", "-o", "pipefail"), ("sh", "-e"))


def test_a_shebang_names_the_interpreter_with_one_argument_as_for_the_kernel() -> None:
    assert candidates("#!/usr/bin/env  python3\nx", strict=True) == (("/usr/bin/env", "python3"),)
    assert candidates("#! /bin/sed -n -e p \r\nx") == (("/bin/sed", "-n -e p"),)
    assert candidates("#!/bin/sh") == (("/bin/sh",),)
    assert candidates("#!/bin/sh\nx", shell="dash") == (("dash",),)
    for text in ("#!\nx", "#! \n/bin/sh", " #!/bin/sh\nx", "# !/bin/sh"):
        assert candidates(text) == (("bash",), ("sh",))


def test_steps_that_all_succeed_are_a_success() -> None:
    statuses, outcome = play(course(Step(run="a"), Step(run="b")), ran(at=1), ran(at=20))
    assert statuses == [SUCCESS, SUCCESS]
    assert (outcome.state, outcome.exit_code) == (JobState.COMPLETED, 0)
    assert (outcome.started_at, outcome.ended_at) == (1, 25)


def test_no_steps_at_all_are_a_success() -> None:
    statuses, outcome = play(course())
    assert statuses == []
    assert (outcome.state, outcome.exit_code) == (JobState.COMPLETED, 0)


@holds("processes/steps-run-in-order")
def test_the_first_failure_ends_the_job_with_its_exit_code() -> None:
    it = course(Step(run="a"), Step(run="b", name="test"), Step(run="c"))
    statuses, outcome = play(it, ran(), ran(3), ran())
    assert statuses == [SUCCESS, FAILED, SKIPPED]
    assert (outcome.reason, outcome.exit_code) == (Reason.EXITED, 3)
    assert outcome.error == "in step 2 of 3 (test)"
    assert [result.exit_code for result in outcome.steps] == [0, 3, None]


def test_a_step_that_goes_on_leaves_its_failure_to_itself() -> None:
    it = course(Step(run="a", continue_on_error=True), Step(run="b"))
    statuses, outcome = play(it, ran(3), ran())
    assert statuses == [FAILED, SUCCESS]
    assert (outcome.state, outcome.exit_code, outcome.error) == (JobState.COMPLETED, 0, "")


def test_a_step_that_goes_on_leaves_a_timeout_of_its_own_to_itself() -> None:
    it = course(Step(run="a", continue_on_error=True, timeout_seconds=5), Step(run="b"))
    statuses, outcome = play(it, ran(143, signal=15, overdue=True), ran())
    assert statuses == [TIMEOUT, SUCCESS]
    assert outcome.state is JobState.COMPLETED


def test_a_steps_timeout_is_the_jobs_and_names_the_step() -> None:
    it = course(Step(run="a", timeout_seconds=5), Step(run="b"), timeout_seconds=60)
    statuses, outcome = play(it, ran(143, signal=15, overdue=True))
    assert statuses == [TIMEOUT, SKIPPED]
    assert outcome.reason is Reason.TIMEOUT
    assert "step 1 of 2 (a): the step ran longer than its timeout of 5 s" in outcome.error


@pytest.mark.parametrize(
    ("why", "status", "reason"),
    [
        (StopReason.CANCEL, CANCELLED, Reason.CANCELLED),
        (StopReason.TIMEOUT, TIMEOUT, Reason.TIMEOUT),
    ],
)
def test_what_stops_the_job_ends_also_a_step_that_goes_on(
    why: StopReason, status: StepStatus, reason: Reason
) -> None:
    it = course(Step(run="a", continue_on_error=True), Step(run="b"), timeout_seconds=9)
    statuses, outcome = play(it, ran(0, why=why))
    assert statuses == [status, SKIPPED]
    assert (outcome.reason, outcome.exit_code) == (reason, 0)


def test_a_step_that_cannot_be_started_has_failed() -> None:
    missing = StageNotStarted(reason=Reason.NOT_FOUND, error="there is no zsh", exit_code=127)
    statuses, outcome = play(course(Step(run="a"), Step(run="b")), missing)
    assert statuses == [FAILED, SKIPPED]
    assert (outcome.reason, outcome.exit_code) == (Reason.NOT_FOUND, 127)
    assert outcome.error == "in step 1 of 2 (a): there is no zsh"
    assert outcome.started_at is None


def test_a_step_that_a_signal_ended_says_so() -> None:
    _, outcome = play(course(Step(run="a")), ran(137, signal=9))
    assert (outcome.reason, outcome.exit_code, outcome.signal) == (Reason.SIGNALED, 137, 9)


def test_a_job_that_is_stopped_between_two_steps_skips_the_rest() -> None:
    it = course(Step(run="a"), Step(run="b"))
    it.record(it.stages[0], ran(at=3))
    outcome = it.outcome(Outcome(reason=Reason.CANCELLED, error="cancelled"))
    assert outcome.reason is Reason.CANCELLED
    assert [result.status for result in outcome.steps] == [SUCCESS, SKIPPED]
    assert outcome.started_at == 3


def test_summaries_have_the_whole_command() -> None:
    it = course(Step(run="echo one\necho two", name="both"))
    it.record(it.stages[0], ran())
    (summary,) = it.summaries()
    assert (summary.command, summary.name) == ("echo one\necho two", "both")
    assert course(Step(run="echo one")).summaries()[0].name == ""
