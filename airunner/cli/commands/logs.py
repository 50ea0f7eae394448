"""`airunner logs`: prints the output of a job, byte for byte or line by line, or of all jobs."""

from typing import TYPE_CHECKING, Annotated

import typer

from airunner.cli.client_command import run_client
from airunner.cli.client_settings import settings
from airunner.cli.options import CaCert, Server, Token, TokenFile

LINES_MAX = 1_000_000  # lines of --tail, which are held in memory

if TYPE_CHECKING:
    from airunner.cli.render.output_lines import LineFormat, LogView, StepFilter
    from airunner.model.jobs import Instant
    from airunner.wire.client.jobs_client import JobsClient


def logs(
    id: Annotated[
        str | None,
        typer.Argument(metavar="ID", help="Id of the job, as `airunner submit` prints it."),
    ] = None,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Wait for more output until the job has ended.")
    ] = False,
    lines: Annotated[
        bool,
        typer.Option(
            "--lines",
            help="Print line by line: standard output and standard error each to their own stream.",
        ),
    ] = False,
    prefix_stderr: Annotated[
        str | None,
        typer.Option(
            "--prefix-stderr",
            metavar="PREFIX",
            help="Print line by line, all to standard output: PREFIX before lines of standard error, "
            "and EXIT:CODE at the end of a job.",
        ),
    ] = None,
    step: Annotated[
        str | None,
        typer.Option(
            "--step",
            metavar="STEP",
            help="Print only the output of this step: its number (1, 2 ...) or its name.",
        ),
    ] = None,
    tail: Annotated[
        int | None,
        typer.Option(
            "--tail",
            min=0,
            max=LINES_MAX,
            metavar="N",
            help="Print only the last N lines; with --follow, then all further lines.",
        ),
    ] = None,
    since: Annotated[
        str | None,
        typer.Option(
            "--since",
            metavar="TIME",
            help="Print only lines that begin at TIME or later: 2031-04-01T09:00:00Z, or a duration "
            "before now such as 10m.",
        ),
    ] = None,
    timestamps: Annotated[
        bool,
        typer.Option("--timestamps", help="Print the time of its first byte before each line."),
    ] = False,
    everything: Annotated[
        bool, typer.Option("--all", help="Follow all jobs from now on; with --follow.")
    ] = False,
    queue: Annotated[
        str | None, typer.Option("--queue", help="With --all: follow only jobs of this queue.")
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print every event as a line of JSON.")
    ] = False,
    server: Server = None,
    token: Token = None,
    token_file: TokenFile = None,
    ca_cert: CaCert = None,
) -> None:
    """Print the output of a job: the stored output, or with --follow all output until its end.

    By default both streams go to standard output, byte for byte, in the order in which they were
    read. The exit code is 0 for every outcome of the job; use `airunner monitor` for the job's own
    exit code.

    A line ends with a newline or a carriage return. It is printed when it is complete, or when its
    step or attempt has ended. A line longer than 1 MiB is printed in pieces of 1 MiB. With --tail,
    --since or --timestamps the output is printed line by line, too. Times are those of the worker's
    clock, in UTC.

    With --all, each line begins with the id of its job and a space. The command runs until it is
    stopped. It reconnects after lost connections and server restarts, and misses no output.

    [bold]Examples[/bold]

    airunner logs "$id" > build.log

    airunner logs "$id" --follow --prefix-stderr ERROR::

    airunner logs "$id" --tail 20 --timestamps

    airunner logs --all --follow --queue nightly
    """
    _check(id, follow=follow, everything=everything, queue=queue, step=step)
    selected = step is not None or tail is not None or since is not None
    if as_json and (lines or timestamps or prefix_stderr is not None or selected):
        raise typer.BadParameter(
            "--json prints events: leave out --lines, --prefix-stderr, --step, --tail, --since and "
            "--timestamps"
        )
    if everything and (tail is not None or since is not None):
        raise typer.BadParameter("--all prints output from now on: leave out --tail and --since")
    connection = settings(server, token, token_file, ca_cert)
    begin = _instant(since)

    from airunner.cli.render.output_lines import (
        ByteView,
        EventView,
        LineFormat,
        LineView,
        StepFilter,
    )

    if id is None:
        format = None if as_json else LineFormat(prefix_stderr, timestamps=timestamps)
        run_client(connection, lambda jobs: _all(jobs, queue or "", format))
    job, filter = id, StepFilter(step)
    apart = lines or prefix_stderr is not None
    view: LogView
    if as_json:
        view = EventView()
    elif apart or timestamps or tail is not None or begin is not None:
        form = LineFormat(prefix_stderr, apart=apart, timestamps=timestamps)
        view = LineView(form, filter, since=begin, tail=tail)
    else:
        view = ByteView(filter)
    after_tail = follow and tail is not None
    run_client(
        connection, lambda jobs: _one(jobs, job, view, filter, follow=follow, after_tail=after_tail)
    )


