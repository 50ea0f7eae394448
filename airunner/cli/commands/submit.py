"""`airunner submit`: a job, its output, and its exit code, as if it ran here."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from airunner.cli.client_command import run_client
from airunner.cli.client_settings import settings
from airunner.cli.exit_codes import INTERRUPTED, CommandFailed
from airunner.cli.options import CaCert, GroupMarkers, Server, Token, TokenFile

if TYPE_CHECKING:
    from airunner.model.jobs import RequestId
    from airunner.model.spec import JobSpec
    from airunner.wire.client.jobs_client import JobsClient

_HINT_CELLS = 60
_JOB = "The job (over what the file says)"


def _job_option(flag: str, help: str, metavar: str) -> typer.models.OptionInfo:
    option: typer.models.OptionInfo = typer.Option(
        flag, help=help, metavar=metavar, rich_help_panel=_JOB
    )
    return option


def submit(
    context: typer.Context,
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[REPO] [-- COMMAND ARG...]",
            help="The repository to clone (a URL or a folder), and the command to run in it.",
        ),
    ] = None,
    config: Annotated[
        Path | None, typer.Option("--config", metavar="FILE", help="A job file, YAML or JSON.")
    ] = None,
    detach: Annotated[
        bool, typer.Option("--detach", help="Print the job's id and do not wait for it.")
    ] = False,
    group_markers: GroupMarkers = False,
    request_id: Annotated[
        str | None,
        typer.Option(
            "--request-id",
            metavar="KEY",
            help="The same key and the same job again: no second job, but the first one.",
        ),
    ] = None,
    script: Annotated[
        str | None,
        _job_option(
            "--script", "Instead of a command: a shell script; -: on standard input.", "TEXT"
        ),
    ] = None,
    step: Annotated[
        list[str] | None,
        _job_option(
            "--step", "Instead of a command: a shell command; repeatable, in order.", "TEXT"
        ),
    ] = None,
    shell: Annotated[
        str | None,
        _job_option(
            "--shell", "What runs script and steps, as in 'bash -eu' (bash, or sh).", "PROGRAM"
        ),
    ] = None,
    name: Annotated[str | None, _job_option("--name", "What to call it.", "NAME")] = None,
    queue: Annotated[
        str | None, _job_option("--queue", "The queue (default: default).", "NAME")
    ] = None,
    source: Annotated[
        str | None,
        _job_option(
            "--source", "A folder below the worker's --jobs-dir, to run in a copy of.", "FOLDER"
        ),
    ] = None,
    branch: Annotated[str | None, _job_option("--branch", "The branch or tag.", "NAME")] = None,
    commit: Annotated[str | None, _job_option("--commit", "The commit.", "SHA")] = None,
    depth: Annotated[int | None, _job_option("--depth", "Commits of history; 0: all.", "N")] = None,
    submodules: Annotated[
        str | None, _job_option("--submodules", "none, true (the top ones) or recursive.", "WHICH")
    ] = None,
    no_checkout: Annotated[
        bool,
        typer.Option("--no-checkout", help="An empty folder, no clone.", rich_help_panel=_JOB),
    ] = False,
    working_directory: Annotated[
        str | None, _job_option("--working-directory", "Below the checkout.", "PATH")
    ] = None,
    artifact: Annotated[
        list[str] | None,
        _job_option("--artifact", "Files to keep, as in .gitignore; repeatable.", "PATTERN"),
    ] = None,
    env: Annotated[
        list[str] | None,
        _job_option("--env", "A variable for the command; repeatable.", "NAME=VALUE"),
    ] = None,
    metadata: Annotated[
        list[str] | None, _job_option("--metadata", "Your own note; repeatable.", "KEY=VALUE")
    ] = None,
    owner: Annotated[str | None, _job_option("--owner", "Whose job it is.", "NAME")] = None,
    pty: Annotated[
        bool | None,
        typer.Option("--pty/--pipe", help="A terminal for the command.", rich_help_panel=_JOB),
    ] = None,
    columns: Annotated[int | None, _job_option("--columns", "Of the terminal (80).", "N")] = None,
    rows: Annotated[int | None, _job_option("--rows", "Of the terminal (24).", "N")] = None,
    timeout: Annotated[
        str | None, _job_option("--timeout", "Of running, such as 90 or 10m; 0: none.", "TIME")
    ] = None,
    queue_timeout: Annotated[
        str | None, _job_option("--queue-timeout", "Of waiting in line; 0: none.", "TIME")
    ] = None,
    grace: Annotated[
        str | None, _job_option("--grace", "From SIGTERM to SIGKILL (10s).", "TIME")
    ] = None,
    attempts_max: Annotated[
        int | None, _job_option("--attempts-max", "Workers that may be lost (3).", "N")
    ] = None,
    output_bytes_max: Annotated[
        str | None, _job_option("--output-bytes-max", "Output that is kept (1GiB).", "SIZE")
    ] = None,
    server: Server = None,
    token: Token = None,
    token_file: TokenFile = None,
    ca_cert: CaCert = None,
) -> None:
    """Submit a job, show its output as it comes, and exit with its command's exit code.

    128+n: signal n; 126: not executable; 127: not found; 124: timeout; 130: cancelled; 125: anything of
    airunner's own. Ctrl-C asks whether to cancel the job or to detach from it; without a terminal,
    SIGINT and SIGTERM cancel it.

    [bold]Examples[/bold]

    airunner submit https://example.org/shop.git -- make test

    airunner submit --config job.yaml --branch main --timeout 10m .

    airunner submit --script - < build.sh

    airunner submit --step make --step 'make test' --artifact dist/ .

    airunner submit --detach --queue nightly -- ./backup.sh
    """
    from airunner.cli import submit_flags as of
    from airunner.jobfile.draft import JobDraft
    from airunner.jobfile.reader import read_job_file
    from airunner.model.spec import ProcessType, Submodules

    if submodules is not None and submodules not in list(Submodules):
        raise CommandFailed(f"--submodules: {submodules!r} is not none, true or recursive")
    repository, command = _split(words or [], context)
    flags = JobDraft(
        command=command[0] if command else None,
        args=tuple(command[1:]) if command else None,
        script=of.read_script("--script", script),
        steps=of.steps("--step", step),
        shell=shell,
        name=name,
        queue=queue,
        source=source,
        repository=repository,
        commit=commit,
        branch=branch,
        clone=False if no_checkout else True if depth is not None or submodules else None,
        depth=depth,
        submodules=Submodules(submodules) if submodules is not None else None,
        working_directory=working_directory,
        artifacts=tuple(artifact) if artifact else None,
        environment=of.name_values("--env", env),
        metadata=of.name_values("--metadata", metadata),
        owner=owner,
        process_type=None if pty is None else ProcessType.PTY if pty else ProcessType.PIPE,
        columns=columns,
        rows=rows,
        timeout=of.duration_seconds("--timeout", timeout),
        queue_timeout=of.duration_seconds("--queue-timeout", queue_timeout),
        grace=of.duration_seconds("--grace", grace),
        attempts_max=attempts_max,
        output_bytes_max=of.size_bytes("--output-bytes-max", output_bytes_max),
    )
    flags = of.with_sources(flags)
    spec = (flags.over(read_job_file(config)) if config else flags).spec()
    said = settings(server, token, token_file, ca_cert)
    request = _request(request_id)
    run_client(
        said,
        lambda jobs: (
            _detached(jobs, spec, request)
            if detach
            else _watched(jobs, spec, request, group_markers)
        ),
    )


def _split(words: list[str], context: typer.Context) -> tuple[str | None, list[str]]:
    """The repository, if there is one, and the command."""
    from airunner.cli.render.table import cropped
    from airunner.jobfile.draft import locate

    command: list[str] = context.obj if isinstance(context.obj, list) else []
    if len(words) > 1:
        meant = cropped(shlex.join(words[1:]), _HINT_CELLS)
        raise CommandFailed(
            f"{words[1]!r} is one word too many: put the command after --, as in "
            f"`airunner submit {shlex.quote(words[0])} -- {meant}`",
            2,
        )
    return (locate(words[0], Path.cwd()) if words else None), command


def _request(request_id: str | None) -> "RequestId":
    """A key of the caller's, or a new one, so that our own retries never submit a job twice."""
    from uuid import uuid4

    from airunner.model.jobs import RequestId

    if request_id is not None and not request_id:
        raise CommandFailed("--request-id is empty: give a key, or leave it out", 2)
    return RequestId(request_id or f"submit-{uuid4()}")


async def _detached(jobs: "JobsClient", spec: "JobSpec", request: "RequestId") -> int:
    from airunner.cli.render.streams import say

    accepted = await jobs.enqueue(spec, request=request)
    say(accepted.id)
    return 0


async def _watched(
    jobs: "JobsClient", spec: "JobSpec", request: "RequestId", group_markers: bool
) -> int:
    import asyncio
    from functools import partial

    from airunner.cli.interrupts import Detached, Interrupts
    from airunner.cli.render.streams import note
    from airunner.cli.render.views import pass_through
    from airunner.cli.watch_job import count_steps, watch

    with Interrupts() as interrupts:
        accepted = await interrupts.await_answer(jobs.enqueue(spec, request=request))
        note(f"job {accepted.id}")
        count = partial(count_steps, jobs, accepted.id)
        shown = pass_through(until_closed=False, count_steps=count, group_markers=group_markers)
        try:
            async with asyncio.TaskGroup() as tasks:
                minding = tasks.create_task(interrupts.handle(jobs, accepted.id))
                code = await watch(jobs, accepted.id, shown, known=True)
                minding.cancel()
            return code
        except* Detached:
            note(f"job {accepted.id} goes on: `airunner monitor {accepted.id}` shows it")
    return INTERRUPTED
