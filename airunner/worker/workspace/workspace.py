"""The workspace of an attempt: the protocols between an attempt and the folders that it uses.

A workspace is fresh for each attempt and private to the worker's user. It has two folders: the
checkout folder, in which the command runs, and a home folder for the files that programs put there.
The checkout folder is empty, or holds a clone of a repository, or a copy of a source. folders.py
implements workspaces on disk; the tests' simulation implements the same rules.

The artifacts of an attempt go to an ArtifactSink: the results folder of its source, or the server.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import BinaryIO, Protocol

from airunner.model.artifacts import Artifact
from airunner.model.jobs import Instant, Job, Outcome
from airunner.model.reports import Report
from airunner.model.steps import Step, StepStatus
from airunner.worker.process import Deadline


class SetupFailed(Exception):
    """The attempt failed before its command started; a sentence for the job's submitter."""


class CheckoutFailed(SetupFailed):
    """The repository could not be cloned; a CloneFailed report has already said so."""


class NoRoom(Exception):
    """The worker's disk is full or fails, which is not the job's fault; a sentence with the folder."""


class NotStored(Exception):
    """An artifact could not be stored; a sentence for the job's submitter, with the path."""


class ArtifactSink(Protocol):
    """The destination of one attempt's artifacts."""

    async def put(self, artifact: Artifact, data: BinaryIO) -> None:
        """Stores the first `artifact.size` bytes of a file, all of them or none.

        `data` is a file on disk, which the caller closes after this call. A cancelled call ends at
        once. Raises NotStored, also if the bytes do not match the artifact's digest.
        """
        ...

    async def folder(self, path: str) -> None:
        """Stores an empty folder, if the sink stores folders. Raises NotStored."""
        ...

    async def link(self, path: str, target: str) -> bool:
        """Stores a symbolic link; returns False if the sink stores files only. Raises NotStored."""
        ...


@dataclass(frozen=True, slots=True)
class Collected:
    """The artifacts that were stored, and a sentence for each artifact that was not.

    `remark` is a sentence for the job's log about a fact that is no error, or "".
    """

    artifacts: tuple[Artifact, ...] = ()
    errors: tuple[str, ...] = ()
    remark: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepSummary:
    """One command of a job in the results' summary; a job without steps has one."""

    command: str
    name: str = ""  # of the step
    status: StepStatus
    exit_code: int | None = None
    started_at: Instant | None = None
    ended_at: Instant | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """The summary of a finished attempt for its results."""

    job: Job
    outcome: Outcome  # its error names the artifacts that could not be stored
    steps: tuple[StepSummary, ...]
    collected: Collected
    started_at: Instant  # the attempt, by the worker's clock
    ended_at: Instant


class Results(Protocol):
    """The results folder of an attempt: logs while it runs, artifacts and a summary at the end."""

    @property
    def sink(self) -> ArtifactSink:
        """The sink that copies artifacts into the folder."""
        ...

    async def write(self, index: int, data: bytes) -> None:
        """Appends to the log of a step, and waits while too many bytes are not written yet.

        b"" creates the log. Never raises: conclude() returns the errors.
        """
        ...

    async def conclude(self, summary: Summary) -> tuple[str, ...]:
        """Writes the summary behind all logs; returns a sentence for each failed write."""
        ...


@dataclass(frozen=True, slots=True)
class Revision:
    """The commit that was checked out, by its full id, and its branch; "": there is none."""

    commit: str = ""
    branch: str = ""


class Workspace(Protocol):
    """The folders of one attempt."""

    @property
    def home(self) -> str:
        """The path of the command's home folder."""
        ...

    @property
    def tmp(self) -> str:
        """The path of the command's folder for temporary files."""
        ...

    @property
    def revision(self) -> Revision:
        """The revision in the checkout; valid after fetch()."""
        ...

    @property
    def results(self) -> Results | None:
        """The results folder of the attempt, if it has one; valid after fetch()."""
        ...

    async def fetch(self, report: Callable[[Report], Awaitable[None]], deadline: Deadline) -> None:
        """Clones the job's repository or copies its source, if it has one, with reports.

        The commands of the clone end at the deadline. Raises SetupFailed, SupervisorLost, and
        ProcessLost if a command of the clone was killed. A cancelled fetch leaves no process behind.
        """
        ...

    def steps(self) -> tuple[Step, ...]:
        """The steps from the source's job.json; valid after fetch(). Raises SetupFailed."""
        ...

    def directory(self, wanted: str = "") -> str:
        """The path of a working directory in the checkout; "" is its top. Raises SetupFailed."""
        ...

    @property
    def variables(self) -> Mapping[str, str]:
        """The variables that the steps so far have given to the later steps."""
        ...

    @property
    def variables_file(self) -> str:
        """The path of the file AIRUNNER_ENV; "" before open_variables()."""
        ...

    def open_variables(self) -> None:
        """Makes the file AIRUNNER_ENV of the next step. Raises SetupFailed."""
        ...

    def take_variables(self) -> None:
        """Adds the variables in the file AIRUNNER_ENV.

        Raises ValueError with a sentence for the job's submitter.
        """
        ...

    async def script(self, text: str) -> str:
        """Writes a script into a new file and returns its path. Raises SetupFailed."""
        ...

    async def collect(self, sink: ArtifactSink) -> Collected:
        """Stores the job's artifacts in a sink. The attempt has no process left."""
        ...

    async def release_folders(self) -> None:
        """Releases the source and the results folder for the next attempt. Safe to call twice.

        The attempt calls it before its final report, so that a reader of the report finds the
        source free.
        """
        ...

    async def remove(self) -> None:
        """Deletes the workspace, in any state in which the job left it, unless it is to be kept."""
        ...


class Workspaces(Protocol):
    """The maker of a worker's workspaces."""

    def make(self, job: Job) -> Workspace:
        """Creates an empty workspace. Raises NoRoom if the disk is full or fails."""
        ...

    def has_room(self) -> bool:
        """Whether the disk works and has room for another job; one that was full needs more room."""
        ...

    async def sweep(self) -> None:
        """Removes the workspaces of dead workers."""
        ...

    def close(self) -> None:
        """Releases the worker's own folder. No workspace may be in use."""
        ...
