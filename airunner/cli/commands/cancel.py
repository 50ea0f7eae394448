"""`airunner cancel`: cancels jobs."""

from typing import TYPE_CHECKING, Annotated

import typer

from airunner.cli.client_command import run_client
from airunner.cli.client_settings import settings
from airunner.cli.options import CaCert, Server, Token, TokenFile

if TYPE_CHECKING:
    from airunner.wire.client.jobs_client import JobsClient


def cancel(
    ids: Annotated[list[str], typer.Argument(metavar="ID...", help="Ids of the jobs.")],
    server: Server = None,
    token: Token = None,
    token_file: TokenFile = None,
    ca_cert: CaCert = None,
) -> None:
    """Cancel jobs: a waiting job at once, a running job as soon as its worker has stopped it.

    A running job gets SIGTERM, and SIGKILL at the end of its grace period. Cancelling a job twice is
    not an error.

    [bold]Example[/bold]   airunner cancel "$id"
    """
    run_client(settings(server, token, token_file, ca_cert), lambda jobs: _cancel(jobs, ids))


async def _cancel(jobs: "JobsClient", ids: list[str]) -> int:
    from airunner.cli.exit_codes import OURS
    from airunner.cli.render.streams import note
    from airunner.model.errors import Refused, Unreachable
    from airunner.model.jobs import JobId

    code = 0
    for id in ids:
        try:
            job = await jobs.cancel(JobId(id))
        except Unreachable:
            raise
        except Refused as refusal:
            note(str(refusal))
            code = OURS
        else:
            note(f"job {id} is {'cancelled' if job.state.final else 'being cancelled'}")
    return code
