"""What a submitter asks for: a command, where it runs, and within which bounds.

A JobSpec that exists is valid: it checks itself against limits.py when it is
made, and names the field that breaks a rule as the wire contract calls it.
"""

import re
from collections.abc import Mapping
from enum import StrEnum

from msgspec import Struct, field
from msgspec.structs import fields

from airunner import limits
from airunner.checks import check_count, check_text, check_total, check_within
from airunner.errors import InvalidRequest
from airunner.repositories import check_branch, check_commit, check_repository

DEFAULT_QUEUE = "default"

_QUEUE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/:-]*")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class ProcessType(StrEnum):
    PIPE = "pipe"  # two pipes: stdout and stderr kept apart
    PTY = "pty"  # one pseudo-terminal, whose output is what a terminal would receive


class Submodules(StrEnum):
    NONE = "none"
    TOP = "true"  # those of the repository itself
    RECURSIVE = "recursive"


class Checkout(Struct, frozen=True, kw_only=True):
    """How the repository is cloned."""

    depth: int = 1  # commits of history; 0 is all of it
    single_branch: bool = True
    submodules: Submodules = Submodules.NONE

    def __post_init__(self) -> None:
        check_within("git_clone.depth", self.depth, 0, 2**31 - 1, "commits")


class Mount(Struct, frozen=True, kw_only=True):
    source: str
    target: str
    read_only: bool = False


class Container(Struct, frozen=True, kw_only=True):
    """A wish to run inside an image; a worker that cannot fails the job as setup_failed."""

    image: str
    runtime: str = ""
    mounts: tuple[Mount, ...] = ()

    def __post_init__(self) -> None:
        check_text("container.image", self.image, limits.PATH_BYTES_MAX, "PATH_BYTES_MAX")
        check_text("container.runtime", self.runtime, limits.PATH_BYTES_MAX, "PATH_BYTES_MAX")
        paths = [path for each in self.mounts for path in (each.source, each.target)]
        check_count("container.mounts", paths[::2], limits.MOUNTS_MAX, "MOUNTS_MAX")
        for path in paths:
            check_text("container.mounts", path, limits.PATH_BYTES_MAX, "PATH_BYTES_MAX")


class TerminalSize(Struct, frozen=True, kw_only=True):
    columns: int = 80
    rows: int = 24

    def __post_init__(self) -> None:
        check_within("terminal.columns", self.columns, 1, limits.TERMINAL_SIZE_MAX, "columns")
        check_within("terminal.rows", self.rows, 1, limits.TERMINAL_SIZE_MAX, "rows")


class JobSpec(Struct, frozen=True, kw_only=True):
    """What the submitter asked for. The queue machine reads three fields and carries the rest."""

    command: str  # a program: a name on PATH, or a path; never a shell line
    args: tuple[str, ...] = ()
    queue: str = DEFAULT_QUEUE
    repository: str = ""  # "": an empty workspace
    commit: str = ""
    branch: str = ""
    checkout: Checkout | None = Checkout()  # None: an empty workspace, whatever the repository
    working_directory: str = ""  # below the workspace
    environment: Mapping[str, str] = field(default_factory=dict)
    metadata: Mapping[str, str] = field(default_factory=dict)
    owner: str = ""
    process_type: ProcessType = ProcessType.PIPE
    terminal: TerminalSize = TerminalSize()
    container: Container | None = None
    timeout_seconds: int = 0  # per attempt, from process start; 0 is none
    queue_timeout_seconds: int = 0  # SCHEDULED since enqueue; 0 is none
    grace_seconds: int = limits.GRACE_SECONDS_DEFAULT  # from SIGTERM to SIGKILL
    attempts_max: int = limits.ATTEMPTS_DEFAULT  # failures, not leases
    output_bytes_max: int = limits.OUTPUT_BYTES_DEFAULT  # what is kept; the rest is cut and counted

    def __post_init__(self) -> None:
        check_queue(self.queue)
        self._check_command()
        self._check_source()
        self._check_maps()
        check_within("timeout_seconds", self.timeout_seconds, 0, limits.TIMEOUT_SECONDS_MAX, "s")
        check_within(
            "queue_timeout_seconds",
            self.queue_timeout_seconds,
            0,
            limits.QUEUE_TIMEOUT_SECONDS_MAX,
            "s",
        )
        check_within("grace_seconds", self.grace_seconds, 0, limits.GRACE_SECONDS_MAX, "s")
        check_within("attempts_max", self.attempts_max, 1, limits.ATTEMPTS_MAX, "failures")
        check_within("output_bytes_max", self.output_bytes_max, 1, limits.OUTPUT_BYTES_MAX, "bytes")

    def _check_command(self) -> None:
        if not self.command:
            raise InvalidRequest("command", "is empty: name the program to run")
        check_text("command", self.command, limits.COMMAND_BYTES_MAX, "COMMAND_BYTES_MAX")
        check_count("args", self.args, limits.ARGS_MAX, "ARGS_MAX")
        check_total("args", self.args, limits.ARGS_BYTES_MAX, "ARGS_BYTES_MAX")

    def _check_source(self) -> None:
        if self.repository:
            check_repository(self.repository)
        if self.branch:
            check_branch(self.branch)
        if self.commit:
            check_commit(self.commit)
        if path := self.working_directory:
            check_text("working_directory", path, limits.PATH_BYTES_MAX, "PATH_BYTES_MAX")
            if path.startswith("/") or ".." in path.split("/"):
                raise InvalidRequest("working_directory", "is not a path below the workspace")

    def _check_maps(self) -> None:
        if self.owner:
            check_text("owner", self.owner, limits.OWNER_BYTES_MAX, "OWNER_BYTES_MAX")
        if self.environment:
            self._check_environment()
        if self.metadata:
            check_count("metadata", self.metadata, limits.METADATA_MAX, "METADATA_MAX")
            pairs = [*self.metadata, *self.metadata.values()]
            check_total("metadata", pairs, limits.METADATA_BYTES_MAX, "METADATA_BYTES_MAX")

    def _check_environment(self) -> None:
        check_count("environment", self.environment, limits.ENVIRONMENT_MAX, "ENVIRONMENT_MAX")
        for name in self.environment:
            if not _VARIABLE.fullmatch(name):
                raise InvalidRequest("environment", f"{name!r} is not a variable name")
        pairs = [*self.environment, *self.environment.values()]
        check_total("environment", pairs, limits.ENVIRONMENT_BYTES_MAX, "ENVIRONMENT_BYTES_MAX")


def first_difference(one: JobSpec, other: JobSpec) -> str | None:
    """The wire's name of the first field in which two specs differ, in the order of JobSpec."""
    for each in fields(JobSpec):
        if getattr(one, each.name) != getattr(other, each.name):
            return "git_clone" if each.name == "checkout" else each.name
    return None


def check_queue(name: str, field: str = "queue") -> None:
    """Raise InvalidRequest unless this can be the name of a queue."""
    if len(name) > limits.QUEUE_NAME_CHARS_MAX:
        raise InvalidRequest(
            field,
            f"is longer than QUEUE_NAME_CHARS_MAX ({limits.QUEUE_NAME_CHARS_MAX} characters)",
        )
    if not _QUEUE.fullmatch(name):
        raise InvalidRequest(
            field, f"{name!r} is not a queue name: letters, digits and . _ / : - after the first"
        )
