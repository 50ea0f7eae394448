"""The names that airunner reserves at the top of a source, and the printable form of any path."""

import os
from typing import Final

LOCK: Final = ".airunner-lock"  # the lock file of the job that runs on the source
RESULTS: Final = "results"  # the results of the latest attempt
RESULTS_ASIDE: Final = ".results-"  # the prefix of earlier results, until they are removed
JOB: Final = "job.json"  # the steps of the source


def is_reserved(name: str) -> bool:
    """Whether a name at the top of a source is airunner's own: it is not copied to a workspace."""
    return name == RESULTS or name.startswith((LOCK, RESULTS_ASIDE))


def printable_path(path: str) -> str:
    """A path of any bytes as printable text in one line."""
    text = os.fsencode(path).decode(errors="backslashreplace")
    return text if text.isprintable() else repr(text)[1:-1]
