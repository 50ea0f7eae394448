"""Options that several commands share."""

from pathlib import Path
from typing import Annotated

import typer

_SERVER = "Connection"

Server = Annotated[
    str | None,
    typer.Option(
        "--server",
        metavar="HOST:PORT",
        help="Address of the server (default: localhost:8080; env: AIRUNNER_SERVER).",
        rich_help_panel=_SERVER,
    ),
]
Token = Annotated[
    str | None,
    typer.Option(
        "--token",
        metavar="TOKEN",
        help="Token to authenticate with. Prefer the variable AIRUNNER_TOKEN: other users can see "
        "the arguments of a process.",
        rich_help_panel=_SERVER,
    ),
]
TokenFile = Annotated[
    Path | None,
    typer.Option(
        "--token-file",
        metavar="FILE",
        help="File with the token, read again for each call (env: AIRUNNER_TOKEN_FILE).",
        rich_help_panel=_SERVER,
    ),
]
CaCert = Annotated[
    Path | None,
    typer.Option(
        "--ca-cert",
        metavar="FILE",
        help="CA certificate to trust, PEM (default: the system's; env: AIRUNNER_CA_CERT).",
        rich_help_panel=_SERVER,
    ),
]
JobArgument = Annotated[
    str, typer.Argument(metavar="ID", help="Id of the job, as `airunner submit` prints it.")
]
GroupMarkers = Annotated[
    bool,
    typer.Option(
        "--group-markers",
        help="Print group markers around the output of each step, for the CI system to fold.",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, an object per line.")]

Lifeline = Annotated[
    int | None,
    typer.Option(
        "--lifeline-fd",
        min=3,
        max=2**31 - 1,
        metavar="N",
        hidden=True,
        help="Descriptor of a pipe: stop when its other end closes.",
    ),
]

FOLDERS = "Folders"
JobsDir = Annotated[
    Path | None,
    typer.Option(
        "--jobs-dir",
        metavar="DIR",
        help="Folder that holds the sources of jobs; each job gets a copy of its source.",
        rich_help_panel=FOLDERS,
    ),
]
WorkspacesDir = Annotated[
    Path | None,
    typer.Option(
        "--workspaces-dir",
        metavar="DIR",
        help="Folder for workspaces; copies are fastest on the file system of the sources "
        "(default: work in your cache folder).",
        rich_help_panel=FOLDERS,
    ),
]
