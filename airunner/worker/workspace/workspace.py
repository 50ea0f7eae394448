"""Where a job runs: what an attempt asks of its workspace, and what it gets.

A workspace is fresh for each attempt and private to the worker's user. It has two places: the
folder in which the command runs, empty or with a checkout or a copy of a source in it, and a home
folder for what programs leave there. checkout.py makes real ones; a simulation keeps the same rules.

What an attempt leaves goes to a Shelf: the results folder of its source, or the server.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import BinaryIO, Protocol

from airunner.model.artifacts import Artifact
from airunner.model.jobs import Instant, Job, Outcome
from airunner.model.reports import Report
from airunner.model.steps import Step, StepStatus


class SetupFailed(Exception):
    """The command cannot even be started; a sentence for the one who submitted it."""


class CheckoutFailed(SetupFailed):
    """The repository could not be cloned, which is already reported."""


class NotStored(Exception):
    """An artifact could not be brought where it belongs; a sentence for the submitter, with its path."""


class ArtifactSink(Protocol):
    """Where the artifacts of one attempt are brought, one after the other."""

    async def put(self, artifact: Artifact, data: BinaryIO) -> None:
        """Keep the first bytes of a file, as many as the artifact has: all of them, or nothing.

        Raises NotKept, also if they are not what its digest says. `data` is of a real file, and is
        closed once this is over, which it is at once if it is cancelled.
        """
        ...

    async def folder(self, path: str) -> None:
        """Keep an empty folder, where folders are kept. Raises NotKept."""
        ...

    async def link(self, path: str, target: str) -> bool:
        """Keep a symbolic link as it is; False: this shelf keeps files alone. Raises NotKept."""
        ...


@dataclass(frozen=True, slots=True)
class Collected:
    """What was brought to a shelf, and a sentence for each thing that was not.

    `remark` is one about what is no error.
    """

    artifacts: tuple[Artifact, ...] = ()
    errors: tuple[str, ...] = ()
    remark: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepSummary:
    """One of a job's commands, as its results tell of it; a command alone counts as one."""

    command: str
    name: str = ""  # of a step
    status: StepStatus
    exit_code: int | None = None
    started_at: Instant | None = None
    ended_at: Instant | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """What the results say of an attempt that is over."""

    job: Job
    outcome: Outcome  # whose error says what went wrong with what was collected
    steps: tuple[StepSummary, ...]
    collected: Collected
    started_at: Instant  # the attempt, by the worker's clock
    ended_at: Instant


class Results(Protocol):
    """What an attempt leaves in a folder for people: logs while it runs, a summary at the end."""

    @property
    def sink(self) -> ArtifactSink: ...

    async def write(self, index: int, data: bytes) -> None:
        """Add to the log of a step, soon; waits while too much of it has not been written.

        b"" makes the log. Never raises: what goes wrong is told by conclude().
        """
        ...

    async def conclude(self, summary: Summary) -> tuple[str, ...]:
        """Write the summary once the logs are whole; a sentence for each thing that went wrong."""
        ...


class Workspace(Protocol):
    @property
    def home(self) -> str:
        """The command's home folder."""
        ...

    @property
    def results(self) -> Results | None:
        """Where people find what the attempt leaves; None: nowhere. Known once fetch() is over."""
        ...

    async def fetch(self, report: Callable[[Report], Awaitable[None]]) -> None:
        """Clone the job's repository or copy its source, if it has one, and report on it.

        Raises SetupFailed. A fetch that is cancelled leaves no process behind.
        """
        ...

    def steps(self) -> tuple[Step, ...]:
        """The steps that the job's source brings, once fetch() is over. Raises SetupFailed."""
        ...

    def directory(self, wanted: str = "") -> str:
        """The folder below the workspace in which to run; "" is its top. Raises SetupFailed."""
        ...

    async def script(self, text: str) -> str:
        """The path of a new file with this text, for a shell to read. Raises SetupFailed."""
        ...

    async def collect(self, sink: ArtifactSink) -> Collected:
        """Bring the job's artifacts to a shelf. No process of the attempt is left by now."""
        ...

    async def release_folders(self) -> None:
        """Let go of the source and of the results: the next attempt may have them. Safe to repeat.

        It comes before the attempt's last word, so that whoever hears that finds the source free.
        """
        ...

    async def remove(self) -> None:
        """Delete everything, whatever the job did to it; unless it is to be kept."""
        ...


class Workspaces(Protocol):
    def make(self, job: Job) -> Workspace:
        """A fresh, empty workspace. Raises SetupFailed."""
        ...

    async def sweep(self) -> None:
        """Remove what workers that died have left."""
        ...

    def close(self) -> None:
        """No more workspaces are made, and none is in use."""
        ...
