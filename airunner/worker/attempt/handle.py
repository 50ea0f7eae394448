"""The interface between an attempt and its owner: a lease from a server, or a local run."""

from typing import Protocol

from airunner.model.jobs import AttemptEnd, Job, Outcome, TaskToken
from airunner.model.reports import Report
from airunner.worker.attempt.stop import StopRequest
from airunner.worker.process import Deadline


class LeaseLost(Exception):
    """The worker has lost the lease of the job: the server accepts no report of the attempt."""


class AttemptHandle(Protocol):
    """The right to run one attempt, and the way to report on it."""

    @property
    def job(self) -> Job: ...

    @property
    def token(self) -> TaskToken:
        """The token of the lease; "" without a lease."""
        ...

    @property
    def stop(self) -> StopRequest: ...

    @property
    def deadline(self) -> Deadline:
        """The end of the right, which moves as it is renewed."""
        ...

    @property
    def output_bytes_max(self) -> int: ...

    async def confirmed(self) -> None:
        """Returns once the right is certain. Raises LeaseLost."""
        ...

    async def report(self, report: Report) -> None:
        """Sends a report, after waiting while too many bytes are unsent. Raises LeaseLost."""
        ...

    def end(self, verdict: Outcome | AttemptEnd) -> None:
        """Sends the final report behind all reports. No process of the attempt may be left."""
        ...
