"""`airunner artifacts`: lists and downloads the artifacts of a job."""

from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, NoReturn

import typer

from airunner.cli.client_settings import Settings, settings
from airunner.cli.exit_codes import DIFFERS, USAGE, CommandFailed
from airunner.cli.options import CaCert, JobArgument, Json, Server, Token, TokenFile

if TYPE_CHECKING:
    from airunner.cli.download_folder import DownloadFolder
    from airunner.model.artifacts import Artifact
    from airunner.model.jobs import JobId
    from airunner.wire.client.artifacts_client import ArtifactsClient

_CONCURRENT_MAX: Final = 4  # concurrent downloads

PatternsArgument = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="PATTERN",
        help="Select only these files, a pattern as in .gitignore; quote wildcards.",
    ),
]


def show(
    id: JobArgument,
    patterns: PatternsArgument = None,
    long: Annotated[
        bool, typer.Option("--long", help="Print also the SHA-256 of each file.")
    ] = False,
    as_json: Json = False,
    server: Server = None,
    token: Token = None,
    token_file: TokenFile = None,
    ca_cert: CaCert = None,
) -> None:
    """List the artifacts that the server keeps of a job's latest attempt.

    [bold]Examples[/bold]

    airunner artifacts "$id"

    airunner artifacts "$id" --json | jq -r .path
    """
    connection = settings(server, token, token_file, ca_cert)
    _run_client(connection, lambda client: _show(client, id, patterns or (), long, as_json))


def get(
    id: JobArgument,
    patterns: PatternsArgument = None,
    output: Annotated[
        Path, typer.Option("--output", metavar="DIR", help="Folder to download the files into.")
    ] = Path(),
    force: Annotated[bool, typer.Option("--force", help="Replace existing files.")] = False,
    server: Server = None,
    token: Token = None,
    token_file: TokenFile = None,
    ca_cert: CaCert = None,
) -> None:
    """Download the artifacts of a job's latest attempt: all, or the files that PATTERN selects.

    Each file is checked against its digest and appears whole or not at all. The command reconnects
    after a lost connection. Exit codes: 0: all files are in the folder; 1: the job has no such
    artifact; 125: a file could not be downloaded.

    [bold]Examples[/bold]

    airunner artifacts get "$id" --output built

    airunner artifacts get "$id" '*.whl' 'reports/' --force
    """
    connection = settings(server, token, token_file, ca_cert)
    _run_client(connection, lambda client: _get(client, id, patterns or (), output, force))


def _run_client(
    connection: Settings, work: "Callable[[ArtifactsClient], Awaitable[int]]"
) -> NoReturn:
    """Connects to the server, awaits the work, and exits with the exit code that it returns.

    SIGTERM cancels the work as Ctrl-C does, so that no incomplete file is left.
    """
    import asyncio
    import signal

    from airunner.wire.client.artifacts_client import ArtifactsClient

    async def connected() -> int:
        task, terminated = asyncio.current_task(), asyncio.Event()
        assert task is not None

        def end() -> None:
            terminated.set()
            task.cancel()

        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, end)
        try:
            async with ArtifactsClient(connection.endpoint()) as client:
                return await work(client)
        except asyncio.CancelledError:
            if terminated.is_set():
                return 128 + signal.SIGTERM
            raise

    raise typer.Exit(asyncio.run(connected()))


async def _show(
    client: "ArtifactsClient", id: str, patterns: Sequence[str], long: bool, as_json: bool
) -> int:
    from airunner.cli.render.streams import note, say
    from airunner.cli.render.table import aligned
    from airunner.cli.render.terminal_text import json_line
    from airunner.model.jobs import JobId
    from airunner.model.units import show_size
    from airunner.wire.json.artifacts import artifact_json

    found = await client.list(JobId(id))
    chosen = _matching(found, patterns)
    if not chosen and not as_json:
        note(_no_match(id, found))
    if as_json:
        for each in chosen:
            say(json_line(artifact_json(each)))
    elif chosen:
        rows = [("SHA256", "SIZE", "PATH")]
        rows += [(each.sha256, show_size(each.size), each.path) for each in chosen]
        for line in aligned([row if long else row[1:] for row in rows]):
            say(line)
    return 0


