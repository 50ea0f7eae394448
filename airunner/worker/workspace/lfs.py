"""Git LFS in a checkout: the settings that fetch its files, and the pointers that stand for them.

A job asks for the files by `lfs: true`. Then git runs the filter of Git LFS while it checks files out,
in submodules too. The alternative was `git lfs pull` after the checkout: version 3.3 writes files
outside of a sparse checkout, and leaves the files of submodules.

Of other jobs, the git configuration of the worker's user decides (`git lfs install`). Elsewhere git
checks the pointers out without a word, and a job fails much later. So the log of the job gets a
remark. Only a repository whose top .gitattributes names the filter is searched: it costs one more
command of git.

The .lfsconfig of a repository may name any address of a server, also a path of the worker's disks,
and Git LFS does not obey GIT_ALLOW_PROTOCOL. Where local repositories are refused, the agent of Git
LFS for such paths is a program that does nothing.
"""

import os
from collections.abc import Mapping
from typing import Final

from airunner.model.units import shortened
from airunner.system.printable_text import printable
from airunner.worker.workspace.git_command import GitCommands, GitFailed

# As `git lfs install` writes them.
_FILTER_SETTINGS: Final = (
    "filter.lfs.clean=git-lfs clean -- %f",
    "filter.lfs.smudge=git-lfs smudge -- %f",
    "filter.lfs.process=git-lfs filter-process",
    "filter.lfs.required=true",
)
_NO_LOCAL_FILES: Final = ("lfs.customtransfer.lfs-standalone-file.path=false",)
_NOT_INSTALLED: Final = (
    "the job asks for files of Git LFS, and git-lfs is not on this worker: install it (the package "
    "git-lfs) where the worker's PATH finds it, or leave `lfs` out of the job"
)
_NO_COMMAND: Final = "is not a git command"

_ATTRIBUTES_BYTES_MAX: Final = 64 * 1024  # of .gitattributes
_FILTER: Final = b"filter=lfs"
_POINTER: Final = b"version https://git-lfs.github.com/spec/"
_FILES_MAX: Final = 100  # that are read, the last of those that git lists


def lfs_settings(*, fetches: bool, allow_local: bool) -> tuple[str, ...]:
    """The settings of git for Git LFS; `fetches`: the job asks for its files."""
    return (_FILTER_SETTINGS if fetches else ()) + (() if allow_local else _NO_LOCAL_FILES)


def lfs_environment(own: Mapping[str, str]) -> Mapping[str, str]:
    """git's environment for a job that asks for the files, whatever the worker's variables say."""
    return {**own, "GIT_LFS_SKIP_SMUDGE": "0"}


async def check_lfs(commands: GitCommands) -> None:
    """Raises GitFailed with a remedy if git-lfs is not installed."""
    try:
        await commands.run("lfs", "version")
    except GitFailed as failure:
        if _NO_COMMAND in failure.stderr:  # in front of a guess of git's
            raise GitFailed(_NOT_INSTALLED, "") from None
        raise


async def install_lfs(commands: GitCommands) -> None:
    """Writes the filter into the repository's configuration, for the job's own git commands."""
    await commands.run("lfs", "install", "--local", "--skip-repo")


async def lfs_remark(commands: GitCommands, folder: str, *, fetches: bool) -> str:
    """A sentence about the first LFS pointer in a checkout, or "". Raises GitFailed."""
    if _FILTER not in _beginning(f"{folder}/.gitattributes", _ATTRIBUTES_BYTES_MAX):
        return ""
    listed = await commands.run("ls-files", "-z", "--", ":(attr:filter=lfs)")
    for path in listed.split("\0")[-_FILES_MAX:]:
        if path and _beginning(f"{folder}/{path}", len(_POINTER)) == _POINTER:
            remedy = (
                "the settings of Git LFS leave it out (.lfsconfig)"
                if fetches
                else "submit the job with `--lfs` (`lfs: true`), or run `git lfs pull` in it"
            )
            name = printable(shortened(path))
            return f"{name} is a pointer of Git LFS, not the file itself: {remedy}"
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
