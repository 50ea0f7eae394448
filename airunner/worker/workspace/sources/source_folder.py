"""Opening a source: a folder below the worker's root of sources, and never anything else.

Where a name leads is looked up once, with all its links; the end must lie below the root. From there
on the way is gone down from the root's own descriptor, a name at a time and through no link, so
that whoever swaps a folder for a link meanwhile leads nobody out. All that follows uses the
descriptor.
"""

import errno
import os
from pathlib import Path

from airunner.worker.files.descent import FOLDER, Descent
from airunner.worker.workspace.workspace import SetupFailed


def open_source(root: Path, source: str) -> int:
    """A descriptor of the folder, which is the caller's to close. Raises SetupFailed."""
    try:
        top = os.path.realpath(root, strict=True)
        folder = os.path.realpath(os.path.join(top, source), strict=True)
    except OSError as error:
        raise _failed(source, error) from None
    if not folder.startswith(top.rstrip("/") + "/"):
        raise SetupFailed(f"the source {source} leads out of the worker's folder of sources")
    try:
        descriptor = os.open(top, FOLDER)
        try:
            with Descent(descriptor) as way:
                way.follow(os.path.relpath(folder, top))
                return os.dup(way.here)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise _failed(source, error) from None


def _failed(source: str, error: OSError) -> SetupFailed:
    match error.errno:
        case errno.ENOENT:
            return SetupFailed(f"there is no source {source} in the worker's folder of sources")
        case errno.ENOTDIR:
            return SetupFailed(f"the source {source} is not a folder")
        case errno.ELOOP:
            return SetupFailed(f"the source {source} leads nowhere: its links go round in a circle")
        case _:
            return SetupFailed(f"cannot open the source {source}: {error.strerror}")
