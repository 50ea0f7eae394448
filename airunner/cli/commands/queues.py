"""`airunner queues`: counts the jobs and workers of each queue."""

from typing import TYPE_CHECKING

from airunner.cli.client_command import run_client
from airunner.cli.client_settings import settings
from airunner.cli.options import CaCert, Json, Server, Token, TokenFile

if TYPE_CHECKING:
    from airunner.wire.client.jobs_client import JobsClient


def queues(
    as_json: Json = False,
    server: Server = None,
    token: Token = None,
    token_file: TokenFile = None,
    ca_cert: CaCert = None,
) -> None:
    """Show the number of jobs in each state, and the workers, of each queue.

    [bold]Example[/bold]   airunner queues --json
    """
    run_client(settings(server, token, token_file, ca_cert), lambda jobs: _print(jobs, as_json))


async def _print(jobs: "JobsClient", as_json: bool) -> int:
    from airunner.cli.render.queues import statistics_table
    from airunner.cli.render.streams import say
    from airunner.cli.render.terminal_text import json_line
    from airunner.wire.json.queues import statistics_json

    found = await jobs.statistics()
    lines = (
        [json_line(statistics_json(each)) for each in found] if as_json else statistics_table(found)
    )
    for line in lines:
        say(line)
    return 0
