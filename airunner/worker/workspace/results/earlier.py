"""The check whether an entry is the results of an earlier attempt, which a new attempt may replace.

An attempt replaces an empty folder, and a folder with a result.json of airunner's. Without any
result.json, the log of a step is enough: its attempt was killed, or runs on a frozen worker. Other
programs write such names, too, so a folder that has more than logs of steps is moved aside and never
removed. Any other entry is data of its owner, and so is a link, which may lead to another disk.
"""

import os
import re
import stat
from typing import Final

from airunner.system.descent import FOLDER

RESULT: Final = "result.json"
RESULT_BEGINS: Final = b'{\n  "jobId": "'  # as manifest() writes it

_FOREIGN: Final = "has no results of airunner"
_STEP_LOG: Final = re.compile(r"step_\d+\.log")
_READ: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class NotReplaceable(Exception):
    """An entry is no results of an earlier attempt; the end of a sentence about the entry."""


def check_replaceable(name: str, parent: int | None = None) -> bool:
    """Raises NotReplaceable if an entry exists and is no results of an earlier attempt.

    Returns whether the results may be removed; else they are kept beside the new ones. `parent` is a descriptor of the folder above; None: `name` is a path.
    """
    try:
        mode = os.lstat(name, dir_fd=parent).st_mode
        if stat.S_ISLNK(mode):
            raise NotReplaceable("is a link")
        if not stat.S_ISDIR(mode):
            raise NotReplaceable("is no folder")
        folder = os.open(name, FOLDER, dir_fd=parent)
        try:
            return _is_removable(folder)
        finally:
            os.close(folder)
    except FileNotFoundError:
        return True
    except OSError as error:
        raise NotReplaceable(f"cannot be read: {error.strerror}") from None


def _is_removable(folder: int) -> bool:
    """Whether the folder is empty, has a result.json of airunner's, or has logs of steps alone."""
    names = os.listdir(folder)
    if RESULT in names:
        file = os.open(RESULT, _READ, dir_fd=folder)
        try:
            ours = os.pread(file, len(RESULT_BEGINS), 0) == RESULT_BEGINS
        finally:
            os.close(file)
        if not ours:
            raise NotReplaceable(_FOREIGN)
        return True
    logs = sum(_STEP_LOG.fullmatch(name) is not None for name in names)
    if names and not logs:
        raise NotReplaceable(_FOREIGN)
    return logs == len(names)
