"""The job specification: the command, its source, its environment and its limits.

A JobSpec validates itself against limits.py on construction, so every JobSpec is valid.
InvalidRequest names the offending field by its name in the wire contract.
"""

import re
import shlex
from collections.abc import Mapping
from enum import StrEnum

from msgspec import Struct, field
from msgspec.structs import fields

from airunner.model import limits
from airunner.model.errors import InvalidRequest
from airunner.model.namespaces import DEFAULT_NAMESPACE, QueueKey
from airunner.model.repositories import (
    check_branch,
    check_clone_filter,
    check_commit,
    check_repository,
    check_sparse,
)
from airunner.model.steps import Step, check_steps, memory_bytes
from airunner.model.units import PAIR_BYTES, TEXT_BYTES, text_bytes
from airunner.model.validation import (
    check_count,
    check_environment,
    check_printable,
    check_range,
    check_relative_path,
    check_text_size,
    check_total_size,
)

DEFAULT_QUEUE = "default"

_ONE_OF = "a job is a command, a script, or steps"
_DANGLING = re.compile(r"(?<!\\)(?:\\\\)*\\(?:/| {2,}$|$)")  # a backslash that escapes nothing
_QUEUE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/:-]*")


class ProcessType(StrEnum):
    """The connection of a command's standard streams to the worker."""

    PIPE = "pipe"  # two pipes: stdout and stderr are separate streams
    PTY = "pty"  # one pseudo-terminal: stdout and stderr are one stream


class Submodules(StrEnum):
    """The submodules that a checkout includes."""

    NONE = "none"
    TOP = "true"  # the submodules of the repository, not their own submodules
    RECURSIVE = "recursive"


class Checkout(Struct, frozen=True, kw_only=True):
    """The options of a clone of the repository."""

    depth: int = 1  # commits of history; 0: the whole history
    single_branch: bool = True
    submodules: Submodules = Submodules.NONE
    lfs: bool = False  # files of Git LFS; False: as the git configuration of the worker's user says
    filter: str = ""  # objects to leave out until they are read, as for git clone --filter
    sparse: tuple[str, ...] = ()  # folders, or .gitignore patterns; (): the whole checkout

    def __post_init__(self) -> None:
        check_range("git_clone.depth", self.depth, 0, 2**31 - 1, "commits")
        if self.filter:
            check_clone_filter(self.filter)
        if self.sparse:
            check_sparse(self.sparse)


class Mount(Struct, frozen=True, kw_only=True):
    """A path of the worker's machine, mounted into a container."""

    source: str
    target: str
    read_only: bool = False


class Container(Struct, frozen=True, kw_only=True):
    """The container to run the job in. A worker without container support reports setup_failed."""

    image: str
    runtime: str = ""
    mounts: tuple[Mount, ...] = ()

    def __post_init__(self) -> None:
        check_text_size("container.image", self.image, limits.PATH_BYTES_MAX, "PATH_BYTES_MAX")
        check_text_size("container.runtime", self.runtime, limits.PATH_BYTES_MAX, "PATH_BYTES_MAX")
        paths = [path for each in self.mounts for path in (each.source, each.target)]
        check_count("container.mounts", paths[::2], limits.MOUNTS_MAX, "MOUNTS_MAX")
        for path in paths:
            check_text_size("container.mounts", path, limits.PATH_BYTES_MAX, "PATH_BYTES_MAX")


class TerminalSize(Struct, frozen=True, kw_only=True):
    """The initial size of a job's pseudo-terminal."""

    columns: int = 80
    rows: int = 24

    def __post_init__(self) -> None:
        check_range("terminal.columns", self.columns, 1, limits.TERMINAL_SIZE_MAX, "columns")
        check_range("terminal.rows", self.rows, 1, limits.TERMINAL_SIZE_MAX, "rows")


