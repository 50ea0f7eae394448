"""Sentences for errors that neither a command nor the server has put into words.

The user's machine causes them, not airunner: a current folder that was removed, a path that is too
long, a disk without room, an argument in another encoding. Any other error is a defect of airunner, and
has no sentence here: so is an OSError that only a wrong call of the system has, such as EBADF.
"""

import errno
import os
from collections.abc import Mapping, Sequence
from typing import Final

from airunner.model.units import shortened

_REMEDIES: Final = {
    errno.EMFILE: "raise the limit of open files (ulimit -n)",
    errno.ENFILE: "close other programs, or raise the system's limit of open files",
    errno.ENOSPC: "free space on the disk",
    errno.EDQUOT: "free space within your quota",
    errno.ENOMEM: "close other programs, or add memory",
}

_OF_THE_MACHINE: Final = frozenset(
    {
        *_REMEDIES,
        # A path
        *(errno.EACCES, errno.EEXIST, errno.EISDIR, errno.ELOOP, errno.ENAMETOOLONG),
        *(errno.ENOENT, errno.ENOTDIR, errno.ENOTEMPTY, errno.EPERM, errno.EROFS),
        # A disk or a device
        *(errno.EBUSY, errno.EFBIG, errno.EIO, errno.ENODEV, errno.ENOLCK, errno.ENXIO),
        *(errno.EOPNOTSUPP, errno.ESTALE, errno.ETXTBSY, errno.EXDEV),
        # Processes and programs
        *(errno.E2BIG, errno.EAGAIN, errno.ENOEXEC, errno.ENOSYS),
        # The network
        *(errno.EADDRINUSE, errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT, errno.ECONNREFUSED),
        *(errno.EHOSTUNREACH, errno.ENETDOWN, errno.ENETUNREACH, errno.ENOBUFS, errno.ETIMEDOUT),
    }
)


def sentence(
    error: BaseException, words: Sequence[str], environment: Mapping[str, str]
) -> str | None:
    """The cause and a remedy; None if the error is a defect of airunner.

    `words` and `environment` are those of the process.
    """
    match error:
        case OSError(errno=number) if number in _OF_THE_MACHINE:
            return _of_the_system(error)
        case UnicodeError():
            return _of_an_encoding(words, environment)
        case MemoryError():
            return "there is not enough memory: close other programs, or add memory"
        case _:
            return None


def _of_the_system(error: OSError) -> str:
    try:
        os.getcwd()
    except FileNotFoundError:
        return "the current folder was removed: change to a folder that exists"
    except OSError as denied:
        return f"the current folder cannot be used ({denied.strerror}): change to another folder"
    cause = error.strerror or str(error)
    where = os.fsdecode(error.filename) if isinstance(error.filename, str | bytes) else ""
    found = f"cannot use {shortened(where)}: {cause}" if where else cause
    remedy = _REMEDIES.get(error.errno or 0)
    return f"{found}: {remedy}" if remedy else found


def _of_an_encoding(words: Sequence[str], environment: Mapping[str, str]) -> str | None:
    remedy = "write it in UTF-8"
    for place, word in enumerate(words, 1):
        if not _is_text(word):
            return f"argument {place} ({word}) is not UTF-8 text: {remedy}"
    for name, value in environment.items():
        if name.startswith("AIRUNNER_") and not _is_text(value):
            return f"the variable {name} ({value}) is not UTF-8 text: {remedy}"
    return None


def _is_text(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
