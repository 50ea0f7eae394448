"""Job drafts: incomplete job specifications, read from a job file or from command-line flags.

Flags override the job file field by field, with two exceptions. A command, a script or a list of
steps replaces all of command, args, script and steps. A source replaces the repository with its
options, and the other way round.

A JobDraft records the origin of each field. So an error in the complete specification names the
line of the file or the flag, and not a field of the wire contract that the user has never seen.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Final, TypeVar

from airunner.jobfile.error import JobFileError
from airunner.jobfile.patterns import usable_patterns, usable_sparse
from airunner.model.errors import InvalidRequest
from airunner.model.limits import ATTEMPTS_DEFAULT, GRACE_SECONDS_DEFAULT, OUTPUT_BYTES_DEFAULT
from airunner.model.repositories import check_no_secret, local_address
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
from airunner.model.units import shortened

Value = TypeVar("Value")

# Groups of fields: a draft that sets one field of a group decides all fields of the group.
_COMMAND_FIELDS: Final = ("command", "args", "script", "steps")
_SOURCE_FIELDS: Final = (
    "source",
    *("repository", "commit", "branch", "clone", "depth", "single_branch", "submodules", "lfs"),
    *("filter", "sparse"),
)

_REMOTE = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://.*|[^/]+:.*")


@dataclass(frozen=True, slots=True, kw_only=True)
class JobDraft:
    """The fields of a JobSpec that are set so far; None: not set."""

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
    lfs: bool | None = None
    filter: str | None = None
    sparse: tuple[str, ...] | None = None
    working_directory: str | None = None
    artifacts: tuple[str, ...] | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    metadata: Mapping[str, str] = field(default_factory=dict)
    owner: str | None = None
    process_type: ProcessType | None = None
    merge_stderr: bool | None = None
    artifacts_on_cancel: bool | None = None
    strict: bool | None = None  # None: a script or steps without a shell of their own are
    columns: int | None = None
    rows: int | None = None
    container: Container | None = None
    timeout: int | None = None  # seconds, as queue_timeout and grace
    queue_timeout: int | None = None
    grace: int | None = None
    attempts_max: int | None = None
    output_bytes_max: int | None = None
    origins: Mapping[str, str] = field(default_factory=dict)  # wire field -> line of file, or flag

    def with_defaults(self, defaults: "JobDraft") -> "JobDraft":
        """This draft, with unset fields taken from `defaults`; maps are merged."""
        merged = {
            each.name: getattr(self if self._decides(each.name, defaults) else defaults, each.name)
            for each in fields(self)
        }
        return replace(
            JobDraft(**merged),
            environment={**defaults.environment, **self.environment},
            metadata={**defaults.metadata, **self.metadata},
            origins={**defaults.origins, **self.origins},
        )

    def _decides(self, name: str, defaults: "JobDraft") -> bool:
        """Whether this draft decides the field, even if it decides on None."""
        if name in _COMMAND_FIELDS:
            return any(getattr(self, each) is not None for each in _COMMAND_FIELDS)
        if name in _SOURCE_FIELDS and (self.source or (self.repository and defaults.source)):
            return True
        if name in ("shell", "strict") and self.command is not None:
            return True  # a command runs without a shell
        if name == "strict" and self.shell is not None:
            return True  # a shell has its own options
        return getattr(self, name) is not None

    def spec(self) -> JobSpec:
        """The complete specification. Raises JobFileError with the origin of the invalid field."""
        if all(getattr(self, each) is None for each in ("source", *_COMMAND_FIELDS)):
            raise JobFileError(
                "there is nothing to run: name a command after --, as in `airunner submit REPO -- make "
                "test`, or give --script, --step or --source; a job file has command, script, steps or "
                "source"
            )
        try:
            self._check()
            spec = JobSpec(
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
                artifacts=_usable("artifacts", usable_patterns, self.artifacts),
                environment=self.environment,
                metadata=self.metadata,
                owner=_value_or(self.owner, ""),
                process_type=_value_or(self.process_type, ProcessType.PIPE),
                terminal=TerminalSize(
                    columns=_value_or(self.columns, 80), rows=_value_or(self.rows, 24)
                ),
                merge_stderr=bool(self.merge_stderr),
                artifacts_on_cancel=bool(self.artifacts_on_cancel),
                strict=_value_or(self.strict, self._is_shell_text and self.shell is None),
                container=self.container,
                timeout_seconds=_value_or(self.timeout, 0),
                queue_timeout_seconds=_value_or(self.queue_timeout, 0),
                grace_seconds=_value_or(self.grace, GRACE_SECONDS_DEFAULT),
                attempts_max=_value_or(self.attempts_max, ATTEMPTS_DEFAULT),
                output_bytes_max=_value_or(self.output_bytes_max, OUTPUT_BYTES_DEFAULT),
            )
            check_no_secret(spec.repository)
            return spec
        except InvalidRequest as error:
            where = self.origins.get(error.field, error.field)
            raise JobFileError(f"{where}: {error.why}") from None

    @property
    def _is_shell_text(self) -> bool:
        return self.script is not None or self.steps is not None

    def _check(self) -> None:
        """Refuse a field that is set but empty, and a ref without a repository.

        A JobSpec cannot tell an empty field from an unset field.
        """
        for name in ("command", "script", "source"):
            value = getattr(self, name)
            if value is not None and not value.strip():
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
            lfs=bool(self.lfs),
            filter=_value_or(self.filter, ""),
            sparse=_usable("git_clone.sparse", usable_sparse, self.sparse),
        )


def _usable(
    field: str,
    read: Callable[[Sequence[str]], tuple[str, ...]],
    texts: tuple[str, ...] | None,
) -> tuple[str, ...]:
    try:
        return read(texts or ())
    except ValueError as error:
        raise InvalidRequest(field, str(error)) from None


def _without_slash(path: str) -> str:
    """A folder's path without a trailing slash, which a shell's completion appends."""
    return path.rstrip("/") or path


def _value_or(value: Value | None, default: Value) -> Value:
    return default if value is None else value


def resolve_repository(repository: str, folder: Path) -> str:
    """Make a local path of a repository absolute, relative to `folder`; leave any other address.

    As in git, a colon before the first slash ends a host name, unless a folder of that name
    exists. An absolute path need not exist on this machine: it is a path of the worker.
    """
    try:
        path = Path(repository).expanduser()
    except RuntimeError:
        raise JobFileError(
            f"the home folder of {shortened(repository)!r} is not known: write the whole path"
        ) from None
    there = _is_folder(folder / path)
    local = there or repository.startswith((".", "/", "~"))
    if not local and (_REMOTE.fullmatch(repository) or not repository):
        return repository
    if not there and not path.is_absolute():
        raise JobFileError(
            f"there is no folder {shortened(str(folder / path))}: give a repository's URL or path"
        )
    try:
        return local_address(str((folder.absolute() / path).resolve()))
    except (OSError, RuntimeError, ValueError):  # RuntimeError: a link that leads to itself
        raise JobFileError(f"cannot use the folder {shortened(repository)!r}") from None


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except (OSError, ValueError):  # the name is too long, may not be looked at, or has a NUL
        return False
