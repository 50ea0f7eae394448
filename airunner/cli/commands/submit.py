"""`airunner submit`: submits a job, shows its output, and exits with its exit code."""

import shlex
from collections.abc import Awaitable, Callable
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
_JOB = "The job (flags override the job file)"


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
            help="Repository to clone (a URL or a folder), and the command to run in it.",
        ),
    ] = None,
    config: Annotated[
        Path | None, typer.Option("--config", metavar="FILE", help="Job file, YAML or JSON.")
    ] = None,
    detach: Annotated[
        bool, typer.Option("--detach", help="Print the job's id and exit at once.")
    ] = False,
    group_markers: GroupMarkers = False,
    request_id: Annotated[
        str | None,
        typer.Option(
            "--request-id",
            metavar="KEY",
            help="Idempotency key: submitting the same job again with the same key returns the first job.",
        ),
    ] = None,
    script: Annotated[
        str | None,
        _job_option(
            "--script", "Shell script instead of a command; -: read it from standard input.", "TEXT"
        ),
    ] = None,
    step: Annotated[
        list[str] | None,
        _job_option(
            "--step", "Shell command of a step, instead of a command; repeatable, in order.", "TEXT"
        ),
    ] = None,
    shell: Annotated[
        str | None,
        _job_option(
            "--shell",
            "Shell that runs script and steps, such as 'bash -eu' (bash, or sh).",
            "PROGRAM",
        ),
    ] = None,
    name: Annotated[str | None, _job_option("--name", "Name of the job.", "NAME")] = None,
    queue: Annotated[
        str | None, _job_option("--queue", "Queue of the job (default: default).", "NAME")
    ] = None,
    source: Annotated[
        str | None,
        _job_option(
            "--source", "Folder below the worker's --jobs-dir; the job runs in a copy.", "FOLDER"
        ),
    ] = None,
    branch: Annotated[
        str | None, _job_option("--branch", "Branch or tag to check out.", "NAME")
    ] = None,
    commit: Annotated[str | None, _job_option("--commit", "Commit to check out.", "SHA")] = None,
    depth: Annotated[
        int | None, _job_option("--depth", "Commits of history to fetch; 0: all.", "N")
    ] = None,
    submodules: Annotated[
        str | None,
        _job_option(
            "--submodules", "Submodules to fetch: none, true (top level) or recursive.", "WHICH"
        ),
    ] = None,
    lfs: Annotated[
        bool,
        typer.Option("--lfs", help="Fetch the files of Git LFS.", rich_help_panel=_JOB),
    ] = False,
    filter: Annotated[
        str | None,
        _job_option("--filter", "Partial clone: what to leave out, such as blob:none.", "SPEC"),
    ] = None,
    sparse: Annotated[
        list[str] | None,
        _job_option(
            "--sparse", "Folder to check out, or a pattern as in .gitignore; repeatable.", "PATH"
        ),
    ] = None,
    no_checkout: Annotated[
        bool,
        typer.Option(
            "--no-checkout", help="Run in an empty folder, without a clone.", rich_help_panel=_JOB
        ),
    ] = False,
    working_directory: Annotated[
        str | None,
        _job_option("--working-directory", "Folder below the checkout to run in.", "PATH"),
    ] = None,
    artifact: Annotated[
        list[str] | None,
        _job_option(
            "--artifact", "Files to store, a pattern as in .gitignore; repeatable.", "PATTERN"
        ),
    ] = None,
    artifacts_on_cancel: Annotated[
        bool,
        typer.Option(
            "--artifacts-on-cancel",
            help="Store the artifacts even if the job is cancelled while it runs.",
            rich_help_panel=_JOB,
        ),
    ] = False,
    env: Annotated[
        list[str] | None,
        _job_option("--env", "Environment variable of the command; repeatable.", "NAME=VALUE"),
    ] = None,
    metadata: Annotated[
        list[str] | None,
        _job_option("--metadata", "Note on the job, for your own use; repeatable.", "KEY=VALUE"),
    ] = None,
    owner: Annotated[str | None, _job_option("--owner", "Owner of the job.", "NAME")] = None,
    pty: Annotated[
        bool | None,
        typer.Option(
            "--pty/--pipe",
            help="Run the command in a pseudo-terminal, or with pipes.",
            rich_help_panel=_JOB,
        ),
    ] = None,
    strict: Annotated[
        bool | None,
        typer.Option(
            "--strict/--no-strict",
            help="End a script or step at its first failing command, or go on (default: end).",
            rich_help_panel=_JOB,
        ),
    ] = None,
    merge_stderr: Annotated[
        bool,
        typer.Option(
            "--merge-stderr",
            help="One pipe for standard output and standard error: all of it is standard output, in "
            "exact order.",
            rich_help_panel=_JOB,
        ),
    ] = False,
    columns: Annotated[
        int | None, _job_option("--columns", "Columns of the terminal (default: 80).", "N")
    ] = None,
    rows: Annotated[
        int | None, _job_option("--rows", "Rows of the terminal (default: 24).", "N")
    ] = None,
    timeout: Annotated[
        str | None,
        _job_option("--timeout", "Longest running time, such as 90 or 10m; 0: no limit.", "TIME"),
    ] = None,
    queue_timeout: Annotated[
        str | None,
        _job_option("--queue-timeout", "Longest time in the queue; 0: no limit.", "TIME"),
    ] = None,
    grace: Annotated[
        str | None, _job_option("--grace", "Time from SIGTERM to SIGKILL (default: 10s).", "TIME")
    ] = None,
    attempts_max: Annotated[
        int | None,
        _job_option("--attempts-max", "Lost attempts after which the job fails (default: 3).", "N"),
    ] = None,
    output_bytes_max: Annotated[
        str | None, _job_option("--output-bytes-max", "Output to keep (default: 1GiB).", "SIZE")
    ] = None,
    server: Server = None,
    token: Token = None,
    token_file: TokenFile = None,
    ca_cert: CaCert = None,
) -> None:
    """Submit a job, show its output as it is written, and exit with its command's exit code.

    Exit codes: 128+n: signal n; 126: not executable; 127: not found; 124: timeout; 130: cancelled;
    125: airunner failed, not the command. Ctrl-C asks whether to cancel the job or to detach from it;
    without a terminal, SIGINT and SIGTERM cancel the job.

    [bold]Examples[/bold]

    airunner submit https://example.org/shop.git -- make test

    airunner submit --config job.yaml --branch main --timeout 10m .

    airunner submit --script - < build.sh

    airunner submit --step make --step 'make test' --artifact dist/ .

    airunner submit --detach --queue nightly -- ./backup.sh
    """
    from airunner.cli import submit_flags
    from airunner.jobfile.draft import JobDraft
    from airunner.jobfile.reader import read_job_file
    from airunner.model.spec import ProcessType

    repository, command = _split(words or [], context)
    flags = JobDraft(
        command=command[0] if command else None,
        args=tuple(command[1:]) if command else None,
        script=submit_flags.read_script("--script", script),
        steps=submit_flags.steps("--step", step),
        shell=shell,
        name=name,
        queue=queue,
        source=source,
        repository=repository,
        commit=commit,
        branch=branch,
        clone=submit_flags.clones(no_checkout, depth, submodules, lfs, filter, sparse),
        depth=depth,
        submodules=submit_flags.submodules_kind("--submodules", submodules),
        lfs=lfs or None,
        filter=filter,
        sparse=tuple(sparse) if sparse else None,
        working_directory=working_directory,
        artifacts=tuple(artifact) if artifact else None,
        environment=submit_flags.name_values("--env", env),
        metadata=submit_flags.name_values("--metadata", metadata),
        owner=owner,
        process_type=None if pty is None else ProcessType.PTY if pty else ProcessType.PIPE,
        merge_stderr=True if merge_stderr else None,
        strict=strict,
        artifacts_on_cancel=True if artifacts_on_cancel else None,
        columns=columns,
        rows=rows,
        timeout=submit_flags.duration_seconds("--timeout", timeout),
        queue_timeout=submit_flags.duration_seconds("--queue-timeout", queue_timeout),
        grace=submit_flags.duration_seconds("--grace", grace),
        attempts_max=attempts_max,
        output_bytes_max=submit_flags.size_bytes("--output-bytes-max", output_bytes_max),
    )
    flags = submit_flags.with_sources(flags)
    draft = flags.with_defaults(read_job_file(config)) if config else flags
    spec = draft.spec()
    submit_flags.check_patterns(spec, draft.origins.get("artifacts", "artifacts"))
    connection = settings(server, token, token_file, ca_cert)
    request = _request(request_id)
    run_client(connection, _work(spec, request, detach=detach, group_markers=group_markers))


