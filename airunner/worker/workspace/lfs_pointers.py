"""Git LFS pointers in a checkout: files that stand for larger files, which nobody has fetched.

Where the git configuration of the worker's user has Git LFS (`git lfs install`), a clone fetches
the files. Elsewhere git checks the pointers out without a word, and a job fails much later. So the
log of the job gets a remark. Only a repository whose top .gitattributes names the filter is
searched: it costs one more command of git.
"""

import os
from typing import Final

from airunner.model.units import shortened
from airunner.system.printable_text import printable
from airunner.worker.workspace.git_command import GitCommands

_ATTRIBUTES_BYTES_MAX: Final = 64 * 1024  # of .gitattributes
_FILTER: Final = b"filter=lfs"
_POINTER: Final = b"version https://git-lfs.github.com/spec/"
_FILES_MAX: Final = 100  # that are read, the last of those that git lists


async def lfs_remark(commands: GitCommands, folder: str) -> str:
    """A sentence about the first LFS pointer in a checkout, or "". Raises GitFailed."""
    if _FILTER not in _beginning(f"{folder}/.gitattributes", _ATTRIBUTES_BYTES_MAX):
        return ""
    listed = await commands.run("ls-files", "-z", "--", ":(attr:filter=lfs)")
    for path in listed.split("\0")[-_FILES_MAX:]:
        if path and _beginning(f"{folder}/{path}", len(_POINTER)) == _POINTER:
            return (
                f"{printable(shortened(path))} is a pointer of Git LFS, not the file itself: run "
                "`git lfs install` as the worker's user, or `git lfs pull` in the job"
            )
    return ""


def _beginning(path: str, size: int) -> bytes:
    """The first bytes of a regular file; b"" for a link, a folder, or a file that is not there."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except (OSError, ValueError):
        return b""
    try:
        return os.read(descriptor, size)
    except OSError:  # a folder
        return b""
    finally:
        os.close(descriptor)
