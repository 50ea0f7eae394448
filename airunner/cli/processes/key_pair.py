"""The ES256 key pair that signs and checks tokens."""

import os
from pathlib import Path

from airunner.cli.exit_codes import CommandFailed
from airunner.system.text_files import decode_text, read_file

SIGNING, PUBLIC = "signing.pem", "public.pem"


def make_keys(directory: Path, *, force: bool = False) -> None:
    """Writes both files. Raises CommandFailed if one of them exists, unless `force`."""
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    from airunner.cli.processes.certificates import private_pem
    from airunner.cli.processes.private_files import make_private_folder, write_private

    there = [name for name in (SIGNING, PUBLIC) if (directory / name).exists()]
    if there and not force:
        raise CommandFailed(
            f"{directory} already has {' and '.join(there)}: use --force to replace the keys, "
            "which invalidates all tokens that they signed, or another --dir"
        )
    key = ec.generate_private_key(ec.SECP256R1())
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    make_private_folder(directory)
    write_private(directory / SIGNING, private_pem(key))
    write_private(directory / PUBLIC, public, mode=0o644)


def key_text(path: Path | None, variable: str) -> str:
    """The PEM text of a key: from a file, or from an environment variable; "" if neither is set."""
    if path is None:
        return os.environ.get(variable, "")
    try:
        return decode_text(read_file(path))
    except OSError as error:
        raise CommandFailed(f"cannot read the key {path}: {error.strerror}") from None
    except ValueError as error:
        raise CommandFailed(f"{path} is not a PEM key: it {error}") from None
