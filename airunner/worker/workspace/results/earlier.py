"""The check whether an entry is the results of an earlier attempt, which a new attempt may replace.

An attempt replaces an empty folder, and a folder with a result.json of airunner's. Without any
result.json, the log of a step is enough: its attempt was killed, or runs on a frozen worker. Any
other entry is data of its owner, and so is a link, which may lead to a folder on another disk.
"""

import os
import re
import stat
from typing import Final

from airunner.system.descent import FOLDER

RESULT: Final = "result.json"
RESULT_BEGINS: Final = b'{\n  "jobId": "'  # as manifest() writes it

_STEP_LOG: Final = re.compile(r"step_\d+\.log")
_READ: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class NotReplaceable(Exception):
    """An entry is no results of an earlier attempt; the end of a sentence about the entry."""


def check_replaceable(name: str, parent: int | None = None) -> None:
    """Raises NotReplaceable if an entry exists and is no results of an earlier attempt.

    `parent` is a descriptor of the folder above; None: `name` is a path.
    """
    try:
        mode = os.lstat(name, dir_fd=parent).st_mode
        if stat.S_ISLNK(mode):
            raise NotReplaceable("is a link")
        if not stat.S_ISDIR(mode):
            raise NotReplaceable("is no folder")
        folder = os.open(name, FOLDER, dir_fd=parent)
        try:
            known = _is_known(folder)
        finally:
            os.close(folder)
    except FileNotFoundError:
        return
    except OSError as error:
        raise NotReplaceable(f"cannot be read: {error.strerror}") from None
    if not known:
        raise NotReplaceable("has no results of airunner")


def _is_known(folder: int) -> bool:
    names = os.listdir(folder)
    if RESULT in names:
        file = os.open(RESULT, _READ, dir_fd=folder)
        try:
            return os.pread(file, len(RESULT_BEGINS), 0) == RESULT_BEGINS
        finally:
            os.close(file)
    return not names or any(map(_STEP_LOG.fullmatch, names))