def _instant(since: str | None) -> "Instant | None":
    from time import time_ns

    from airunner.cli.past_time import past_millis
    from airunner.model.jobs import Instant

    if since is None:
        return None
    return Instant(past_millis("--since", since, time_ns() // 1_000_000))


def _check(
    id: str | None, *, follow: bool, everything: bool, queue: str | None, step: str | None
) -> None:
    """Refuses flags that do not go together."""
    why = ""
    if not everything:
        if id is None:
            why = "give the ID of a job, or --all --follow for all jobs from now on"
        elif queue is not None:
            why = "--queue goes with --all, not with the ID of a job"
    elif id is not None:
        why = "give the ID of a job or --all, not both"
    elif not follow:
        why = "--all prints output from now on: give --follow too, or the ID of a job"
    elif step is not None:
        why = "--step goes with the ID of a job, not with --all"
    if why:
        raise typer.BadParameter(why)


async def _one(
    jobs: "JobsClient",
    id: str,
    view: "LogView",
    filter: "StepFilter",
    *,
    follow: bool,
    after_tail: bool,
) -> int:
    """Prints the output of a job. `after_tail`: first the last lines, then all that follow."""
    from airunner.cli.exit_codes import CommandFailed
    from airunner.cli.watch_job import watch
    from airunner.model.jobs import JobId

    begin: int | None = 1
    if after_tail or not follow:
        begin = await _print_stored(jobs, id, view)
    if after_tail:
        await view.end_tail()
    if follow and begin is not None:
        await watch(jobs, JobId(id), view, from_sequence=begin)
    await view.finish()
    if not filter.matched:
        raise CommandFailed(
            f"job {id} has started no step {filter.step}: `airunner show {id}` lists its steps"
        )
    return 0


async def _print_stored(jobs: "JobsClient", id: str, view: "LogView") -> int | None:
    """Prints the events that the server has stored so far.

    Returns the sequence of the next event, or None if the job has ended.
    """
    from contextlib import aclosing

    from airunner.model.job_events import JobFinished
    from airunner.model.jobs import JobId
    from airunner.wire.client.follow import follow

    stream = follow(
        jobs,
        JobId(id),
        stop_at_tail=True,
        kinds=view.kinds,
        lost=lambda refusal: view.remark(f"{refusal}; trying again"),
    )
    async with aclosing(stream) as events:
        last = 0
        async for event in events:
            await view.show(event)
            if isinstance(event.body, JobFinished):
                return None
            last = event.last
    return last + 1


async def _all(jobs: "JobsClient", queue: str, format: "LineFormat | None") -> int:
    from airunner.cli.watch_all import AllJobsJson, AllJobsLines, follow_all_jobs

    view = AllJobsLines(format) if format else AllJobsJson()
    await follow_all_jobs(jobs, view, queue=queue)
    return 0
