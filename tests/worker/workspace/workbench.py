"""A fixture with workspaces on disk, a real supervisor, and the reports of fetches."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

import pytest
import structlog
from msgspec import structs

from airunner.model.jobs import Instant, Job, JobId, Position
from airunner.model.reports import CloneFailed, Report
from airunner.model.spec import JobSpec
from airunner.system.clock import LoopClock
from airunner.worker.process import Deadline
from airunner.worker.workspace.folders import FolderWorkspace, FolderWorkspaces
from airunner.worker.workspace.workspace import CheckoutFailed
from tests.zoo import PATH, SECONDS_MAX, SupervisorFixture


class Bench:
    """The workspaces of one worker, and the reports of its fetches."""

    def __init__(
        self,
        root: Path,
        fixture: SupervisorFixture,
        *,
        keep: bool = False,
        allow_local: bool = True,
        sources: Path | None = None,
        results: Path | None = None,
        variables: Mapping[str, str] = {},
    ) -> None:
        """`variables` are variables of the worker, which its git sees."""
        self.fixture = fixture
        self.root = root
        self.reports: list[Report] = []
        self.journal: list[str] = []
        self.deadline = Deadline()  # of the fetches
        self.folders = FolderWorkspaces(
            root,
            fixture.supervisor,
            LoopClock(epoch=Instant(0)),
            environment={
                "PATH": PATH,
                "HOME": str(root.parent),
                "GIT_CONFIG_NOSYSTEM": "1",
                **variables,
                "ZOO": fixture.tag,
            },
            log=structlog.wrap_logger(None, processors=[self._note]),
            keep=keep,
            allow_local=allow_local,
            sources=sources,
            results=results,
        )

    def _note(self, logger: object, method: str, event: Mapping[str, object]) -> str:
        self.journal.append(str(event["event"]))
        raise structlog.DropEvent

    async def report(self, report: Report) -> None:
        self.reports.append(report)

    def make(self, *, job: str = "0190-job", attempt: int = 2, **fields: object) -> FolderWorkspace:
        spec = structs.replace(JobSpec(command="true"), **fields)
        return self.folders.make(
            Job(
                id=JobId(job),
                spec=spec,
                place=Position(1),
                created_at=Instant(0),
                updated_at=Instant(0),
                attempt=attempt,
            )
        )

    async def fetch(
        self, *, job: str = "0190-job", attempt: int = 2, **fields: object
    ) -> FolderWorkspace:
        folder = self.make(job=job, attempt=attempt, **fields)
        await folder.fetch(self.report, self.deadline)
        return folder

    async def refused(self, **fields: object) -> tuple[str, str]:
        """The message of a failed fetch, and the standard error of git."""
        with pytest.raises(CheckoutFailed) as caught:
            await self.fetch(job="0190-job", attempt=2, **fields)
        failure = self.reports[-1]
        assert isinstance(failure, CloneFailed)
        return str(caught.value), failure.stderr


Scene = Callable[[Bench], Awaitable[None]]


def play(
    root: Path,
    scene: Scene,
    *,
    keep: bool = False,
    allow_local: bool = True,
    sources: Path | None = None,
    results: Path | None = None,
    variables: Mapping[str, str] = {},
) -> None:
    """Runs a scene with workspaces below `root`; fails if a process is left."""

    async def within() -> None:
        async with asyncio.timeout(SECONDS_MAX), SupervisorFixture("auto") as fixture:
            bench = Bench(
                root / "work",
                fixture,
                keep=keep,
                allow_local=allow_local,
                sources=sources,
                results=results,
                variables=variables,
            )
            await scene(bench)

    asyncio.run(within())
