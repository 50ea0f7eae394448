"""fsync of a file, or of the names in a folder, by path."""

import os
from pathlib import Path


def sync(path: Path) -> None:
    """Makes a file's bytes, or the names in a folder, survive a power cut. Follows links."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
