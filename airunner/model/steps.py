"""Steps: the shell commands that a job runs in sequence, and the status of each.

A Step validates itself on construction. InvalidRequest names the field of the step; the
reader of a list of steps prefixes the step's place, as in `steps[1].run`.
"""

from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum
from typing import Final

from msgspec import Struct, field

from airunner.model import limits
from airunner.model.errors import InvalidRequest
from airunner.model.units import PAIR_BYTES, TEXT_BYTES, text_bytes
from airunner.model.validation import (
    check_count,
    check_environment,
    check_printable,
    check_range,
    check_relative_path,
    check_text_size,
    check_total_size,
)

IN_STEP: Final = "in step "  # prefix of an outcome's error that a step caused

_STEP_BYTES: Final = 512  # memory of a step and its result, without its texts
_TITLE_CHARS = 100  # longest title made from a step's first line


class StepCondition(StrEnum):
    """The state of a job in which a step runs. After a cancel or the job's timeout, no step runs."""

    ON_SUCCESS = "on_success"  # no earlier step has failed the job
    ON_FAILURE = "on_failure"  # an earlier step has failed the job
    ALWAYS = "always"


class Step(Struct, frozen=True, kw_only=True):
    """One step of a job: shell commands with their own environment, folder and timeout."""

    run: str  # shell commands, one line or many, run from a file
    name: str = ""
    environment: Mapping[str, str] = field(default_factory=dict)  # overrides the job's variables
    working_directory: str = ""  # relative to the workspace; "": the job's
    timeout_seconds: int = 0  # 0: none but the job's
    continue_on_error: bool = False  # the job goes on after a failure or timeout of the step
    when: StepCondition = StepCondition.ON_SUCCESS
    background: bool = False  # processes of the step may live until the job ends

    def __post_init__(self) -> None:
        if not self.run.strip():
            raise InvalidRequest("run", "is empty: say what to run")
        check_text_size("run", self.run, limits.SCRIPT_BYTES_MAX, "SCRIPT_BYTES_MAX")
        if self.name:
            check_printable("name", self.name, limits.NAME_BYTES_MAX, "NAME_BYTES_MAX")
        if self.environment:
            check_environment("environment", self.environment)
        if self.working_directory:
            check_relative_path("working_directory", self.working_directory)
        check_range("timeout_seconds", self.timeout_seconds, 0, limits.TIMEOUT_SECONDS_MAX, "s")

    @property
    def title(self) -> str:
        """The name, or else the first line of the commands, printable and shortened."""
        if self.name:
            return self.name
        first = self.run.lstrip()[: _TITLE_CHARS + 1].splitlines()[0].rstrip()
        if len(first) > _TITLE_CHARS:
            first = f"{first[: _TITLE_CHARS - 1]}…"
        return "".join(char if char.isprintable() else " " for char in first)


def read_condition(field: str, name: str) -> StepCondition:
    """The condition with this name; "" is the default. Raises InvalidRequest."""
    if name and name not in list(StepCondition):
        raise InvalidRequest(field, f"is not one of {', '.join(StepCondition)}")
    return StepCondition(name or StepCondition.ON_SUCCESS)


class StepStatus(StrEnum):
    """The final status of a step."""

    SUCCESS = "success"
    FAILED = "failed"  # the exit code was not 0, or the step could not be started
    SKIPPED = "skipped"  # the job ended before the step started, or its condition was not met
    CANCELLED = "cancelled"
    TIMEOUT = "timeout"  # the step's or the job's


def check_steps(field: str, steps: Sequence[Step]) -> None:
    """Raise InvalidRequest if the steps are too many for one job or too large together."""
    check_count(field, steps, limits.STEPS_MAX, "STEPS_MAX")
    check_total_size(field, _texts(steps), limits.STEPS_BYTES_MAX, "STEPS_BYTES_MAX")


def memory_bytes(steps: Sequence[Step]) -> int:
    """An upper bound of the memory that steps take."""
    fixed = sum(
        _STEP_BYTES + (PAIR_BYTES + 2 * TEXT_BYTES) * len(step.environment) for step in steps
    )
    return fixed + sum(map(text_bytes, _texts(steps)))


def _texts(steps: Sequence[Step]) -> Iterator[str]:
    """The texts of steps that have a limit together: commands, names and values of variables."""
    for each in steps:
        yield each.run
        yield from each.environment
        yield from each.environment.values()
