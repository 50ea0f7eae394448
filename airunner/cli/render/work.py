"""What a job runs, and what came of its steps: in a few words, and in full."""

import shlex
from collections.abc import Iterator, Sequence
from typing import Final

from airunner.cli.render.streams import printable
from airunner.cli.render.table import aligned, cropped
from airunner.model.jobs import Job, StepResult
from airunner.model.spec import JobSpec
from airunner.model.steps import Step
from airunner.model.units import show_count, show_duration, show_size
from airunner.wire.json.results import step_duration

_TITLE_CELLS: Final = 60  # of one step's title
_SCRIPT_LINES: Final = 20  # of a script that `show` prints
_SCRIPT_CELLS: Final = 160  # of one of them
_TAB: Final = 4
_STEP_HEADINGS: Final = ("STEP", "RESULT", "EXIT", "TOOK", "WHAT")


def in_words(spec: JobSpec) -> str:
    """What stands for a job's work in one line, safe for a terminal.

    A command as a shell would take it; of a script the first line that does something, with a mark
    where there are more; of steps their number and titles; or else the source that brings them.
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
    """The script as it is, as far as a person wants to see it who asks for the job."""
    lines = script.rstrip().splitlines()
    yield f"script ({show_size(len(script.encode()))}):"
    for line in lines[:_SCRIPT_LINES]:
        yield f"  {cropped(printable(line.expandtabs(_TAB)), _SCRIPT_CELLS)}".rstrip()
    if (left := len(lines) - _SCRIPT_LINES) > 0:
        yield f"  and {show_count(left, 'more line')}, which --json has"


def steps_prose(job: Job) -> list[str]:
    """A line for each step: how it ended, if it has, and what it is."""
    results = job.outcome.steps if job.outcome else ()
    steps: Sequence[Step | None] = job.spec.steps or [None] * len(results)
    rows: list[Sequence[str]] = [_STEP_HEADINGS] if steps else []
    for index, step in enumerate(steps):
        result = results[index] if index < len(results) else None
        title = step.title if step else result.name if result else ""
        rows.append((str(index + 1), *_came(result), _title(title)))
    return aligned(rows)


def _first_line(script: str) -> str:
    lines = [line.strip() for line in script.splitlines() if line.strip()]
    doing = [line for line in lines if not line.startswith(("#", "set -"))] or lines
    more = " …" if len(doing) > 1 else ""
    return f"{printable(doing[0])}{more}"


def _title(text: str) -> str:
    return cropped(printable(text), _TITLE_CELLS)


def _came(result: StepResult | None) -> tuple[str, str, str]:
    if result is None:
        return "-", "-", "-"
    code, took = result.exit_code, step_duration(result)
    return (
        result.status.value,
        "-" if code is None else str(code),
        "-" if took is None else show_duration(took),
    )
