"""`airunner certs`: makes a development CA and a server certificate."""

from pathlib import Path
from typing import Annotated

import typer

from airunner.cli.render.streams import note


def certs(
    directory: Annotated[
        Path, typer.Option("--dir", metavar="DIR", help="Folder to write the certificates to.")
    ] = Path("certs"),
    name: Annotated[
        list[str] | None,
        typer.Option(
            "--name", metavar="HOST", help="Host name or IP address of the server; repeatable."
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace existing certificates.")] = False,
) -> None:
    """Make a certificate authority for development, and a server certificate.

    Writes ca.pem (for clients: --ca-cert), server.pem and server-key.pem (for the server), and
    ca-key.pem. The certificate is for localhost, 127.0.0.1, ::1 and each --name.

    [bold]Example[/bold]   airunner certs --dir certs --name build.example.org
    """
    from airunner.cli.processes.certificates import make_certificates

    make_certificates(directory, name or (), force=force)
    note(f"wrote ca.pem, server.pem and server-key.pem to {directory}")
