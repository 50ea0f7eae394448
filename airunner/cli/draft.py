"""A job as far as it has been described: by a file, by flags, by one over the other.

A Draft knows where each of its fields came from, so that when the whole breaks
a rule, the sentence names the line of the file or the flag, and not a field of
the wire protocol that its author has never seen.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import TypeVar

from airunner.cli.exits import CommandFailed
from airunner.errors import InvalidRequest
from airunner.limits import ATTEMPTS_DEFAULT, GRACE_SECONDS_DEFAULT, OUTPUT_BYTES_DEFAULT
from airunner.spec import (
    DEFAULT_QUEUE,
    Checkout,
    Container,
    JobSpec,
    ProcessType,
    Submodules,
    TerminalSize,
)

Value = TypeVar("Value")

_REMOTE = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://.*|[^/]+:.*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """The fields of a JobSpec that have been said; None is not said."""

    command: str | None = None
    args: tuple[str, ...] | None = None
    queue: str | None = None
    repository: str | None = None
    commit: str | None = None
    branch: str | None = None
    clone: bool | None = None
    depth: int | None = None
    single_branch: bool | None = None
    submodules: Submodules | None = None
    working_directory: str | None = None
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
    sources: Mapping[str, str] = field(default_factory=dict)  # field on the wire -> where said

    def over(self, other: "Draft") -> "Draft":
        """What is said here, and for the rest what `other` says; maps are merged."""
        said = {
            each.name: getattr(self if self._says(each.name) else other, each.name)
            for each in fields(self)
        }
        return replace(
            Draft(**said),
            environment={**other.environment, **self.environment},
            metadata={**other.metadata, **self.metadata},
            sources={**other.sources, **self.sources},
        )

    def _says(self, name: str) -> bool:
        """Another command has no use for the old one's arguments, so it says: none."""
        of = "command" if name == "args" else name
        return getattr(self, of) is not None or getattr(self, name) is not None

    def spec(self) -> JobSpec:
        """The job, complete. Raises CommandFailed, naming where the culprit was said."""
        if not self.command:
            raise CommandFailed(
                "there is no command to run: name it after --, as in "
                "`airunner submit REPO -- make test`, or as `command` in a file given by --config"
            )
        try:
            return JobSpec(
                command=self.command,
                args=self.args or (),
                queue=_or(self.queue, DEFAULT_QUEUE),
                repository=_or(self.repository, ""),
                commit=_or(self.commit, ""),
                branch=_or(self.branch, ""),
                checkout=self._checkout(),
                working_directory=_or(self.working_directory, ""),
                environment=self.environment,
                metadata=self.metadata,
                owner=_or(self.owner, ""),
                process_type=_or(self.process_type, ProcessType.PIPE),
                terminal=TerminalSize(columns=_or(self.columns, 80), rows=_or(self.rows, 24)),
                container=self.container,
                timeout_seconds=_or(self.timeout, 0),
                queue_timeout_seconds=_or(self.queue_timeout, 0),
                grace_seconds=_or(self.grace, GRACE_SECONDS_DEFAULT),
                attempts_max=_or(self.attempts_max, ATTEMPTS_DEFAULT),
                output_bytes_max=_or(self.output_bytes_max, OUTPUT_BYTES_DEFAULT),
            )
        except InvalidRequest as error:
            where = self.sources.get(error.field, error.field)
            raise CommandFailed(f"{where}: {error.why}") from None

    def _checkout(self) -> Checkout | None:
        if self.clone is False:
            return None
        return Checkout(
            depth=_or(self.depth, 1),
            single_branch=_or(self.single_branch, True),
            submodules=_or(self.submodules, Submodules.NONE),
        )


def _or(said: Value | None, default: Value) -> Value:
    return default if said is None else said


def locate(repository: str, folder: Path) -> str:
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
        raise CommandFailed(f"there is no folder {folder / path}: give a repository's URL or path")
    return str((folder.absolute() / path).resolve())
