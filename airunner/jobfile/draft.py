"""A job as far as it has been described: by a file, by flags, by one over the other.

What is said later wins, field by field, but for what belongs together: another command, script or
list of steps takes the place of whatever was to run, and another source or repository that of
wherever it was to run.

A Draft knows where each of its fields came from, so that when the whole breaks
a rule, the sentence names the line of the file or the flag, and not a field of
the wire protocol that its author has never seen.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Final, TypeVar

from airunner.jobfile.error import JobFileError
from airunner.model.errors import InvalidRequest
from airunner.model.limits import ATTEMPTS_DEFAULT, GRACE_SECONDS_DEFAULT, OUTPUT_BYTES_DEFAULT
from airunner.model.spec import (
    DEFAULT_QUEUE,
    Checkout,
    Container,
    JobSpec,
    ProcessType,
    Submodules,
    TerminalSize,
)
from airunner.model.steps import Step

Value = TypeVar("Value")

# Fields of which one that is said takes the place of all the others.
_WHAT_RUNS: Final = ("command", "args", "script", "steps")
_WHERE: Final = (
    "source",
    *("repository", "commit", "branch", "clone", "depth", "single_branch", "submodules"),
)

_REMOTE = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://.*|[^/]+:.*")


@dataclass(frozen=True, slots=True, kw_only=True)
class JobDraft:
    """The fields of a JobSpec that have been said; None is not said."""

    command: str | None = None
    args: tuple[str, ...] | None = None
    script: str | None = None
    steps: tuple[Step, ...] | None = None
    shell: str | None = None
    name: str | None = None
    queue: str | None = None
    source: str | None = None
    repository: str | None = None
    commit: str | None = None
    branch: str | None = None
    clone: bool | None = None
    depth: int | None = None
    single_branch: bool | None = None
    submodules: Submodules | None = None
    working_directory: str | None = None
    artifacts: tuple[str, ...] | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    metadata: Mapping[str, str] = field(default_factory=dict)
    owner: str | None = None
    process_type: ProcessType | None = None
    columns: int | None = None
    rows: int | None = None
    container: Container | None = None
    timeout: int | None = None  # seconds, like the next two
    queue_timeout: int | None = None
    grace: int | None = None
    attempts_max: int | None = None
    output_bytes_max: int | None = None
    origins: Mapping[str, str] = field(default_factory=dict)  # field on the wire -> where said

    def with_defaults(self, other: "JobDraft") -> "JobDraft":
        """What is said here, and for the rest what `other` says; maps are merged."""
        said = {
            each.name: getattr(self if self._decides(each.name, other) else other, each.name)
            for each in fields(self)
        }
        return replace(
            JobDraft(**said),
            environment={**other.environment, **self.environment},
            metadata={**other.metadata, **self.metadata},
            origins={**other.origins, **self.origins},
        )

    def _decides(self, name: str, other: "JobDraft") -> bool:
        """Whether this draft has the say in a field, be it that it says: none."""
        if name in _WHAT_RUNS:
            return any(getattr(self, each) is not None for each in _WHAT_RUNS)
        if name in _WHERE and (self.source or (self.repository and other.source)):
            return True
        if name == "shell" and self.command is not None:
            return True  # a command has no use for one
        return getattr(self, name) is not None

    def spec(self) -> JobSpec:
        """The job, complete. Raises JobFileError, naming where the culprit was said."""
        if all(getattr(self, each) is None for each in ("source", *_WHAT_RUNS)):
            raise JobFileError(
                "there is nothing to run: name a command after --, as in `airunner submit REPO -- make "
                "test`, or give --script, --step or --source; a job file has command, script, steps or "
                "source"
            )
        try:
            self._check()
            return JobSpec(
                command=_value_or(self.command, ""),
                args=self.args or (),
                script=_value_or(self.script, ""),
                steps=self.steps,
                shell=_value_or(self.shell, ""),
                name=_value_or(self.name, ""),
                queue=_value_or(self.queue, DEFAULT_QUEUE),
                source=_without_slash(_value_or(self.source, "")),
                repository=_value_or(self.repository, ""),
                commit=_value_or(self.commit, ""),
                branch=_value_or(self.branch, ""),
                checkout=self._checkout(),
                working_directory=_value_or(self.working_directory, ""),
                artifacts=self.artifacts or (),
                environment=self.environment,
                metadata=self.metadata,
                owner=_value_or(self.owner, ""),
                process_type=_value_or(self.process_type, ProcessType.PIPE),
                terminal=TerminalSize(
                    columns=_value_or(self.columns, 80), rows=_value_or(self.rows, 24)
                ),
                container=self.container,
                timeout_seconds=_value_or(self.timeout, 0),
                queue_timeout_seconds=_value_or(self.queue_timeout, 0),
                grace_seconds=_value_or(self.grace, GRACE_SECONDS_DEFAULT),
                attempts_max=_value_or(self.attempts_max, ATTEMPTS_DEFAULT),
                output_bytes_max=_value_or(self.output_bytes_max, OUTPUT_BYTES_DEFAULT),
            )
        except InvalidRequest as error:
            where = self.origins.get(error.field, error.field)
            raise JobFileError(f"{where}: {error.why}") from None

    def _check(self) -> None:
        """Refuse what a JobSpec takes for something that nobody has said, or has no use for."""
        for name in ("command", "script", "source"):
            said = getattr(self, name)
            if said is not None and not said.strip():
                raise InvalidRequest(name, "is empty: fill it in, or leave it out")
        for name in ("commit", "branch"):
            if self.source and getattr(self, name):
                raise InvalidRequest(name, "is of a repository, and the job has a source instead")

    def _checkout(self) -> Checkout | None:
        if self.clone is False:
            return None
        return Checkout(
            depth=_value_or(self.depth, 1),
            single_branch=_value_or(self.single_branch, True),
            submodules=_value_or(self.submodules, Submodules.NONE),
        )


def _without_slash(path: str) -> str:
    """A folder without what a shell's completion puts behind its name."""
    return path.rstrip("/") or path


def _value_or(said: Value | None, default: Value) -> Value:
    return default if said is None else said


def resolve_repository(repository: str, folder: Path) -> str:
    """A local path made absolute, from `folder`; any other address as it is.

    Like git, it takes a colon before the first slash for the end of a host name,
    unless a folder of that name is there. An absolute path need not exist here:
    it is the worker's.
    """
    path = Path(repository).expanduser()
    local = (folder / path).is_dir() or repository.startswith((".", "/", "~"))
    if not local and (_REMOTE.fullmatch(repository) or not repository):
        return repository
    if not (folder / path).is_dir() and not path.is_absolute():
        raise JobFileError(f"there is no folder {folder / path}: give a repository's URL or path")
    return str((folder.absolute() / path).resolve())
