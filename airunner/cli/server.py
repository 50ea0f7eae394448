"""`airunner server`: the queue, behind a gRPC port with TLS."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from airunner.cli.exits import CommandFailed
from airunner.cli.options import Lifeline
from airunner.limits import (
    FINISHED_JOBS_KEPT,
    FINISHED_SECONDS_KEPT,
    JOBS_MAX,
    MEMORY_OUTPUT_BYTES_PER_JOB,
    MEMORY_OUTPUT_BYTES_TOTAL,
)

if TYPE_CHECKING:
    from airunner.server.auth import Gate

_TLS, _AUTH, _KEEPING = "TLS", "Who may call", "What is kept"


def server(
    listen: Annotated[
        str, typer.Option("--listen", metavar="HOST:PORT", help="Port 0: any that is free.")
    ] = "localhost:8080",
    tls_cert: Annotated[
        Path | None,
        typer.Option("--tls-cert", metavar="FILE", help="Certificate.", rich_help_panel=_TLS),
    ] = None,
    tls_key: Annotated[
        Path | None,
        typer.Option("--tls-key", metavar="FILE", help="Its key.", rich_help_panel=_TLS),
    ] = None,
    no_auth: Annotated[
        bool,
        typer.Option(
            "--no-auth",
            help="Everyone is an admin: for development, on loopback alone.",
            rich_help_panel=_AUTH,
        ),
    ] = False,
    jwt_public_key_file: Annotated[
        Path | None,
        typer.Option(
            "--jwt-public-key-file",
            metavar="FILE",
            help="The key that checks tokens, PEM (default: the text in JWT_PUBLIC_KEY).",
            rich_help_panel=_AUTH,
        ),
    ] = None,
    jwt_audience: Annotated[
        str | None,
        typer.Option(
            "--jwt-audience", metavar="NAME", help="Tokens must be for it.", rich_help_panel=_AUTH
        ),
    ] = None,
    default_role: Annotated[
        str | None,
        typer.Option(
            "--default-role", metavar="ROLE", help="Of tokens without one.", rich_help_panel=_AUTH
        ),
    ] = None,
    store: Annotated[
        str, typer.Option("--store", help="Where jobs are kept: memory.", rich_help_panel=_KEEPING)
    ] = "memory",
    jobs_max: Annotated[
        int,
        typer.Option("--jobs-max", min=1, help="Jobs, of every state.", rich_help_panel=_KEEPING),
    ] = JOBS_MAX,
    finished_max: Annotated[
        int,
        typer.Option("--finished-max", min=0, help="Finished ones.", rich_help_panel=_KEEPING),
    ] = FINISHED_JOBS_KEPT,
    finished_age: Annotated[
        str,
        typer.Option(
            "--finished-age", metavar="TIME", help="For how long.", rich_help_panel=_KEEPING
        ),
    ] = f"{FINISHED_SECONDS_KEPT // 86_400}d",
    output_per_job: Annotated[
        str,
        typer.Option(
            "--output-per-job", metavar="SIZE", help="Output kept.", rich_help_panel=_KEEPING
        ),
    ] = f"{MEMORY_OUTPUT_BYTES_PER_JOB >> 20}MiB",
    output_total: Annotated[
        str,
        typer.Option("--output-total", metavar="SIZE", help="In all.", rich_help_panel=_KEEPING),
    ] = f"{MEMORY_OUTPUT_BYTES_TOTAL >> 20}MiB",
    log_format: Annotated[
        str, typer.Option("--log-format", help="console or json, on standard error.")
    ] = "console",
    ready_fd: Annotated[
        int | None,
        typer.Option(
            "--ready-fd", min=3, metavar="N", help="Write the address there once it listens."
        ),
    ] = None,
    lifeline_fd: Lifeline = None,
) -> None:
    """Serve a job queue until SIGTERM, then stop within 10 seconds.

    TLS always: `airunner certs` makes a certificate. Callers show a token, which JWT_PUBLIC_KEY checks:
    `airunner keys` makes a pair, `airunner token` a token.

    [bold]Example[/bold]

    airunner server --listen 0.0.0.0:8443 --tls-cert certs/server.pem --tls-key certs/server-key.pem
    """
    import asyncio

    from airunner.cli.flags import duration, size
    from airunner.cli.journal import log_format_named
    from airunner.cli.serving import Serving, serve
    from airunner.jobs import Millis
    from airunner.retention import Retention

    _check_store(store)
    _check_listen(listen)
    gate = _gate(listen, no_auth, jwt_public_key_file, jwt_audience, default_role)
    retention = Retention(
        jobs_max=jobs_max,
        finished_max=finished_max,
        finished_age=Millis((duration("--finished-age", finished_age) or 0) * 1000),
        output_bytes_per_job=size("--output-per-job", output_per_job) or 0,
        output_bytes_total=size("--output-total", output_total) or 0,
    )
    serving = Serving(
        listen=listen,
        certificate=_pem("--tls-cert", tls_cert),
        key=_pem("--tls-key", tls_key),
        gate=gate,
        retention=retention,
        log_format=log_format_named(log_format),
        ready=ready_fd,
        lifeline=lifeline_fd,
    )
    raise typer.Exit(asyncio.run(serve(serving)))


def _check_store(store: str) -> None:
    if store != "memory":
        raise CommandFailed(f"--store: there is no store {store!r}; use memory", 2)


def _check_listen(listen: str) -> None:
    host, _, port = listen.rpartition(":")
    if not (host and port.isascii() and port.isdecimal() and int(port) < 65536):
        raise CommandFailed(f"--listen: {listen!r} is not HOST:PORT", 2)


def _pem(option: str, path: Path | None) -> bytes:
    if path is None:
        raise CommandFailed(
            "a server needs --tls-cert and --tls-key: `airunner certs` makes both", 2
        )
    try:
        return path.read_bytes()
    except OSError as error:
        raise CommandFailed(f"{option}: cannot read {path}: {error.strerror}") from None


def _gate(
    listen: str,
    no_auth: bool,
    key_file: Path | None,
    audience: str | None,
    default_role: str | None,
) -> "Gate":
    from airunner.cli.token import key_text
    from airunner.server.auth import OpenGate, TokenGate
    from airunner.server.roles import Role

    if no_auth:
        if not is_loopback(listen):
            raise CommandFailed(
                f"--no-auth lets everybody in, so it goes with a loopback address and not {listen}: "
                "listen on localhost, or check tokens (airunner keys, JWT_PUBLIC_KEY)"
            )
        return OpenGate()
    if default_role is not None and default_role not in list(Role):
        raise CommandFailed(f"--default-role: {default_role!r} is not one of {', '.join(Role)}", 2)
    key = key_text(key_file, "JWT_PUBLIC_KEY")
    if not key:
        raise CommandFailed(
            "there is no key to check tokens with: set JWT_PUBLIC_KEY to its PEM text or give "
            "--jwt-public-key-file (airunner keys makes one), or use --no-auth on loopback"
        )
    role = Role(default_role) if default_role else None
    return TokenGate(key, audience=audience or None, default_role=role)


def is_loopback(listen: str) -> bool:
    """Whether HOST:PORT can be reached from this machine alone."""
    from ipaddress import ip_address

    host = listen.rpartition(":")[0].removeprefix("[").removesuffix("]")
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False
