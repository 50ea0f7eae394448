"""Rules of scripts, steps and what they leave, broken on purpose."""

from typing import Final

from tests.mutations.mutation import Mutation

STAGES: Final = "tests/worker/attempt/test_stages.py::"
COURSE: Final = "tests/worker/attempt/test_stage_results.py::"

OF_STEPS: Final = (
    Mutation(
        name="a step that begins although one before it has failed",
        promise="processes/steps-run-in-order",
        file="airunner/worker/attempt/execution.py",
        old="                if stage_results.over:\n                    break\n",
        new="",
        test=f"{STAGES}test_steps_run_in_order_and_output_says_whose_it_is",
    ),
    Mutation(
        name="a timeout of the job that a step may go on after",
        promise="processes/steps-run-in-order",
        file="airunner/worker/attempt/stage_results.py",
        old="        if stopped or (status is not StepStatus.SUCCESS and not stage.continue_on_error):\n",
        new="        if status is not StepStatus.SUCCESS and not stage.continue_on_error:\n",
        test=f"{COURSE}test_what_stops_the_job_ends_also_a_step_that_goes_on",
    ),
    Mutation(
        name="a step whose time never runs out",
        promise="processes/steps-run-in-order",
        file="airunner/worker/attempt/stage_run.py",
        old="        self._overdue = True\n        await process.terminate(self._spec.grace_seconds)\n",
        new="        self._overdue = True\n",
        test=f"{STAGES}test_a_steps_timeout_ends_its_tree_and_the_job",
    ),
    Mutation(
        name="a last word before the source is free",
        promise="processes/source-is-free-first",
        file="airunner/worker/attempt/execution.py",
        old="                await workspace.release_folders()\n",
        new="",
        test=f"{STAGES}test_the_source_is_free_before_the_last_word_is_said",
    ),
    Mutation(
        name="a job that did well although what it made is lost",
        promise="processes/kept-or-failed",
        file="airunner/worker/attempt/execution.py",
        old="        if verdict.state is JobState.COMPLETED:\n",
        new="        if False:\n",
        test=f"{STAGES}test_what_a_job_made_and_cannot_be_kept_is_its_failure",
    ),
)
