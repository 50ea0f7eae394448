"""The worker's own files in a workspace, beside the folders of the job: scripts and variables."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

from airunner.worker.workspace.fingerprint import Fingerprint
from airunner.worker.workspace.workspace import SetupFailed


class OwnFiles:
    """The files of one workspace. They do not count as a change by the job."""

    def __init__(self, workspace: str, fingerprint: Fingerprint) -> None:
        self._workspace = workspace
        self._fingerprint = fingerprint
        self._paths: list[str] = []

    @contextmanager
    def make(self, name: str, kind: str) -> Iterator[str]:
        """The path of a new file, which the block makes. Raises SetupFailed."""
        path, unchanged = f"{self._workspace}/{name}", self._fingerprint.same()
        try:
            yield path
            if unchanged:
                self._fingerprint.renew()
        except OSError as error:
            raise SetupFailed(f"the worker cannot write {kind}: {error.strerror}") from None
        self._paths.append(path)

    def __len__(self) -> int:
        return len(self._paths)

    def unlink_all(self) -> bool:
        """Removes the files; returns False if one was missing or could not be removed."""
        try:
            for path in self._paths:
                os.unlink(path)
        except OSError:
            return False
        return True


def write_new(path: str, data: bytes) -> None:
    """Writes a new file that only the worker's user can read. Raises OSError."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
