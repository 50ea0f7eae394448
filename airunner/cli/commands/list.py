"""`airunner list`: lists jobs, newest first."""

from typing import TYPE_CHECKING, Annotated

import typer

from airunner.cli.client_command import run_client
from airunner.cli.client_settings import settings
from airunner.cli.exit_codes import USAGE, CommandFailed
from airunner.cli.options import CaCert, Json, Server, Token, TokenFile

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from airunner.model.job_query import JobQuery
    from airunner.model.jobs import Job
    from airunner.wire.client.jobs_client import JobsClient

WATCH_SECONDS = 2.0
WATCHED = 20  # jobs that --watch shows without --limit


def list_jobs(
    queue: Annotated[
        str | None, typer.Option("--queue", metavar="NAME", help="List only jobs of this queue.")
    ] = None,
    state: Annotated[
        str | None,
        typer.Option(
            "--state",
            help="List only jobs in this state: scheduled, running, completed, failed or cancelled.",
        ),
    ] = None,
    limit: Annotated[
        int | None,
        typer.Option("--limit", min=1, metavar="N", help="Number of jobs to list (default: all)."),
    ] = None,
    page_size: Annotated[
        int, typer.Option("--page-size", min=1, max=1000, help="Jobs to fetch with each request.")
    ] = 200,
    watch: Annotated[bool, typer.Option("--watch", help="Show changes until Ctrl-C.")] = False,
    as_json: Json = False,
    server: Server = None,
    token: Token = None,
    token_file: TokenFile = None,
    ca_cert: CaCert = None,
) -> None:
    """List jobs, newest first.

    [bold]Examples[/bold]

    airunner list --state running --watch

    airunner list --queue nightly --json | jq -r 'select(.exit_code != 0).id'
    """
    connection = settings(server, token, token_file, ca_cert)

    from airunner.model.job_query import JobQuery
    from airunner.model.jobs import JobState

    if state is not None and state.lower() not in list(JobState):
        known = ", ".join(JobState)
        raise CommandFailed(f"--state: {state!r} is not a state; use one of {known}", USAGE)
    listing = JobQuery(
        queue=queue, state=JobState(state.lower()) if state else None, page_size=page_size
    )
    run_client(
        connection,
        lambda jobs: (
            _watch(jobs, listing, limit or WATCHED, as_json)
            if watch
            else _print(jobs, listing, limit, as_json)
        ),
    )


async def _pages(
    jobs: "JobsClient", listing: "JobQuery", limit: int | None
) -> "AsyncIterator[tuple[Job, ...]]":
    """All pages. Jobs that arrive meanwhile neither repeat nor hide a job.

    A page of large jobs comes with fewer jobs than it was asked for, so the next page is asked for at
    most twice as many.
    """
    from dataclasses import replace

    if limit is not None:
        listing = replace(listing, page_size=min(limit, listing.page_size))
    page_size = listing.page_size
    while True:
        page = await jobs.list(listing)
        yield page.jobs[:limit]
        limit = None if limit is None else limit - len(page.jobs)
        if page.next is None or (limit is not None and limit <= 0):
            return
        if limit is not None:
            page_size = min(page_size, limit)
        size = min(page_size, max(1, 2 * len(page.jobs)))
        listing = replace(listing, before=page.next, page_size=size)


async def _print(jobs: "JobsClient", listing: "JobQuery", limit: int | None, as_json: bool) -> int:
    from airunner.cli.render.streams import say

    headings = True
    async for page in _pages(jobs, listing, limit):
        for line in _lines(page, as_json, headings):
            say(line)
        headings = False
    return 0


async def _watch(jobs: "JobsClient", listing: "JobQuery", limit: int, as_json: bool) -> int:
    """Prints the list again every 2 s. As JSON or without a terminal: a line for each changed job."""
    import asyncio
    import os

    from airunner.cli.render.streams import STDOUT, say, terminal_size
    from airunner.cli.render.terminal_text import TerminalText, printable

    seen: dict[str, Job] = {}
    while True:
        found = [job async for page in _pages(jobs, listing, limit) for job in page]
        changed = [job for job in found if seen.get(job.id) != job]
        seen = {job.id: job for job in found}
        if as_json:
            for line in _lines(changed[::-1], as_json, False):
                say(line)
        elif os.isatty(STDOUT):
            size = terminal_size(STDOUT)
            rows = found if size is None else found[: max(1, size.lines - 2)]
            lines = map(printable, _lines(rows, as_json, True))
            say(TerminalText("\x1b[H\x1b[2J" + "\n".join(lines)))
        elif changed:
            for line in _lines(changed[::-1], as_json, False):
                say(line)
        await asyncio.sleep(WATCH_SECONDS)


def _lines(found: "list[Job] | tuple[Job, ...]", as_json: bool, headings: bool) -> list[str]:
    import os
    import time

    from airunner.cli.render.jobs import job_table
    from airunner.cli.render.streams import STDOUT, colourful, terminal_size
    from airunner.cli.render.terminal_text import json_line
    from airunner.model.jobs import Instant
    from airunner.wire.json.jobs import job_json

    if as_json:
        return [json_line(job_json(job)) for job in found]
    colour = colourful(STDOUT, os.environ.get("NO_COLOR"))
    now = Instant(time.time_ns() // 1_000_000)
    size = terminal_size(STDOUT)
    width = size.columns if size else None
    return job_table(found, now, colour=colour, headings=headings, width=width)
