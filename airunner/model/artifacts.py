"""Artifacts: files of a job's workspace that the server stores after the command has ended."""

import re

from msgspec import Struct

from airunner.model import limits
from airunner.model.errors import InvalidRequest
from airunner.model.validation import check_range, check_text_size

_DIGEST = re.compile(r"[0-9a-f]{64}")


class Artifact(Struct, frozen=True, kw_only=True, gc=False):
    """The name, size and digest of one stored file; its content is in the blob store."""

    path: str  # relative to the workspace, with / between names
    size: int  # bytes
    sha256: str  # of the content, in hexadecimal
    executable: bool = False

    def __post_init__(self) -> None:
        check_text_size(
            "path", self.path, limits.ARTIFACT_PATH_BYTES_MAX, "ARTIFACT_PATH_BYTES_MAX"
        )
        if any(part in ("", ".", "..") for part in self.path.split("/")):
            raise InvalidRequest("path", f"{self.path!r} is not a plain path below the workspace")
        check_range("size", self.size, 0, limits.COUNT_MAX, "bytes")
        if not _DIGEST.fullmatch(self.sha256):
            raise InvalidRequest("sha256", "is not a SHA-256 in 64 lower-case hexadecimal digits")
