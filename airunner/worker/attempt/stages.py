"""The stages of an attempt: the commands that it runs, one after the other.

A job with a command or a script has one stage; a job with steps has one stage for each step. A
shell reads the text of a stage from a file: an argument list or an environment may be too small for
the text, and shows it to every user who lists the processes of the machine.
"""

import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from airunner.model.spec import JobSpec
from airunner.model.steps import Step, StepCondition

# The first shell that exists runs the text.
_SHELLS: Final = (("bash",), ("sh",))
_STRICT_SHELLS: Final = (("bash", "-e", "-o", "pipefail"), ("sh", "-e"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """One command or shell text of a job."""

    title: str  # one line
    name: str = ""  # of a step with a name
    text: str = ""  # for a shell; "": argv is the command
    argv: tuple[str, ...] = ()
    step: int | None = None  # its index, in a job of steps
    environment: Mapping[str, str] = field(default_factory=dict)  # overrides the job's
    directory: str = ""  # below the workspace
    timeout_seconds: int = 0  # 0: only the job's timeout applies
    continue_on_error: bool = False  # a failure of the stage does not end the job
    when: StepCondition = StepCondition.ON_SUCCESS
    background: bool = False  # its processes may live until the job ends

    @property
    def command(self) -> str:
        """The command as one text for people."""
        return self.text or shlex.join(self.argv)


def plan(spec: JobSpec, source_steps: Callable[[], tuple[Step, ...]]) -> tuple[Stage, ...]:
    """The stages of a job; `source_steps` reads the steps from the job's source."""
    if spec.command:
        argv = (spec.command, *spec.args)
        return (Stage(title=spec.command, argv=argv, directory=spec.working_directory),)
    if spec.script:
        return (Stage(title="script", text=spec.script, directory=spec.working_directory),)
    steps = source_steps() if spec.steps is None else spec.steps
    return tuple(
        Stage(
            title=step.title,
            name=step.name,
            text=step.run,
            step=index,
            environment=step.environment,
            directory=step.working_directory or spec.working_directory,
            timeout_seconds=step.timeout_seconds,
            continue_on_error=step.continue_on_error,
            when=step.when,
            background=step.background,
        )
        for index, step in enumerate(steps)
    )


@dataclass(frozen=True, slots=True)
class Interpreters:
    """The programs to try for a text, each with its options; the first that exists runs it."""

    candidates: tuple[tuple[str, ...], ...]
    kind: str = "shell"


def interpreters(spec: JobSpec, text: str) -> Interpreters:
    """The interpreters for a text: the job's shell, or else that of the shebang, or else a shell."""
    if spec.shell:
        return Interpreters((tuple(shlex.split(spec.shell)),))
    if named := _shebang(text):
        return Interpreters((named,), "interpreter")
    return Interpreters(_STRICT_SHELLS if spec.strict else _SHELLS)


def _shebang(text: str) -> tuple[str, ...]:
    """The interpreter that the first line names, with its one argument as the kernel splits it.

    The worker starts it, and not the kernel: the file of the text need not be executable, and may be
    on a file system without execution.
    """
    if not text.startswith("#!"):
        return ()
    return tuple(text[2:].partition("\n")[0].strip().split(None, 1))