async def _get(
    client: "ArtifactsClient", id: str, patterns: Sequence[str], output: Path, force: bool
) -> int:
    from airunner.cli.download_folder import DownloadFolder
    from airunner.cli.render.streams import note
    from airunner.model.jobs import JobId
    from airunner.model.units import show_count, show_size

    found = await client.list(JobId(id))
    chosen = _matching(found, patterns)
    if not chosen:
        note(_no_match(id, found))
        return DIFFERS
    with DownloadFolder(output, replace=force) as folder:
        missing = folder.missing(chosen)
        folder.check(missing)
        size = sum(each.size for each in missing)
        with _progress(size) as progress:
            await _fetch(client, JobId(id), missing, folder, progress)
    there = len(chosen) - len(missing)
    more = f"; {there} of {len(chosen)} existed already" if there else ""
    note(f"downloaded {show_count(len(missing), 'artifact')} ({show_size(size)}) to {output}{more}")
    return 0


async def _fetch(
    client: "ArtifactsClient",
    id: "JobId",
    artifacts: Sequence["Artifact"],
    folder: "DownloadFolder",
    progress: "_Progress",
) -> None:
    import asyncio
    from contextlib import aclosing

    remaining, noted = iter(artifacts), set[str]()

    def note_lost(refusal: Exception) -> None:
        """Prints a note about a lost connection once, however many downloads it interrupts."""
        if str(refusal) not in noted:
            noted.add(str(refusal))
            progress.note(f"{refusal}; trying again")

    async def download() -> None:
        for artifact in remaining:
            chunks = client.download(id, artifact, lost=note_lost)
            with folder.create(artifact) as file:
                async with aclosing(chunks):
                    async for chunk in chunks:
                        file.write(chunk)
                        progress.advance(len(chunk))
            noted.clear()

    async with asyncio.TaskGroup() as tasks:
        for _ in range(min(_CONCURRENT_MAX, len(artifacts))):
            tasks.create_task(download())


@dataclass(frozen=True, slots=True)
class _Progress:
    """Reports the progress of the downloads to a person."""

    advance: Callable[[int], None]  # by a number of bytes
    note: Callable[[str], None]  # prints a line


@contextmanager
def _progress(size: int) -> Iterator[_Progress]:
    """A progress bar if standard error is a terminal; otherwise notes alone."""
    import os

    from airunner.cli.render.streams import STDERR, note
    from airunner.cli.render.terminal_text import printable

    if not os.isatty(STDERR):
        yield _Progress(lambda more: None, note)
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TimeRemainingColumn

    console = Console(stderr=True)
    columns = BarColumn(), DownloadColumn(binary_units=True), TimeRemainingColumn()
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("", total=size)
        yield _Progress(
            lambda more: bar.advance(task, more),
            lambda text: console.print(
                f"airunner: {printable(text)}", markup=False, highlight=False
            ),
        )


def _matching(found: Sequence["Artifact"], patterns: Sequence[str]) -> list["Artifact"]:
    if not patterns:
        return list(found)
    from airunner.jobfile.patterns import usable_patterns
    from airunner.worker.workspace.results.patterns import Patterns

    try:
        wanted = Patterns(usable_patterns(patterns))
    except ValueError as error:
        raise CommandFailed(str(error), USAGE) from None
    return [each for each in found if wanted.match(each.path)]


def _no_match(id: str, found: Sequence["Artifact"]) -> str:
    if not found:
        return f"the server keeps no artifacts of job {id}"
    return f"no artifact of job {id} matches: `airunner artifacts {id}` lists all of them"
