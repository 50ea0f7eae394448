"""`airunner logs`: the stored output of a job, byte for byte."""

from typing import TYPE_CHECKING

from airunner.cli.options import CaCert, JobArgument, Server, Token, TokenFile
from airunner.cli.running import ask
from airunner.cli.settings import settings

if TYPE_CHECKING:
    from airunner.wire.client import JobsClient


def logs(
    id: JobArgument,
    server: Server = None,
    token: Token = None,
    token_file: TokenFile = None,
    ca_cert: CaCert = None,
) -> None:
    """Print the output that is stored of a job so far, and nothing else.

    Both streams go to standard output, in the order in which they were read. It survives lost
    connections. To wait for more, use `airunner monitor`.

    [bold]Example[/bold]   airunner logs "$id" > build.log
    """
    ask(settings(server, token, token_file, ca_cert), lambda jobs: _print(jobs, id))


async def _print(jobs: "JobsClient", id: str) -> int:
    from contextlib import aclosing

    from airunner.cli.entries_shown import remark
    from airunner.cli.output import STDOUT, note, send
    from airunner.jobs import JobId
    from airunner.reports import Output, OutputCut
    from airunner.wire.follow import follow

    stream = follow(
        jobs,
        JobId(id),
        stop_at_tail=True,
        kinds=("output",),
        lost=lambda refusal: note(f"{refusal}; trying again"),
    )
    async with aclosing(stream) as entries:
        async for entry in entries:
            if isinstance(entry.what, Output):
                for chunk in entry.what.chunks:
                    await send(STDOUT, chunk.data)
            elif isinstance(entry.what, OutputCut):
                note(remark(entry.what) or "")
    return 0
