"""Remarks about the steps of a job: their starts, their ends and the skipped steps."""

from collections.abc import Sequence
from typing import Final

from airunner.cli.render.table import cropped
from airunner.cli.render.terminal_text import coloured, printable
from airunner.model.jobs import StepResult
from airunner.model.reports import StepEnded, StepStarted
from airunner.model.steps import StepStatus
from airunner.model.units import show_duration

_NAME_CELLS: Final = 60  # of a step's name inside a sentence
_NAMES_MAX: Final = 5  # names of skipped steps in a remark
_BOLD: Final = "1"
_COLOURS: Final = {
    StepStatus.SUCCESS: "32",
    StepStatus.FAILED: "31",
    StepStatus.TIMEOUT: "31",
    StepStatus.CANCELLED: "35",
    StepStatus.SKIPPED: "33",
}


def step_started_line(step: StepStarted, total: int | None, *, colour: bool) -> str:
    """Such as "step 1 of 3: build". `total`: the number of steps, None if unknown."""
    line = _step_number(step.index, total) + (f": {step.name}" if step.name else "")
    return coloured(line, _BOLD) if colour else printable(line)


def step_ended_line(step: StepEnded, total: int | None, *, colour: bool) -> str:
    """Such as "step 2 of 3 (test) failed with exit code 2 after 0.3s"."""
    took, code = show_duration(step.duration), step.exit_code
    match step.status:
        case StepStatus.SUCCESS:
            how = f"succeeded in {took}"
        case StepStatus.FAILED:
            how = f"failed after {took}"
            if code is not None:
                how = f"failed with exit code {code} after {took}"
        case StepStatus.TIMEOUT:
            how = f"timed out after {took}"
        case StepStatus.CANCELLED:
            how = f"was cancelled after {took}"
        case StepStatus.SKIPPED:
            how = "was skipped"
    line = f"{_step_number(step.index, total)}{_in_brackets(step.name)} {how}"
    return coloured(line, _COLOURS[step.status]) if colour else printable(line)


def skipped_line(steps: Sequence[StepResult], *, colour: bool) -> str | None:
    """Such as "steps 3 and 4 of 4 were skipped: pack, deploy"; None if no step was skipped."""
    left = [at for at, step in enumerate(steps) if step.status is StepStatus.SKIPPED]
    if not left:
        return None
    names = [cropped(steps[at].name, _NAME_CELLS) for at in left[:_NAMES_MAX]]
    more = f" and {len(left) - len(names)} more" if len(left) > len(names) else ""
    first, last, total = left[0] + 1, left[-1] + 1, len(steps)
    if first == last:
        which = f"step {first} of {total} was"
    elif last - first >= len(left):  # a step between them ran
        which = f"{len(left)} of {total} steps were"
    else:
        which = f"steps {first} {'and' if last == first + 1 else 'to'} {last} of {total} were"
    line = f"{which} skipped: {', '.join(names)}{more}"
    return coloured(line, _COLOURS[StepStatus.SKIPPED]) if colour else printable(line)


def _step_number(index: int, total: int | None) -> str:
    return f"step {index + 1}" if total is None else f"step {index + 1} of {total}"


def _in_brackets(name: str) -> str:
    return f" ({cropped(name, _NAME_CELLS)})" if name else ""
