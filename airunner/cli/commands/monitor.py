"""`airunner monitor`: watches a job from its first event."""

from typing import TYPE_CHECKING, Annotated

import typer

from airunner.cli.client_command import run_client
from airunner.cli.client_settings import settings
from airunner.cli.options import CaCert, GroupMarkers, JobArgument, Server, Token, TokenFile

if TYPE_CHECKING:
    from airunner.wire.client.jobs_client import JobsClient


def monitor(
    id: JobArgument,
    from_sequence: Annotated[
        int,
        typer.Option(
            "--from-sequence",
            min=1,
            max=2**63 - 1,
            help="Sequence number of the first event to show.",
        ),
    ] = 1,
    playback: Annotated[
        bool, typer.Option("--playback", help="Show output at the pace at which the job wrote it.")
    ] = False,
    speed: Annotated[
        float,
        typer.Option(
            "--speed", min=0.01, max=1000.0, help="Factor by which to speed up the playback."
        ),
    ] = 1.0,
    max_idle: Annotated[
        float | None,
        typer.Option(
            "--max-idle", min=0.0, metavar="SECONDS", help="Longest pause in the playback."
        ),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print every event as a line of JSON.")
    ] = False,
    raw: Annotated[
        bool, typer.Option("--raw", help="Print the bytes of the output alone.")
    ] = False,
    group_markers: GroupMarkers = False,
    server: Server = None,
    token: Token = None,
    token_file: TokenFile = None,
    ca_cert: CaCert = None,
) -> None:
    """Watch a job from its first line until its end, at any time and any number of times.

    The command reconnects after a lost connection and misses no output. It exits with the exit code
    of the job's command, as `airunner submit` does. Ctrl-C ends the watching (exit code 130), and the
    job goes on.

    [bold]Examples[/bold]

    airunner monitor 0198c5f2-7d1e-7a43-9c0b-5a3e8f1d2b6c

    airunner monitor "$id" --playback --speed 4 --max-idle 2

    airunner monitor "$id" --json | jq -r 'select(.type == "output").output'
    """
    if as_json and raw:
        raise typer.BadParameter("give --json or --raw, not both")
    if group_markers and (as_json or raw):
        raise typer.BadParameter("--group-markers goes with neither --json nor --raw")
    connection = settings(server, token, token_file, ca_cert)

    import asyncio
    import time
    from functools import partial

    from airunner.cli.render.playback import Pace
    from airunner.cli.render.views import JsonView, RawView, no_pause, pass_through
    from airunner.cli.watch_job import count_steps, watch
    from airunner.model.jobs import Instant, JobId

    pace = Pace(speed, max_idle, time.monotonic)

    async def paced(at: Instant) -> None:
        if seconds := pace.wait(at):
            await asyncio.sleep(seconds)

    async def watched(jobs: "JobsClient") -> int:
        pause = paced if playback else no_pause
        view = (
            JsonView(pause=pause)
            if as_json
            else RawView(pause=pause)
            if raw
            else pass_through(
                until_closed=True,
                count_steps=partial(count_steps, jobs, JobId(id)),
                group_markers=group_markers,
                pause=pause,
            )
        )
        return await watch(jobs, JobId(id), view, from_sequence=from_sequence)

    run_client(connection, watched)
