"""A run without a server: nobody can take the job away, and a listener stands where the log is."""

import asyncio
from collections.abc import Awaitable, Callable

from airunner.model.jobs import AttemptEnd, Job, Outcome, TaskToken
from airunner.model.reports import Report
from airunner.worker.attempt.stop import StopRequest


class LocalAttempt:
    """One attempt of a job that no server knows; Hold."""

    def __init__(self, job: Job, listen: Callable[[Report], Awaitable[None]]) -> None:
        """`listen` is called with one report at a time; while it waits, the command does."""
        self.job = job
        self.token = TaskToken("")
        self.stop = StopRequest()
        self.output_bytes_max = job.spec.output_bytes_max
        self.verdict: Outcome | AttemptEnd | None = None
        self._listen = listen
        self._turn = asyncio.Lock()

    async def confirmed(self) -> None:
        """As Hold.confirmed: it always is."""

    async def report(self, report: Report) -> None:
        """As Hold.report; what `listen` raises ends the attempt."""
        async with self._turn:
            await self._listen(report)

    def end(self, verdict: Outcome | AttemptEnd) -> None:
        """As Hold.end: the first last word stands."""
        self.verdict = self.verdict or verdict
