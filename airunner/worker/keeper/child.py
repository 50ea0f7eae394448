"""From fork to exec: what a child of the keeper does before it is the command.

It leaves the keeper's world step by step: session, tree, signals, descriptors,
terminal, directory. Only then does it look for the program. What goes wrong is said on the
status pipe, which a successful exec closes.
"""

import contextlib
import errno
import fcntl
import os
import signal
import stat
import termios
from typing import NoReturn

from airunner.worker.keeper.words import (
    BROKEN,
    FAILED,
    NO_DIRECTORY,
    NOT_EXECUTABLE,
    NOT_FOUND,
    PID,
    unpack,
)

DEFAULT_PATH = b"/usr/local/bin:/usr/bin:/bin"
UMASK = 0o022
# What the keeper does not listen to, so that it outlives whoever stops the worker or its terminal.
DEAF_TO = (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGTSTP)
NOT_DEFAULT = (*DEAF_TO, signal.SIGPIPE, signal.SIGCHLD)  # in a keeper, and so in its children
READ_BYTES = 1 << 20


class Unstartable(Exception):
    """The command cannot be started; `kind` is a word of words.py."""

    def __init__(self, kind: str, code: int, path: bytes) -> None:
        super().__init__(kind, code, path)
        self.kind = kind
        self.code = code
        self.path = path


class Parts:
    """The descriptors of one launch, in the order in which they are passed."""

    __slots__ = ("channel", "command", "status", "stderr", "stdin", "stdout")

    def __init__(self, descriptors: list[int]) -> None:
        (
            self.command,
            self.channel,
            self.status,
            self.stdin,
            self.stdout,
            self.stderr,
        ) = descriptors

    def close(self) -> None:
        """Close all but the channel, once the child has them."""
        for each in (self.command, self.status, self.stdin, self.stdout, self.stderr):
            os.close(each)


def become(parts: Parts, leaf: str | None) -> NoReturn:
    """Become the command, in the cgroup `leaf` if one is named; never returns."""
    try:
        if leaf is not None:
            _join(leaf)
        _become(parts)
    except Unstartable as error:
        report(parts.status, error.kind, error.code, error.path)
    except OSError as error:
        report(parts.status, BROKEN, error.errno or 0, os.fsencode(error.filename or b""))
    finally:
        os._exit(127)


def report(status: int, kind: str, code: int, path: bytes) -> None:
    """Say on the status pipe why there is no command."""
    with contextlib.suppress(OSError):  # whoever asked is gone
        os.write(status, b"%b %b %d %b" % (FAILED, kind.encode(), code, path))


def _join(leaf: str) -> None:
    descriptor = os.open(f"{leaf}/cgroup.procs", os.O_WRONLY)
    os.write(descriptor, b"0")
    os.close(descriptor)


def _become(parts: Parts) -> None:
    os.setsid()
    os.umask(UMASK)
    for number in NOT_DEFAULT:
        signal.signal(number, signal.SIG_DFL)
    terminal, directory, argv, pairs = unpack(_read(parts.command))
    for standard, descriptor in enumerate((parts.stdin, parts.stdout, parts.stderr)):
        os.dup2(descriptor, standard)
    if terminal:
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    try:
        os.chdir(directory)
    except OSError as error:
        raise Unstartable(NO_DIRECTORY, error.errno or 0, directory) from None
    environment: dict[bytes, bytes] = {}
    for pair in pairs:
        name, _, value = pair.partition(b"=")
        environment[name] = value
    os.write(parts.status, b"%b %d\n" % (PID, os.getpid()))
    _execute(argv, environment)


def _read(descriptor: int) -> bytes:
    blocks: list[bytes] = []
    offset = 0
    while block := os.pread(descriptor, READ_BYTES, offset):
        blocks.append(block)
        offset += len(block)
    return b"".join(blocks)


def _execute(argv: list[bytes], environment: dict[bytes, bytes]) -> NoReturn:
    """Run the first program of this name that can be run, as execvp would."""
    name = argv[0]
    if b"/" in name:
        paths = [name]
    else:
        folders = environment.get(b"PATH", DEFAULT_PATH).split(b":")
        paths = [(folder or b".") + b"/" + name for folder in folders if name]
    refusal: Unstartable | None = None
    for path in paths:
        try:
            os.execve(path, argv, environment)  # noqa: S606 - no shell: that is the point
        except OSError as error:
            found = _why(path, error.errno or 0)
        if found.kind == BROKEN:
            raise found
        if found.kind == NOT_EXECUTABLE and refusal is None:
            refusal = found
    raise refusal or Unstartable(NOT_FOUND, errno.ENOENT, name)


def _why(path: bytes, code: int) -> Unstartable:
    """Why exec failed: ENOENT may also mean that the interpreter is missing, not the file."""
    if code in (errno.ENOENT, errno.ENOTDIR):
        kind = NOT_EXECUTABLE if os.path.exists(path) else NOT_FOUND
        return Unstartable(kind, code, path)
    if code in (errno.EACCES, errno.EPERM):
        try:
            mode = os.stat(path).st_mode
        except OSError:
            return Unstartable(NOT_EXECUTABLE, code, path)
        return Unstartable(NOT_EXECUTABLE, errno.EISDIR if stat.S_ISDIR(mode) else code, path)
    if code in (errno.ENOEXEC, errno.ELIBBAD, errno.ETXTBSY, errno.ELOOP, errno.ENAMETOOLONG):
        return Unstartable(NOT_EXECUTABLE, code, path)
    return Unstartable(BROKEN, code, path)
