"""Where a job runs: what an attempt asks of its workspace, and what it gets.

A workspace is fresh for each attempt and private to the worker's user. It has two places: the
folder in which the command runs, empty or with a checkout in it, and a home folder for
what programs leave there. checkout.py makes real ones; a simulation keeps the same rules.
"""

from collections.abc import Awaitable, Callable
from typing import Protocol

from airunner.jobs import Job
from airunner.reports import Report


class SetupFailed(Exception):
    """The command cannot even be started; a sentence for the one who submitted it."""


class CheckoutFailed(SetupFailed):
    """The repository could not be cloned, which is already reported."""


class Workspace(Protocol):
    @property
    def home(self) -> str:
        """The command's home folder."""
        ...

    async def fetch(self, report: Callable[[Report], Awaitable[None]]) -> None:
        """Clone the job's repository, if it has one, and report on it. Raises CheckoutFailed.

        A fetch that is cancelled leaves no process behind.
        """
        ...

    def directory(self) -> str:
        """Where the command runs. Raises SetupFailed if there is no such folder in the workspace."""
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
