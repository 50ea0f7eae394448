"""Steps: shell commands that a job runs one after the other, and what came of each.

A Step that exists is valid. What breaks a rule is named by the step's own field; who reads a
list of steps puts the step's place before it, as in `steps[1].run`.
"""

from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum
from typing import Final

from msgspec import Struct, field

from airunner.model import limits
from airunner.model.errors import InvalidRequest
from airunner.model.validation import (
    check_count,
    check_environment,
    check_printable,
    check_range,
    check_relative_path,
    check_text_size,
    check_total_size,
)

IN_STEP: Final = "in step "  # begins an outcome's error that says first where it came up

_STEP_BYTES: Final = 512  # of memory, besides its texts and with what came of it
_VARIABLE_BYTES: Final = 192  # the same of a variable
_TITLE_CHARS = 100  # of a step's title, where its first line stands for its name


class Step(Struct, frozen=True, kw_only=True):
    """One of a job's shell commands."""

    run: str  # what a shell reads from a file: a line or many
    name: str = ""
    environment: Mapping[str, str] = field(default_factory=dict)  # over the job's
    working_directory: str = ""  # below the workspace; "": the job's
    timeout_seconds: int = 0  # 0 is none but the job's
    continue_on_error: bool = False  # a failure or a timeout of it does not end the job

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
        """Its name, or else its first line, which can be shown in one."""
        if self.name:
            return self.name
        first = self.run.lstrip()[: _TITLE_CHARS + 1].splitlines()[0].rstrip()
        if len(first) > _TITLE_CHARS:
            first = f"{first[: _TITLE_CHARS - 1]}…"
        return "".join(char if char.isprintable() else " " for char in first)


class StepStatus(StrEnum):
    """What came of a step."""

    SUCCESS = "success"
    FAILED = "failed"  # it ended with another code than 0, or could not be started
    SKIPPED = "skipped"  # the job had ended before its turn
    CANCELLED = "cancelled"
    TIMEOUT = "timeout"  # its own or the job's


def check_steps(field: str, steps: Sequence[Step]) -> None:
    """Raise InvalidRequest if these are too many for one job, or say too much together."""
    check_count(field, steps, limits.STEPS_MAX, "STEPS_MAX")
    check_total_size(field, _texts(steps), limits.STEPS_BYTES_MAX, "STEPS_BYTES_MAX")


def memory_bytes(steps: Sequence[Step]) -> int:
    """What steps take in memory, at most."""
    each = sum(_STEP_BYTES + _VARIABLE_BYTES * len(step.environment) for step in steps)
    return each + sum(map(text_bytes, _texts(steps)))


def text_bytes(text: str) -> int:
    """Memory of a text's characters, at most."""
    return len(text) if text.isascii() else 4 * len(text)


def _texts(steps: Sequence[Step]) -> Iterator[str]:
    """All that steps say, in which each is itself within its limits."""
    for each in steps:
        yield each.run
        yield from each.environment
        yield from each.environment.values()
