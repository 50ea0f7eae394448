"""`airunner server`: serves a job queue on a gRPC port with TLS."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from airunner.cli.client_settings import JOBS_FILE, data_folder
from airunner.cli.exit_codes import CommandFailed
from airunner.cli.options import Lifeline
from airunner.cli.processes.private_files import make_private_folder
from airunner.model.limits import (
    ARTIFACT_BYTES_PER_JOB,
    FINISHED_JOBS_KEPT,
    FINISHED_SECONDS_KEPT,
    FREE_BYTES_MIN,
    GIB,
    JOBS_MAX,
    MEMORY_ARTIFACT_BYTES_PER_JOB,
    MEMORY_ARTIFACT_BYTES_TOTAL,
    MEMORY_OUTPUT_BYTES_PER_JOB,
    MEMORY_OUTPUT_BYTES_TOTAL,
    MIB,
    SQLITE_ARTIFACT_BYTES_TOTAL,
    SQLITE_OUTPUT_BYTES_TOTAL,
)
from airunner.system.text_files import read_file

if TYPE_CHECKING:
    from airunner.log.storage import StorageOptions
    from airunner.server.auth import Authenticator
    from airunner.store.retention import Retention

_TLS, _AUTH, _STORAGE = "TLS", "Authentication", "Storage and retention"
_PER_JOB: Final = (
    f"{MEMORY_OUTPUT_BYTES_PER_JOB // MIB} MiB in memory, otherwise the job's --output-bytes-max"
)
_TOTAL: Final = f"{MEMORY_OUTPUT_BYTES_TOTAL // GIB} GiB in memory, otherwise {SQLITE_OUTPUT_BYTES_TOTAL // GIB} GiB"
_ARTIFACTS_PER_JOB: Final = f"{MEMORY_ARTIFACT_BYTES_PER_JOB // MIB} MiB in memory, otherwise {ARTIFACT_BYTES_PER_JOB // GIB} GiB"
_ARTIFACTS_TOTAL: Final = (
    f"{MEMORY_ARTIFACT_BYTES_TOTAL // MIB} MiB in memory, "
    f"otherwise {SQLITE_ARTIFACT_BYTES_TOTAL // GIB} GiB"
)


def server(
    listen: Annotated[
        str,
        typer.Option(
            "--listen", metavar="HOST:PORT", help="Address to listen on; port 0: any free port."
        ),
    ] = "localhost:8080",
    tls_cert: Annotated[
        Path | None,
        typer.Option(
            "--tls-cert",
            metavar="FILE",
            help="Certificate of the server, PEM.",
            rich_help_panel=_TLS,
        ),
    ] = None,
    tls_key: Annotated[
        Path | None,
        typer.Option(
            "--tls-key",
            metavar="FILE",
            help="Private key of the certificate, PEM.",
            rich_help_panel=_TLS,
        ),
    ] = None,
    no_auth: Annotated[
        bool,
        typer.Option(
            "--no-auth",
            help="No tokens: every caller is an admin. For development, on a loopback address only.",
            rich_help_panel=_AUTH,
        ),
    ] = False,
    jwt_public_key_file: Annotated[
        Path | None,
        typer.Option(
            "--jwt-public-key-file",
            metavar="FILE",
            help="Public key that checks tokens, PEM (default: the text in JWT_PUBLIC_KEY).",
            rich_help_panel=_AUTH,
        ),
    ] = None,
    jwt_audience: Annotated[
        str | None,
        typer.Option(
            "--jwt-audience",
            metavar="NAME",
            help="Required audience (aud) of tokens.",
            rich_help_panel=_AUTH,
        ),
    ] = None,
    default_role: Annotated[
        str | None,
        typer.Option(
            "--default-role",
            metavar="ROLE",
            help="Role of a token without a role claim.",
            rich_help_panel=_AUTH,
        ),
    ] = None,
    store: Annotated[
        str | None,
        typer.Option(
            "--store",
            metavar="memory|sqlite:PATH",
            help="Storage of jobs (default: sqlite, in jobs.db in your data folder).",
            rich_help_panel=_STORAGE,
        ),
    ] = None,
    fsync: Annotated[
        str | None,
        typer.Option(
            "--fsync",
            metavar="full|normal",
            help="Durability of an acknowledged call: it survives a power cut (full, the default), or "
            "only the end of the server process (normal).",
            rich_help_panel=_STORAGE,
        ),
    ] = None,
    free_bytes_min: Annotated[
        str,
        typer.Option(
            "--free-bytes-min",
            metavar="SIZE",
            help="Free disk space below which jobs, output and artifacts are refused.",
            rich_help_panel=_STORAGE,
        ),
    ] = f"{FREE_BYTES_MIN // MIB}MiB",
    jobs_max: Annotated[
        int,
        typer.Option(
            "--jobs-max", min=1, help="Jobs to keep, in every state.", rich_help_panel=_STORAGE
        ),
    ] = JOBS_MAX,
    finished_max: Annotated[
        int,
        typer.Option(
            "--finished-max", min=0, help="Finished jobs to keep.", rich_help_panel=_STORAGE
        ),
    ] = FINISHED_JOBS_KEPT,
    finished_age: Annotated[
        str,
        typer.Option(
            "--finished-age",
            metavar="TIME",
            help="How long to keep finished jobs.",
            rich_help_panel=_STORAGE,
        ),
    ] = f"{FINISHED_SECONDS_KEPT // 86_400}d",
    output_per_job: Annotated[
        str | None,
        typer.Option(
            "--output-per-job",
            metavar="SIZE",
            help=f"Output to keep for each job (default: {_PER_JOB}).",
            rich_help_panel=_STORAGE,
        ),
    ] = None,
    output_total: Annotated[
        str | None,
        typer.Option(
            "--output-total",
            metavar="SIZE",
            help=f"Total output to keep (default: {_TOTAL}).",
            rich_help_panel=_STORAGE,
        ),
    ] = None,
    artifacts_per_job: Annotated[
        str | None,
        typer.Option(
            "--artifacts-per-job",
            metavar="SIZE",
            help=f"Artifacts to keep for each job (default: {_ARTIFACTS_PER_JOB}).",
            rich_help_panel=_STORAGE,
        ),
    ] = None,
    artifacts_total: Annotated[
        str | None,
        typer.Option(
            "--artifacts-total",
            metavar="SIZE",
            help=f"Total artifacts to keep (default: {_ARTIFACTS_TOTAL}).",
            rich_help_panel=_STORAGE,
        ),
    ] = None,
    log_format: Annotated[
        str,
        typer.Option("--log-format", help="Format of the log on standard error: console or json."),
    ] = "console",
    ready_fd: Annotated[
        int | None,
        typer.Option(
            "--ready-fd",
            min=3,
            max=2**31 - 1,
            metavar="N",
            help="Descriptor to write the address to once the server listens.",
        ),
    ] = None,
    lifeline_fd: Lifeline = None,
) -> None:
    """Serve a job queue until SIGTERM, then stop within 10 seconds.

    Connections use TLS: `airunner certs` makes a certificate. Callers authenticate with a token, which
    the server checks with JWT_PUBLIC_KEY: `airunner keys` makes a key pair, `airunner token` a token.

    Jobs and their output are kept in a SQLite file, artifacts in a folder beside it. A restarted
    server has all of them again.

    [bold]Example[/bold]

    airunner server --listen 0.0.0.0:8443 --tls-cert certs/server.pem --tls-key certs/server-key.pem
    """
    import asyncio

    from airunner.cli.processes.logging import log_format_named
    from airunner.cli.processes.server_process import ServerOptions, serve
    from airunner.cli.submit_flags import duration_seconds
    from airunner.model.jobs import Millis

    storage = _storage_options(store, fsync, free_bytes_min)
    _check_listen(listen)
    authenticator = _authenticator(listen, no_auth, jwt_public_key_file, jwt_audience, default_role)
    retention = replace(
        _retention(storage, output_per_job, output_total, artifacts_per_job, artifacts_total),
        jobs_max=jobs_max,
        finished_max=finished_max,
        finished_age=Millis((duration_seconds("--finished-age", finished_age) or 0) * 1000),
    )
    options = ServerOptions(
        listen=listen,
        certificate=_pem("--tls-cert", tls_cert),
        key=_pem("--tls-key", tls_key),
        gate=authenticator,
        store=storage,
        retention=retention,
        log_format=log_format_named(log_format),
        ready=ready_fd,
        lifeline=lifeline_fd,
    )
    if store is None:
        make_private_folder(data_folder())
    raise typer.Exit(asyncio.run(serve(options)))


def _storage_options(store: str | None, fsync: str | None, free_bytes_min: str) -> "StorageOptions":
    from airunner.cli.processes.storage import storage_options
    from airunner.cli.submit_flags import size_bytes

    url = f"sqlite:{data_folder() / JOBS_FILE}" if store is None else store
    return storage_options(url, fsync, size_bytes("--free-bytes-min", free_bytes_min) or 0)


def _retention(
    store: "StorageOptions",
    output_per_job: str | None = None,
    output_total: str | None = None,
    artifacts_per_job: str | None = None,
    artifacts_total: str | None = None,
) -> "Retention":
    from airunner.cli.processes.storage import default_retention
    from airunner.cli.submit_flags import size_bytes

    defaults = default_retention(store)

    def chosen(option: str, text: str | None, default: int) -> int:
        size = size_bytes(option, text)
        return default if size is None else size

    return replace(
        defaults,
        output_bytes_per_job=chosen(
            "--output-per-job", output_per_job, defaults.output_bytes_per_job
        ),
        output_bytes_total=chosen("--output-total", output_total, defaults.output_bytes_total),
        artifact_bytes_per_job=chosen(
            "--artifacts-per-job", artifacts_per_job, defaults.artifact_bytes_per_job
        ),
        artifact_bytes_total=chosen(
            "--artifacts-total", artifacts_total, defaults.artifact_bytes_total
        ),
    )


def _check_listen(listen: str) -> None:
    from airunner.wire.client.endpoint import is_address

    if not is_address(listen):
        raise CommandFailed(f"--listen: {listen!r} is not HOST:PORT", 2)


def _pem(option: str, path: Path | None) -> bytes:
    if path is None:
        raise CommandFailed(
            "a server needs --tls-cert and --tls-key: `airunner certs` makes both", 2
        )
    try:
        return read_file(path)
    except OSError as error:
        raise CommandFailed(f"{option}: cannot read {path}: {error.strerror}") from None
    except ValueError as error:
        raise CommandFailed(f"{option}: {path} {error}") from None


def _authenticator(
    listen: str,
    no_auth: bool,
    key_file: Path | None,
    audience: str | None,
    default_role: str | None,
) -> "Authenticator":
    from airunner.cli.processes.key_pair import key_text
    from airunner.server.auth import JwtAuthenticator, NoAuth
    from airunner.server.policy import Role

    if no_auth:
        if not is_loopback(listen):
            raise CommandFailed(
                f"--no-auth makes every caller an admin, so it needs a loopback address, not {listen}: "
                "listen on localhost, or check tokens (`airunner keys`, JWT_PUBLIC_KEY)"
            )
        return NoAuth()
    if default_role is not None and default_role not in list(Role):
        raise CommandFailed(f"--default-role: {default_role!r} is not one of {', '.join(Role)}", 2)
    key = key_text(key_file, "JWT_PUBLIC_KEY")
    if not key:
        raise CommandFailed(
            "there is no key to check tokens with: set JWT_PUBLIC_KEY to the PEM text of a public key, "
            "give --jwt-public-key-file (`airunner keys` makes a key pair), or use --no-auth on loopback"
        )
    role = Role(default_role) if default_role else None
    return JwtAuthenticator(key, audience=audience or None, default_role=role)


def is_loopback(listen: str) -> bool:
    """Whether only this machine can reach HOST:PORT."""
    from ipaddress import ip_address

    host = listen.rpartition(":")[0].removeprefix("[").removesuffix("]")
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False
