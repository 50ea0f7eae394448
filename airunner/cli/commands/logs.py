"""`airunner logs`: the output of a job, byte for byte or line by line; or that of all jobs."""

from typing import TYPE_CHECKING, Annotated

import typer

from airunner.cli.client_command import run_client
from airunner.cli.client_settings import settings
from airunner.cli.options import CaCert, Server, Token, TokenFile

if TYPE_CHECKING:
    from airunner.cli.render.output_lines import LineFormat, LogView, StepFilter
    from airunner.wire.client.jobs_client import JobsClient


def logs(
    id: Annotated[
        str | None, typer.Argument(metavar="ID", help="The job, as `airunner submit` names it.")
    ] = None,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Wait for more, until the job has ended.")
    ] = False,
    lines: Annotated[
        bool, typer.Option("--lines", help="Line by line, those of each stream to its own.")
    ] = False,
    prefix_stderr: Annotated[
        str | None,
        typer.Option(
            "--prefix-stderr",
            metavar="PREFIX",
            help="Line by line, all to standard output: those of standard error behind this, and "
            "EXIT:CODE at the end of a job.",
        ),
    ] = None,
    step: Annotated[
        str | None,
        typer.Option(
            "--step",
            metavar="STEP",
            help="Only of this step: 1, 2 ... or its name, as `airunner show` has them.",
        ),
    ] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="All jobs, from now on; with --follow.")
    ] = False,
    queue: Annotated[
        str | None, typer.Option("--queue", help="With --all: only the jobs of this queue.")
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print every event as a line of JSON.")
    ] = False,
    server: Server = None,
    token: Token = None,
    token_file: TokenFile = None,
    ca_cert: CaCert = None,
) -> None:
    """Print the output of a job: what is stored so far, or with --follow all until its end.

    Without more options both streams go to standard output, byte for byte, in the order in which
    they were read. It exits with 0 however the job ended; for the job's own exit code, use
    `airunner monitor`.

    A line ends with a newline or a carriage return. It is printed when it is complete, or its
    step or attempt has ended, and in pieces of 1 MiB if it is longer than that.

    With --all, each line is under its job: ID, a space, the line. It goes on until it is stopped,
    survives lost connections and restarts, and misses nothing meanwhile.

    [bold]Examples[/bold]

    airunner logs "$id" > build.log

    airunner logs "$id" --follow --prefix-stderr ERROR::

    airunner logs --all --follow --queue nightly
    """
    _check(id, follow=follow, everything=everything, queue=queue, step=step)
    if as_json and (lines or prefix_stderr is not None or step is not None):
        raise typer.BadParameter("--json prints events, not lines: leave out one or the other")
    said = settings(server, token, token_file, ca_cert)

    from airunner.cli.render.output_lines import (
        ByteView,
        EventView,
        LineFormat,
        LineView,
        StepFilter,
    )

    if id is None:
        printed = None if as_json else LineFormat(prefix_stderr)
        run_client(said, lambda jobs: _all(jobs, queue or "", printed))
    job, choice = id, StepFilter(step)
    by_line = lines or prefix_stderr is not None
    show = (
        EventView()
        if as_json
        else LineView(LineFormat(prefix_stderr), choice)
        if by_line
        else ByteView(choice)
    )
    run_client(said, lambda jobs: _one(jobs, job, show, choice, follow=follow))


def _check(
    id: str | None, *, follow: bool, everything: bool, queue: str | None, step: str | None
) -> None:
    """Refuse what does not go together."""
    why = ""
    if not everything:
        if id is None:
            why = "name a job, or give --all --follow for all jobs from now on"
        elif queue is not None:
            why = "--queue goes with --all: a job by its ID is in one queue anyway"
    elif id is not None:
        why = "give an ID or --all, not both"
    elif not follow:
        why = "--all is what jobs write from now on: give --follow too, or the ID of one job"
    elif step is not None:
        why = "--step goes with the ID of one job"
    if why:
        raise typer.BadParameter(why)


async def _one(
    jobs: "JobsClient", id: str, show: "LogView", choice: "StepFilter", *, follow: bool
) -> int:
    from airunner.cli.exit_codes import CommandFailed
    from airunner.cli.watch_job import watch
    from airunner.model.jobs import JobId

    if follow:
        await watch(jobs, JobId(id), show)
    else:
        await _stored(jobs, id, show)
    await show.finish()
    if not choice.matched:
        raise CommandFailed(
            f"job {id} has begun no step {choice.step}: `airunner show {id}` tells its steps"
        )
    return 0


async def _stored(jobs: "JobsClient", id: str, show: "LogView") -> None:
    """Show what is there already."""
    from contextlib import aclosing

    from airunner.model.jobs import JobId
    from airunner.wire.client.follow import follow

    stream = follow(
        jobs,
        JobId(id),
        stop_at_tail=True,
        kinds=show.kinds,
        lost=lambda refusal: show.remark(f"{refusal}; trying again"),
    )
    async with aclosing(stream) as events:
        async for event in events:
            await view.show(event)


async def _all(jobs: "JobsClient", queue: str, printed: "LineFormat | None") -> int:
    from airunner.cli.watch_all import AllJobsJson, AllJobsLines, follow_all_jobs

    show = AllJobsLines(printed) if printed else AllJobsJson()
    await follow_all_jobs(jobs, show, queue=queue)
    return 0
