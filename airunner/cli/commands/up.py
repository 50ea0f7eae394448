"""`airunner up`: runs a server and a worker on this machine, without any set-up."""

import os
from typing import Annotated

import typer

from airunner.cli.options import JobsDir


def up(
    listen: Annotated[
        str,
        typer.Option(
            "--listen", metavar="HOST:PORT", help="Address of the server; port 0: any free port."
        ),
    ] = "localhost:8080",
    queue: Annotated[
        list[str] | None,
        typer.Option(
            "--queue",
            metavar="NAME",
            help="Queue that the worker serves; repeatable (default: default).",
        ),
    ] = None,
    slots: Annotated[
        int, typer.Option("--slots", min=1, metavar="N", help="Concurrent jobs of the worker.")
    ] = os.cpu_count() or 1,
    jobs_dir: JobsDir = None,
    store: Annotated[
        str | None,
        typer.Option(
            "--store",
            metavar="memory|sqlite:PATH",
            help="Storage of jobs (default: sqlite, in jobs.db in your data folder).",
        ),
    ] = None,
    log_format: Annotated[
        str,
        typer.Option("--log-format", help="Format of the log on standard error: console or json."),
    ] = "console",
) -> None:
    """Run a server and a worker until Ctrl-C.

    The first start makes certificates and keys in your data folder. Jobs and their output are kept
    there too, and the next start has them again. While `up` runs, the other commands find its server
    by themselves. The worker may clone repositories of this machine.

    [bold]Example[/bold]   airunner up   and in another terminal   airunner submit -- echo hello
    """
    import asyncio

    from airunner.cli.client_settings import JOBS_FILE, embedded_folder
    from airunner.cli.processes.embedded_server import prepare, run_both
    from airunner.cli.processes.folders import check_worker
    from airunner.cli.processes.logging import log_format_named

    folder = embedded_folder()
    prepare(folder)
    options = ["--log-format", log_format_named(log_format).value]
    storage = ["--store", store or f"sqlite:{folder / JOBS_FILE}"]
    worker = [*options, "--slots", str(slots)]
    if jobs_dir is not None:
        check_worker(jobs_dir, folder / "work", folder / "work")
        worker += ["--jobs-dir", str(jobs_dir)]
    for name in queue or ["default"]:
        worker += ["--queue", name]
    raise typer.Exit(
        asyncio.run(run_both(folder, ["--listen", listen, *storage, *options], worker))
    )
