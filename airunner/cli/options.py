"""Options that many commands share, described once."""

from pathlib import Path
from typing import Annotated

import typer

_SERVER = "Where the server is"

Server = Annotated[
    str | None,
    typer.Option(
        "--server",
        metavar="HOST:PORT",
        help="The server (default localhost:8080; env: AIRUNNER_SERVER).",
        rich_help_panel=_SERVER,
    ),
]
Token = Annotated[
    str | None,
    typer.Option(
        "--token",
        metavar="TOKEN",
        help="The token that says who you are; better in AIRUNNER_TOKEN, since others can see "
        "the arguments of a process.",
        rich_help_panel=_SERVER,
    ),
]
TokenFile = Annotated[
    Path | None,
    typer.Option(
        "--token-file",
        metavar="FILE",
        help="A file with the token, read again for each call (env: AIRUNNER_TOKEN_FILE).",
        rich_help_panel=_SERVER,
    ),
]
CaCert = Annotated[
    Path | None,
    typer.Option(
        "--ca-cert",
        metavar="FILE",
        help="The CA certificate to trust, PEM (default the system's; env: AIRUNNER_CA_CERT).",
        rich_help_panel=_SERVER,
    ),
]
JobArgument = Annotated[
    str, typer.Argument(metavar="ID", help="The job, as `airunner submit` names it.")
]
GroupMarkers = Annotated[
    bool,
    typer.Option(
        "--group-markers",
        help="Put markers around the output of each step, by which a CI system folds it.",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, an object per line.")]

Lifeline = Annotated[
    int | None,
    typer.Option(
        "--lifeline-fd", min=3, metavar="N", hidden=True, help="Stop when this pipe ends."
    ),
]

FOLDERS = "Folders"
JobsDir = Annotated[
    Path | None,
    typer.Option(
        "--jobs-dir",
        metavar="DIR",
        help="The folder below which the sources of jobs are, which they get copies of.",
        rich_help_panel=FOLDERS,
    ),
]
WorkspacesDir = Annotated[
    Path | None,
    typer.Option(
        "--workspaces-dir",
        metavar="DIR",
        help="For workspaces; the nearer to the sources' disk, the quicker a copy "
        "(default: work in your cache folder).",
        rich_help_panel=FOLDERS,
    ),
]
