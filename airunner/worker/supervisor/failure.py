"""The error messages for a command that a shim could not start, as the submitter reads them."""

import errno
import os

from airunner.worker.process import (
    Command,
    CommandNotFound,
    LaunchError,
    LaunchFailed,
    NotExecutable,
)
from airunner.worker.supervisor import protocol


def failure(text: bytes, command: Command) -> LaunchError:
    """The error for the text after FAILED in a shim's message, with a remedy where one is known."""
    kind, number, name = text.split(b" ", 2)
    code, path = int(number), os.fsdecode(name)
    why = os.strerror(code)
    match kind.decode():
        case protocol.NO_DIRECTORY:
            return LaunchFailed(f"cannot run in the directory {command.directory!r}: {why}")
        case protocol.NOT_FOUND:
            return CommandNotFound(_not_found(command))
        case protocol.NOT_EXECUTABLE:
            return NotExecutable(f"cannot run {path!r}: {_not_executable(code, why)}")
    if code == errno.E2BIG:
        return LaunchFailed("the arguments and the environment are larger than the system takes")
    about = f"{path}: {why}" if path else why
    return LaunchFailed(f"cannot start {command.argv[0]!r}: {about}")


def _not_found(command: Command) -> str:
    name = command.argv[0]
    if "/" in name:
        sentence = f"no such command: {name!r}"
        if not name.startswith("/"):
            sentence += f" in the directory {command.directory!r}"
    else:
        path = command.environment.get("PATH")
        where = f"in any folder of PATH ({path})" if path else "in the folders of the usual PATH"
        sentence = f"no such command: {name!r} {where}"
    if " " in name:
        sentence += "; to run a shell line, make the command sh, with -c and the line as arguments"
    return sentence


def _not_executable(code: int, why: str) -> str:
    match code:
        case errno.EISDIR:
            return "it is a directory"
        case errno.EACCES:
            return "permission denied; if it is a program, make it executable (chmod +x)"
        case errno.ENOENT:
            return "the interpreter that it names (#!) does not exist"
        case errno.ENOEXEC:
            return "it is neither a program of this machine nor a script that begins with #!"
    return why
