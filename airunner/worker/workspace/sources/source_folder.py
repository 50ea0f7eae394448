"""The opening of a source, which must be a folder below the worker's root of sources.

The source's path is resolved once, with all links; the resolved path must lie below the root. The
walk to it then starts at the root's descriptor and follows no link, so that a folder swapped for a
link meanwhile cannot lead outside. All later calls use the descriptor.
"""

import errno
import os
from pathlib import Path

from airunner.system.descent import FOLDER, Descent
from airunner.worker.workspace.workspace import SetupFailed


def open_source(root: Path, source: str) -> int:
    """Opens a source and returns its descriptor, which the caller closes. Raises SetupFailed."""
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
            with Descent(descriptor) as walk:
                walk.follow(os.path.relpath(folder, top))
                return os.dup(walk.here)
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
            return SetupFailed(f"the source {source} leads nowhere: its links form a circle")
        case _:
            return SetupFailed(f"cannot open the source {source}: {error.strerror}")
