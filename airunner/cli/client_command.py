"""How a client command runs: a connection, a coroutine, an exit code."""

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, NoReturn

import typer

from airunner.cli.client_settings import Settings

if TYPE_CHECKING:
    from airunner.wire.client.jobs_client import JobsClient


def run_client(said: Settings, work: Callable[["JobsClient"], Awaitable[int]]) -> NoReturn:
    """Connect, do the work, and leave with the exit code that it returns."""
    import asyncio

    from airunner.wire.client.jobs_client import JobsClient

    async def connected() -> int:
        async with JobsClient(said.endpoint()) as jobs:
            return await work(jobs)

    raise typer.Exit(asyncio.run(connected()))
