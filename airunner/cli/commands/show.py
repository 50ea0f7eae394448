"""`airunner show`: shows all properties of a job."""

from typing import TYPE_CHECKING

from airunner.cli.client_command import run_client
from airunner.cli.client_settings import settings
from airunner.cli.options import CaCert, JobArgument, Json, Server, Token, TokenFile

if TYPE_CHECKING:
    from airunner.wire.client.jobs_client import JobsClient


def show(
    id: JobArgument,
    as_json: Json = False,
    server: Server = None,
    token: Token = None,
    token_file: TokenFile = None,
    ca_cert: CaCert = None,
) -> None:
    """Show a job: its spec, state, attempts and results, and the reason why it waits.

    [bold]Example[/bold]   airunner show "$id" --json | jq .exit_code
    """
    run_client(settings(server, token, token_file, ca_cert), lambda jobs: _print(jobs, id, as_json))


async def _print(jobs: "JobsClient", id: str, as_json: bool) -> int:
    from airunner.cli.render.jobs import job_prose
    from airunner.cli.render.streams import say
    from airunner.cli.render.terminal_text import json_line
    from airunner.model.jobs import JobId
    from airunner.wire.json.jobs import job_details_json

    job, waiting = await jobs.get(JobId(id))
    if as_json:
        say(json_line(job_details_json(job, waiting)))
    else:
        for line in job_prose(job, waiting):
            say(line)
    return 0
