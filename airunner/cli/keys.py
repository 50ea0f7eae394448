"""`airunner keys`: the key pair that tokens are signed and checked with."""

from pathlib import Path
from typing import Annotated

import typer

from airunner.cli.exits import CommandFailed
from airunner.cli.output import note

SIGNING, PUBLIC = "signing.pem", "public.pem"


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


def make_keys(directory: Path, *, force: bool = False) -> None:
    """Write both files. Raises CommandFailed rather than overwrite either."""
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    from airunner.cli.certificates import private_pem
    from airunner.cli.secrets import make_private_folder, write_private

    there = [name for name in (SIGNING, PUBLIC) if (directory / name).exists()]
    if there and not force:
        raise CommandFailed(
            f"{directory} already has {' and '.join(there)}: use --force to replace the keys, "
            "which ends all tokens that they signed, or another --dir"
        )
    key = ec.generate_private_key(ec.SECP256R1())
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    make_private_folder(directory)
    write_private(directory / SIGNING, private_pem(key))
    write_private(directory / PUBLIC, public, mode=0o644)
