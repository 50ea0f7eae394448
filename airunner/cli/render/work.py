"""The work of a job for people: its command, script or steps, and the results of the steps."""

import shlex
from collections.abc import Iterator, Sequence
from typing import Final

from airunner.cli.render.table import aligned, cropped
from airunner.cli.render.terminal_text import printable
from airunner.model.jobs import Job, StepResult
from airunner.model.spec import JobSpec
from airunner.model.steps import Step
from airunner.model.units import show_count, show_duration, show_size
from airunner.wire.json.results import step_duration

_TITLE_CELLS: Final = 60  # of one step's title
_SCRIPT_LINES: Final = 20  # of a script that `show` prints
_SCRIPT_CELLS: Final = 160  # of each of these lines
_TAB: Final = 4
_STEP_HEADINGS: Final = ("STEP", "RESULT", "EXIT", "TOOK", "TITLE")


def work_line(spec: JobSpec) -> str:
    """The work of a job in a single line, without control characters.

    A command is quoted for a shell. A script is shortened to its first line that is not a comment or
    `set -...`, with an ellipsis if more lines follow. Steps are counted, and their titles listed.
    A job whose steps come from its source is shown as the source's job.json.
    """
    if spec.command:
        return printable(shlex.join((spec.command, *spec.args)))
    if spec.script:
        return _first_line(spec.script)
    if spec.steps is None:
        return f"job.json of {printable(spec.source)}"
    if not spec.steps:
        return "no steps"
    return f"{show_count(len(spec.steps), 'step')}: {', '.join(_title(each.title) for each in spec.steps)}"


def script_prose(script: str) -> Iterator[str]:
    """The first 20 lines of a script, indented, and the number of lines that follow."""
    lines = script.rstrip().splitlines()
    yield f"script ({show_size(len(script.encode()))}):"
    for line in lines[:_SCRIPT_LINES]:
        yield f"  {cropped(line.expandtabs(_TAB), _SCRIPT_CELLS)}".rstrip()
    if (left := len(lines) - _SCRIPT_LINES) > 0:
        yield f"  and {show_count(left, 'more line')}: --json has the whole script"


def steps_prose(job: Job) -> list[str]:
    """A line for each step: its number, its result if it has ended, and its title."""
    results = job.outcome.steps if job.outcome else ()
    steps: Sequence[Step | None] = job.spec.steps or [None] * len(results)
    rows: list[Sequence[str]] = [_STEP_HEADINGS] if steps else []
    for index, step in enumerate(steps):
        result = results[index] if index < len(results) else None
        title = step.title if step else result.name if result else ""
        rows.append((str(index + 1), *_result_cells(result), _title(title)))
    return aligned(rows)


def _first_line(script: str) -> str:
    lines = [line.strip() for line in script.splitlines() if line.strip()]
    commands = [line for line in lines if not line.startswith(("#", "set -"))] or lines
    more = " …" if len(commands) > 1 else ""
    return f"{printable(commands[0])}{more}"


def _title(text: str) -> str:
    return cropped(text, _TITLE_CELLS)


def _result_cells(result: StepResult | None) -> tuple[str, str, str]:
    if result is None:
        return "-", "-", "-"
    code, took = result.exit_code, step_duration(result)
    return (
        result.status.value,
        "-" if code is None else str(code),
        "-" if took is None else show_duration(took),
    )