class JobSpec(Struct, frozen=True, kw_only=True):
    """The specification of a job, as the submitter sent it.

    A spec has exactly one of a command, a script or steps; or none of them, if it has a source
    whose job.json has the steps.
    """

    command: str = ""  # a program: a name on PATH or a path; never a shell command line
    args: tuple[str, ...] = ()
    script: str = ""  # shell commands, run from a file
    steps: tuple[Step, ...] | None = None  # (): nothing runs, and the job succeeds
    shell: str = ""  # for the script or the steps, with its options; "": bash, or else sh
    name: str = ""  # a display name; need not be unique
    queue: str = DEFAULT_QUEUE
    namespace: str = DEFAULT_NAMESPACE  # of the submitter
    source: str = ""  # a folder below the worker's root of sources, copied into the workspace
    repository: str = ""  # "" and no source: an empty workspace
    commit: str = ""
    branch: str = ""
    checkout: Checkout | None = Checkout()  # None: an empty workspace, even with a repository
    working_directory: str = ""  # relative to the workspace
    artifacts: tuple[str, ...] = ()  # .gitignore patterns; () with a source: new and changed files
    environment: Mapping[str, str] = field(default_factory=dict)
    metadata: Mapping[str, str] = field(default_factory=dict)
    owner: str = ""
    process_type: ProcessType = ProcessType.PIPE
    terminal: TerminalSize = TerminalSize()
    container: Container | None = None
    timeout_seconds: int = 0  # per attempt, from process start; 0: none
    queue_timeout_seconds: int = 0  # total time in line; 0: none
    grace_seconds: int = limits.GRACE_SECONDS_DEFAULT  # from SIGTERM to SIGKILL
    attempts_max: int = limits.ATTEMPTS_DEFAULT  # failures, not leases
    output_bytes_max: int = limits.OUTPUT_BYTES_DEFAULT  # further output is cut and counted
    merge_stderr: bool = False  # one pipe for both streams, in exact order, as standard output
    artifacts_on_cancel: bool = False  # artifacts are stored although the job was cancelled
    strict: bool = False  # bash -e -o pipefail or sh -e, for a script or steps without a shebang

    @property
    def queue_key(self) -> QueueKey:
        """The identity of the job's queue."""
        return QueueKey(self.queue, self.namespace)

    def __post_init__(self) -> None:
        check_queue(self.queue)
        check_namespace(self.namespace)
        self._check_command()
        self._check_source()
        self._check_maps()
        check_range("timeout_seconds", self.timeout_seconds, 0, limits.TIMEOUT_SECONDS_MAX, "s")
        check_range(
            "queue_timeout_seconds",
            self.queue_timeout_seconds,
            0,
            limits.QUEUE_TIMEOUT_SECONDS_MAX,
            "s",
        )
        check_range("grace_seconds", self.grace_seconds, 0, limits.GRACE_SECONDS_MAX, "s")
        check_range("attempts_max", self.attempts_max, 1, limits.ATTEMPTS_MAX, "failures")
        check_range("output_bytes_max", self.output_bytes_max, 1, limits.OUTPUT_BYTES_MAX, "bytes")

    @property
    def spec_bytes(self) -> int:
        """An upper bound of the memory of the script, the steps and all other texts.

        Other texts of up to SPEC_BYTES_SMALL count as nothing: JOBS_MAX bounds small jobs.
        """
        work = memory_bytes(self.steps) if self.steps else text_bytes(self.script)
        rest = self._text_bytes()
        return work + rest if rest > limits.SPEC_BYTES_SMALL else work

    def _text_bytes(self) -> int:
        """An upper bound of the memory of all texts but the script and the steps."""
        texts = [self.command, self.repository, self.working_directory, self.source, *self.args]
        texts += self.artifacts
        if self.checkout:
            texts += self.checkout.sparse
        if self.container:
            texts += (self.container.image, self.container.runtime)
            for mount in self.container.mounts:
                texts += (mount.source, mount.target)
        pairs = 0
        for variables in (self.environment, self.metadata):
            if variables:
                pairs += len(variables)
                texts += variables
                texts += variables.values()
        return TEXT_BYTES * len(texts) + PAIR_BYTES * pairs + sum(map(text_bytes, texts))

    def _check_command(self) -> None:
        if self.script or self.steps is not None:
            self._check_shell_work()
        elif not self.command and not self.source:
            raise InvalidRequest("command", "is empty: name the program to run")
        elif self.shell and self.command:
            raise InvalidRequest("shell", "means nothing to a command: leave it out, or use script")
        if self.shell:
            self._check_shell()
        if self.strict and (self.command or self.shell):
            raise InvalidRequest(
                "strict",
                "means nothing to a command: leave it out, or use script"
                if self.command
                else "is for the default shell: leave it out, and give `shell` its options",
            )
        if self.args and not self.command:
            raise InvalidRequest("args", "belong to a command, and there is none")
        if self.command:
            check_text_size("command", self.command, limits.COMMAND_BYTES_MAX, "COMMAND_BYTES_MAX")
            check_count("args", self.args, limits.ARGS_MAX, "ARGS_MAX")
            check_total_size("args", self.args, limits.ARGS_BYTES_MAX, "ARGS_BYTES_MAX")

    def _check_shell_work(self) -> None:
        other = "command" if self.command else "script" if self.script else ""
        if self.steps is not None:
            if other:
                raise InvalidRequest("steps", f"there is a {other} already: {_ONE_OF}")
            check_steps("steps", self.steps)
            return
        if self.command:
            raise InvalidRequest("script", f"there is a command already: {_ONE_OF}")
        if not self.script.strip():
            raise InvalidRequest("script", "is empty: say what to run")
        check_text_size("script", self.script, limits.SCRIPT_BYTES_MAX, "SCRIPT_BYTES_MAX")

    def _check_shell(self) -> None:
        check_printable("shell", self.shell, limits.SHELL_BYTES_MAX, "SHELL_BYTES_MAX")
        try:
            words = shlex.split(self.shell)
        except ValueError:
            words = []
        if not words or not words[0]:
            raise InvalidRequest("shell", "is not a program and its options, as in `bash -eu`")

    def _check_source(self) -> None:
        if self.source:
            if self.repository:
                raise InvalidRequest(
                    "source", "there is a repository already: a job has one of them at most"
                )
            check_source(self.source)
        if self.repository:
            check_repository(self.repository)
        if self.branch:
            check_branch(self.branch)
        if self.commit:
            check_commit(self.commit)
        if self.working_directory:
            check_relative_path("working_directory", self.working_directory)
        if self.artifacts:
            check_patterns(self.artifacts)

    def _check_maps(self) -> None:
        if self.name:
            check_printable("name", self.name, limits.NAME_BYTES_MAX, "NAME_BYTES_MAX")
        if self.owner:
            check_text_size("owner", self.owner, limits.OWNER_BYTES_MAX, "OWNER_BYTES_MAX")
        if self.environment:
            check_environment("environment", self.environment)
        if self.metadata:
            check_count("metadata", self.metadata, limits.METADATA_MAX, "METADATA_MAX")
            pairs = [*self.metadata, *self.metadata.values()]
            check_total_size("metadata", pairs, limits.METADATA_BYTES_MAX, "METADATA_BYTES_MAX")


