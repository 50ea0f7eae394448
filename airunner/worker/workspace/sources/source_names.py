"""Names at the top of a source: which are airunner's own, and how any is said in a sentence."""

import os
from typing import Final

LOCK: Final = ".airunner-lock"  # held by the job that runs on the source
RESULTS: Final = "results"  # what the latest job left
RESULTS_ASIDE: Final = ".results-"  # begins the names of earlier ones, until they are removed
JOB: Final = "job.json"  # the steps that a source brings


def is_ours(name: str) -> bool:
    """Whether this, at the top of a source, is no part of it: nobody copies it or takes it back."""
    return name == RESULTS or name.startswith((LOCK, RESULTS_ASIDE))


def shown(path: str) -> str:
    """A path as text that can be sent and shown in one line, whatever bytes it is made of."""
    text = os.fsencode(path).decode(errors="backslashreplace")
    return text if text.isprintable() else repr(text)[1:-1]
