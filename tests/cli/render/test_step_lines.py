"""Remarks about steps."""

import pytest

from airunner.cli.render.step_lines import skipped_line, step_ended_line, step_started_line
from airunner.model.jobs import Millis, StepResult
from airunner.model.reports import StepEnded, StepStarted
from airunner.model.steps import StepStatus


def end(status: StepStatus, code: int | None = None, name: str = "test") -> StepEnded:
    return StepEnded(1, name, status, code, Millis(300))


def results(*statuses: StepStatus) -> list[StepResult]:
    return [StepResult(name=f"n{at}", status=status) for at, status in enumerate(statuses, 1)]


def test_a_step_begins_with_its_place_and_name() -> None:
    assert step_started_line(StepStarted(0, "build"), 3, colour=False) == "step 1 of 3: build"
    assert step_started_line(StepStarted(0, "build"), None, colour=False) == "step 1: build"
    assert step_started_line(StepStarted(0, ""), 2, colour=False) == "step 1 of 2"


@pytest.mark.parametrize(
    ("step", "said"),
    [
        (end(StepStatus.SUCCESS, 0), "succeeded in 0.3s"),
        (end(StepStatus.FAILED, 2), "failed with exit code 2 after 0.3s"),
        (end(StepStatus.FAILED), "failed after 0.3s"),
        (end(StepStatus.TIMEOUT, 143), "timed out after 0.3s"),
        (end(StepStatus.CANCELLED), "was cancelled after 0.3s"),
        (end(StepStatus.SKIPPED), "was skipped"),
    ],
    ids=lambda value: value.status if isinstance(value, StepEnded) else "",
)
def test_a_step_ends_with_what_came_of_it(step: StepEnded, said: str) -> None:
    assert step_ended_line(step, 3, colour=False) == f"step 2 of 3 (test) {said}"


def test_a_long_name_is_cut_inside_a_sentence() -> None:
    assert len(step_ended_line(end(StepStatus.SUCCESS, 0, "x" * 200), 3, colour=False)) < 100


def test_a_name_cannot_talk_to_the_terminal() -> None:
    name = "\x1b]0;title\x07\r"
    said = (
        step_started_line(StepStarted(0, name), 1, colour=False),
        step_ended_line(end(StepStatus.FAILED, 1, name), 1, colour=False),
    )
    assert all(each.isprintable() for each in said)


def test_colours_are_for_terminals() -> None:
    assert (
        step_started_line(StepStarted(0, "build"), 3, colour=True)
        == "\x1b[1mstep 1 of 3: build\x1b[0m"
    )
    assert step_ended_line(end(StepStatus.SUCCESS, 0), 3, colour=True).startswith("\x1b[32m")


OK, NO, LEFT = StepStatus.SUCCESS, StepStatus.FAILED, StepStatus.SKIPPED


@pytest.mark.parametrize(
    ("statuses", "said"),
    [
        ((OK, NO), None),
        ((OK, NO, LEFT), "step 3 of 3 was skipped: n3"),
        ((LEFT, NO, LEFT, OK), "2 of 4 steps were skipped: n1, n3"),
        ((NO, LEFT, LEFT), "steps 2 and 3 of 3 were skipped: n2, n3"),
        (
            (NO, *[LEFT] * 7),
            "steps 2 to 8 of 8 were skipped: n2, n3, n4, n5, n6 and 2 more",
        ),
    ],
)
def test_skipped_steps_are_listed(statuses: tuple[StepStatus, ...], said: str | None) -> None:
    assert skipped_line(results(*statuses), colour=False) == said