def first_difference(one: JobSpec, other: JobSpec) -> str | None:
    """The wire contract's name of the first field in which two specs differ; None: equal."""
    for each in fields(JobSpec):
        if getattr(one, each.name) != getattr(other, each.name):
            return "git_clone" if each.name == "checkout" else each.name
    return None


def check_queue(name: str, field: str = "queue") -> None:
    """Raise InvalidRequest unless `name` is a valid name of a queue."""
    _check_name(name, field, "a queue name")


def check_namespace(name: str) -> None:
    """Raise InvalidRequest unless `name` is a valid namespace, by the rule of queue names."""
    _check_name(name, "namespace", "the name of a namespace")


def _check_name(name: str, field: str, kind: str) -> None:
    if len(name) > limits.QUEUE_NAME_CHARS_MAX:
        raise InvalidRequest(
            field,
            f"is longer than QUEUE_NAME_CHARS_MAX ({limits.QUEUE_NAME_CHARS_MAX} characters)",
        )
    if not _QUEUE.fullmatch(name):
        raise InvalidRequest(
            field, f"{name!r} is not {kind}: letters, digits and . _ / : - after the first"
        )


def check_source(path: str) -> None:
    """Raise InvalidRequest unless `path` is a plain path below a worker's root of sources."""
    check_relative_path("source", path, "the worker's folder of sources")
    if not path.isprintable() or not all(part not in ("", ".") for part in path.split("/")):
        raise InvalidRequest("source", f"{path!r} is not a plain relative path, such as runs/17")


def check_patterns(patterns: tuple[str, ...]) -> None:
    """Raise InvalidRequest unless the patterns are valid artifact patterns."""
    check_count("artifacts", patterns, limits.ARTIFACT_PATTERNS_MAX, "ARTIFACT_PATTERNS_MAX")
    for pattern in patterns:
        check_text_size("artifacts", pattern, limits.PATH_BYTES_MAX, "PATH_BYTES_MAX")
        if not pattern.removeprefix("!").strip() or ".." in pattern.split("/"):
            raise InvalidRequest("artifacts", f"{pattern!r} is not a pattern below the workspace")
        if _DANGLING.search(pattern):
            raise InvalidRequest(
                "artifacts", f"{pattern!r} has a backslash in it with nothing to escape"
            )
