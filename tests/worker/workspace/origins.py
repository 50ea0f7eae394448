"""Repositories of the tests, made by a real git, and questions to clones of them."""

import os
import subprocess
from pathlib import Path
from typing import Final

from airunner.worker.workspace.folders import FolderWorkspace

IDENTITY: Final = ("-c", "user.name=ann", "-c", "user.email=ann@example.org")
LENIENT: Final = ("-c", "protocol.file.allow=always")


def git(folder: Path, *words: str) -> str:
    done = subprocess.run(
        ["git", "-C", str(folder), *IDENTITY, *LENIENT, *words],
        check=True,
        capture_output=True,
        text=True,
        env={"PATH": os.environ["PATH"], "HOME": str(folder), "GIT_CONFIG_NOSYSTEM": "1"},
    )
    return done.stdout.strip()


def commit(folder: Path, text: str) -> str:
    (folder / "file").write_text(text)
    git(folder, "add", ".")
    git(folder, "commit", "-qm", text)
    return git(folder, "rev-parse", "HEAD")


def make_origin(folder: Path) -> Path:
    """A repository with three commits on main and one commit on the branch other."""
    folder.mkdir()
    git(folder, "init", "-q", "-b", "main")
    for text in ("one", "two", "three"):
        commit(folder, text)
    git(folder, "tag", "v1", "HEAD~1")
    git(folder, "checkout", "-qb", "other")
    commit(folder, "elsewhere")
    git(folder, "checkout", "-q", "main")
    return folder


def head(folder: FolderWorkspace) -> str:
    return git(Path(folder.directory()), "rev-parse", "HEAD")


def depth(folder: FolderWorkspace) -> int:
    return int(git(Path(folder.directory()), "rev-list", "--count", "HEAD"))


def text(folder: FolderWorkspace) -> str:
    return (Path(folder.directory()) / "file").read_text()
