"""The attempt of `airunner run`: no server can revoke it, and a listener gets the reports."""

import asyncio
from collections.abc import Awaitable, Callable

from airunner.model.jobs import AttemptEnd, Job, Outcome, TaskToken
from airunner.model.reports import Report
from airunner.worker.attempt.stop import StopRequest
from airunner.worker.process import Deadline


class LocalAttempt:
    """One attempt of a job without a server; an AttemptHandle."""

    def __init__(self, job: Job, listen: Callable[[Report], Awaitable[None]]) -> None:
        """`listen` gets one report at a time; while it waits, the command waits too."""
        self.job = job
        self.token = TaskToken("")
        self.stop = StopRequest()
        self.deadline = Deadline()
        self.output_bytes_max = job.spec.output_bytes_max
        self.verdict: Outcome | AttemptEnd | None = None
        self._listen = listen
        self._listening = asyncio.Lock()

    async def confirmed(self) -> None:
        """As AttemptHandle.confirmed: a local run is always certain."""

    async def report(self, report: Report) -> None:
        """As AttemptHandle.report; an exception of `listen` ends the attempt."""
        async with self._listening:
            await self._listen(report)

    def end(self, verdict: Outcome | AttemptEnd) -> None:
        """As AttemptHandle.end: only the first call counts."""
        self.verdict = self.verdict or verdict
