"""Files that only their owner may read."""

import os
from pathlib import Path

from airunner.cli.exit_codes import CommandFailed
from airunner.system.atomic import atomic_write, write_all


def make_private_folder(folder: Path) -> None:
    """Makes the folder and its parents. Only the owner can read the folder (0700)."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.chmod(0o700)
    except OSError as error:
        raise CommandFailed(f"cannot make the folder {folder}: {error.strerror}") from None


def write_private(path: Path, data: bytes, *, mode: int = 0o600) -> None:
    """Writes a file whole or not at all. No other user can read it before it has its mode."""
    try:
        with atomic_write(str(path), 0o600) as file:
            os.fchmod(file, mode)
            write_all(file, data)
    except OSError as error:
        raise CommandFailed(f"cannot write {path}: {error.strerror}") from None
