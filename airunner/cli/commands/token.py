"""`airunner token`: signs a token with a subject, roles and a time to live."""

from pathlib import Path
from typing import Annotated

import typer

from airunner.cli.exit_codes import USAGE, CommandFailed
from airunner.cli.processes.key_pair import key_text
from airunner.cli.render.streams import say
from airunner.model.errors import InvalidRequest
from airunner.model.units import parse_duration
from airunner.model.validation import utf8_size


def token(
    subject: Annotated[
        str,
        typer.Option(
            "--subject", metavar="NAME", help="Subject of the token: the name of a user or worker."
        ),
    ],
    ttl: Annotated[
        str, typer.Option("--ttl", metavar="TIME", help="Time to live of the token, such as 12h.")
    ] = "1h",
    role: Annotated[
        list[str] | None,
        typer.Option(
            "--role", help="Role: user, worker, viewer or admin; repeatable (default: user)."
        ),
    ] = None,
    audience: Annotated[
        str | None,
        typer.Option(
            "--audience",
            metavar="NAME",
            help="Audience (aud): only servers with this --jwt-audience accept the token.",
        ),
    ] = None,
    signing_key_file: Annotated[
        Path | None,
        typer.Option(
            "--signing-key-file",
            metavar="FILE",
            help="Private key, PEM (default: the text in JWT_SIGNING_KEY).",
        ),
    ] = None,
) -> None:
    """Sign a token and print it.

    [bold]Examples[/bold]

    airunner token --subject ada --ttl 12h

    airunner token --subject builder --role worker --signing-key-file keys/signing.pem
    """
    from airunner.server.auth import sign_token
    from airunner.server.policy import Role

    roles = []
    for each in role or ["user"]:
        if each not in list(Role):
            known = ", ".join(Role)
            raise CommandFailed(f"--role: {each!r} is not a role; use one of {known}", USAGE)
        roles.append(Role(each))
    try:
        seconds = parse_duration(ttl)
    except ValueError as error:
        raise CommandFailed(f"--ttl: {error}", USAGE) from None
    for option, text in (("--subject", subject), ("--audience", audience or "")):
        try:
            utf8_size(option, text)
        except InvalidRequest as error:
            raise CommandFailed(f"{error}: write it in UTF-8", USAGE) from None
    key = key_text(signing_key_file, "JWT_SIGNING_KEY")
    if not key:
        raise CommandFailed(
            "there is no key to sign with: set JWT_SIGNING_KEY to the PEM text of a private key or give "
            "--signing-key-file (`airunner keys` makes a key pair)"
        )
    say(sign_token(key, subject, roles=roles, seconds=seconds, audience=audience))
