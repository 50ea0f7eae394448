"""Runs a client command: a connection, a coroutine, an exit code."""

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, NoReturn

import typer

from airunner.cli.client_settings import Settings

if TYPE_CHECKING:
    from airunner.wire.client.jobs_client import JobsClient


def run_client(connection: Settings, work: Callable[["JobsClient"], Awaitable[int]]) -> NoReturn:
    """Connects to the server, awaits the work, and exits with the exit code that it returns."""
    import asyncio

    from airunner.wire.client.jobs_client import JobsClient

    async def connected() -> int:
        async with JobsClient(connection.endpoint()) as jobs:
            return await work(jobs)

    raise typer.Exit(asyncio.run(connected()))