def _split(words: list[str], context: typer.Context) -> tuple[str | None, list[str]]:
    """The repository, None if the command line names none, and the job's command."""
    from airunner.cli.render.table import cropped
    from airunner.jobfile.draft import resolve_repository

    command: list[str] = context.obj if isinstance(context.obj, list) else []
    if len(words) > 1:
        intended = cropped(shlex.join(words[1:]), _HINT_CELLS)
        raise CommandFailed(
            f"{words[1]!r} is one word too many: put the command after --, as in "
            f"`airunner submit {shlex.quote(words[0])} -- {intended}`",
            2,
        )
    return (resolve_repository(words[0], Path.cwd()) if words else None), command


def _request(request_id: str | None) -> "RequestId":
    """The caller's key, or a new key, so that retries of the request never submit a job twice."""
    from uuid import uuid4

    from airunner.model.jobs import RequestId

    if request_id is not None and not request_id:
        raise CommandFailed("--request-id is empty: give a key, or leave the flag out", 2)
    return RequestId(request_id or f"submit-{uuid4()}")


def _work(
    spec: "JobSpec", request: "RequestId", *, detach: bool, group_markers: bool
) -> Callable[["JobsClient"], Awaitable[int]]:
    """The work of the command, once it is connected to the server."""
    if detach:
        return lambda jobs: _detached(jobs, spec, request)
    return lambda jobs: _watched(jobs, spec, request, group_markers)


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
        view = pass_through(until_closed=False, count_steps=count, group_markers=group_markers)
        try:
            async with asyncio.TaskGroup() as tasks:
                minding = tasks.create_task(interrupts.handle(jobs, accepted.id))
                code = await watch(jobs, accepted.id, view, known=True)
                minding.cancel()
            return code
        except* Detached:
            note(f"job {accepted.id} goes on: `airunner monitor {accepted.id}` shows it")
    return INTERRUPTED
