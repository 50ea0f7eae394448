"""`airunner up`: a server and a worker on this machine, with nothing to set up."""

import os
from typing import Annotated

import typer

from airunner.cli.options import JobsDir


def up(
    listen: Annotated[
        str, typer.Option("--listen", metavar="HOST:PORT", help="Of the server; port 0: any.")
    ] = "localhost:8080",
    queue: Annotated[
        list[str] | None,
        typer.Option("--queue", metavar="NAME", help="Of the worker; repeatable (default)."),
    ] = None,
    slots: Annotated[
        int, typer.Option("--slots", min=1, metavar="N", help="Jobs at once.")
    ] = os.cpu_count() or 1,
    jobs_dir: JobsDir = None,
    store: Annotated[
        str | None,
        typer.Option(
            "--store",
            metavar="memory|sqlite:PATH",
            help="Where jobs are kept (default: sqlite, in jobs.db there).",
        ),
    ] = None,
    log_format: Annotated[
        str, typer.Option("--log-format", help="console or json, on standard error.")
    ] = "console",
) -> None:
    """Run a server and a worker until Ctrl-C.

    Certificates, keys and a token are made on first use, in your data folder. Jobs and their output
    are kept there too, and are there again the next time. While it runs, the other commands find it
    by themselves. The worker may clone repositories of this machine.

    [bold]Example[/bold]   airunner up   and in another terminal   airunner submit -- echo hello
    """
    import asyncio

    from airunner.cli.client_settings import JOBS_FILE, embedded_folder
    from airunner.cli.processes.embedded import prepare, run_both
    from airunner.cli.processes.folders import check_worker
    from airunner.cli.processes.logging import log_format_named

    folder = embedded_folder()
    prepare(folder)
    options = ["--log-format", log_format_named(log_format).value]
    keeping = ["--store", store or f"sqlite:{folder / JOBS_FILE}"]
    worker = [*options, "--slots", str(slots)]
    if jobs_dir is not None:
        check_worker(jobs_dir, folder / "work", folder / "work")
        worker += ["--jobs-dir", str(jobs_dir)]
    for name in queue or ["default"]:
        worker += ["--queue", name]
    raise typer.Exit(
        asyncio.run(run_both(folder, ["--listen", listen, *keeping, *options], worker))
    )
