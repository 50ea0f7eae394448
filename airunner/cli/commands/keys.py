"""`airunner keys`: the key pair that tokens are signed and checked with."""

from pathlib import Path
from typing import Annotated

import typer

from airunner.cli.processes.key_pair import PUBLIC, SIGNING, make_keys
from airunner.cli.render.streams import note


def keys(
    directory: Annotated[
        Path, typer.Option("--dir", metavar="DIR", help="Where to write them.")
    ] = Path("keys"),
    force: Annotated[bool, typer.Option("--force", help="Replace those that are there.")] = False,
) -> None:
    """Make an ES256 key pair for tokens: signing.pem signs them, public.pem checks them.

    Only who hands out tokens needs signing.pem; a server needs public.pem alone. Replacing a pair
    makes all tokens of the old one worthless.

    [bold]Example[/bold]

    airunner keys --dir keys

    export JWT_SIGNING_KEY="$(cat keys/signing.pem)" JWT_PUBLIC_KEY="$(cat keys/public.pem)"
    """
    make_keys(directory, force=force)
    note(f"wrote {SIGNING} (keep it secret) and {PUBLIC} to {directory}")
