"""What an attempt is told of its job, and whom it tells: a lease's held lease, or a run without a server."""

from typing import Protocol

from airunner.model.jobs import AttemptEnd, Job, Outcome, TaskToken
from airunner.model.reports import Report
from airunner.worker.attempt.stop import StopRequest


class LeaseLost(Exception):
    """The job is not this worker's any more: nothing that is said of it is heard."""


class AttemptHandle(Protocol):
    """The right to run one attempt."""

    @property
    def job(self) -> Job: ...

    @property
    def token(self) -> TaskToken:
        """The lease's; "" where there is none."""
        ...

    @property
    def stop(self) -> StopRequest: ...

    @property
    def output_bytes_max(self) -> int: ...

    async def confirmed(self) -> None:
        """Return once the job is certainly this worker's. Raises LeaseLost."""
        ...

    async def report(self, report: Report) -> None:
        """Tell of the attempt, waiting while too much is untold. Raises LeaseLost."""
        ...

    def end(self, verdict: Outcome | AttemptEnd) -> None:
        """Say the last word behind all reports. No process of the attempt may be left."""
        ...
