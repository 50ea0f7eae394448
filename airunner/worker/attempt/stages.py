"""What an attempt runs, one command after the other.

A command and a script are plans of one stage, steps are one of as many. A stage that is a text is
given to a shell as a file: no argument list and no environment is too small for it, and none
shows it to whoever looks at the processes of the machine.
"""

import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from airunner.model.spec import JobSpec
from airunner.model.steps import Step

_SHELLS: Final = (("bash",), ("sh",))  # the first that there is


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """One command."""

    title: str  # in a line
    name: str = ""  # of a step that was given one
    text: str = ""  # for a shell; "": argv is the command
    argv: tuple[str, ...] = ()
    step: int | None = None  # its index, in a job of steps
    environment: Mapping[str, str] = field(default_factory=dict)  # over the job's
    directory: str = ""  # below the workspace
    timeout_seconds: int = 0  # 0 is none but the job's
    goes_on: bool = False  # its failure is not the job's

    @property
    def command(self) -> str:
        """As people read it."""
        return self.text or shlex.join(self.argv)


def plan(spec: JobSpec, brought: Callable[[], tuple[Step, ...]]) -> tuple[Stage, ...]:
    """The stages of a job; `brought` gives the steps that its source brings."""
    if spec.command:
        argv = (spec.command, *spec.args)
        return (Stage(title=spec.command, argv=argv, directory=spec.working_directory),)
    if spec.script:
        return (Stage(title="script", text=spec.script, directory=spec.working_directory),)
    steps = brought() if spec.steps is None else spec.steps
    return tuple(
        Stage(
            title=step.title,
            name=step.name,
            text=step.run,
            step=index,
            environment=step.environment,
            directory=step.working_directory or spec.working_directory,
            timeout_seconds=step.timeout_seconds,
            goes_on=step.continue_on_error,
        )
        for index, step in enumerate(steps)
    )


def shells(spec: JobSpec) -> tuple[tuple[str, ...], ...]:
    """The shells to try for a text, each with its options, until one is there."""
    return (tuple(shlex.split(spec.shell)),) if spec.shell else _SHELLS
