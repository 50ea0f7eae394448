"""`airunner retry`: submits a job again as a new job."""

from typing import TYPE_CHECKING, Annotated

import typer

from airunner.cli.client_command import run_client
from airunner.cli.client_settings import settings
from airunner.cli.options import CaCert, GroupMarkers, JobArgument, Server, Token, TokenFile

if TYPE_CHECKING:
    from airunner.wire.client.jobs_client import JobsClient


def retry(
    id: JobArgument,
    watch: Annotated[
        bool, typer.Option("--monitor", help="Watch the new job, and exit with its exit code.")
    ] = False,
    group_markers: GroupMarkers = False,
    request_id: Annotated[
        str | None,
        typer.Option(
            "--request-id",
            metavar="KEY",
            help="Idempotency key: the same key again returns the first new job.",
        ),
    ] = None,
    server: Server = None,
    token: Token = None,
    token_file: TokenFile = None,
    ca_cert: CaCert = None,
) -> None:
    """Submit the spec of a job again as a new job, and print the new job's id.

    [bold]Example[/bold]   airunner retry "$id" --monitor
    """
    if group_markers and not watch:
        raise typer.BadParameter("--group-markers goes with --monitor")
    connection = settings(server, token, token_file, ca_cert)
    run_client(connection, lambda jobs: _retry(jobs, id, request_id, watch, group_markers))


async def _retry(
    jobs: "JobsClient", id: str, request_id: str | None, watch: bool, group_markers: bool
) -> int:
    from functools import partial
    from uuid import uuid4

    from airunner.cli.render.streams import note, say
    from airunner.cli.render.views import pass_through
    from airunner.cli.watch_job import count_steps
    from airunner.cli.watch_job import watch as watch_job
    from airunner.model.jobs import JobId, RequestId

    job = await jobs.retry(JobId(id), request=RequestId(request_id or f"retry-{uuid4()}"))
    if not watch:
        say(job.id)
        return 0
    note(f"job {job.id}")
    count = partial(count_steps, jobs, job.id)
    view = pass_through(until_closed=True, count_steps=count, group_markers=group_markers)
    return await watch_job(jobs, job.id, view, known=True)
