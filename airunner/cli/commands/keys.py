"""`airunner keys`: makes the key pair that signs and checks tokens."""

from pathlib import Path
from typing import Annotated

import typer

from airunner.cli.processes.key_pair import PUBLIC, SIGNING, make_keys
from airunner.cli.render.streams import note


def keys(
    directory: Annotated[
        Path, typer.Option("--dir", metavar="DIR", help="Folder to write the keys to.")
    ] = Path("keys"),
    force: Annotated[bool, typer.Option("--force", help="Replace existing keys.")] = False,
) -> None:
    """Make an ES256 key pair for tokens: signing.pem signs them, public.pem checks them.

    Only the issuer of tokens needs signing.pem; a server needs public.pem alone. After a pair is
    replaced, all tokens that the old pair signed are invalid.

    [bold]Example[/bold]

    airunner keys --dir keys

    export JWT_SIGNING_KEY="$(cat keys/signing.pem)" JWT_PUBLIC_KEY="$(cat keys/public.pem)"
    """
    make_keys(directory, force=force)
    note(f"wrote {SIGNING} (keep it secret) and {PUBLIC} to {directory}")
