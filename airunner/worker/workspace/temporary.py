"""The folder for temporary files of an attempt, for its TMPDIR.

The folder is in the workspace and is removed with it. A program may make a Unix socket below TMPDIR, and
the kernel takes at most 107 bytes for its path, while the path of a workspace has about 100: Python's
multiprocessing alone adds 31. So a long path is shortened by a link beside the workspace, in the
worker's private folder: 71 bytes instead of 116 below the default folder of `airunner up`.
"""

import os
from contextlib import suppress
from typing import Final

TMP: Final = "tmp"
_SOCKET_PATH_BYTES_MAX: Final = 107  # sun_path of unix(7), without its NUL
_SOCKET_NAME_BYTES: Final = 40  # that a program may add


class TemporaryFolder:
    """The folder `tmp` of a workspace, which exists."""

    def __init__(self, workspace: str, *, link: bool) -> None:
        """`link`: a link may be made beside the workspace. Raises OSError."""
        self.path = f"{workspace}/{TMP}"
        self._link = ""
        if link and len(os.fsencode(self.path)) + _SOCKET_NAME_BYTES > _SOCKET_PATH_BYTES_MAX:
            parent, name = os.path.split(workspace)
            self.path = self._link = f"{parent}/{os.urandom(4).hex()}"
            os.symlink(f"{name}/{TMP}", self._link)

    def remove_link(self) -> None:
        """Removes the link. The folder is the workspace's to remove."""
        if self._link:
            with suppress(OSError):  # the job has removed it
                os.unlink(self._link)
