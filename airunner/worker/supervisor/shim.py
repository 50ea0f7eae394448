"""A shim: the small process that starts one command at a time, and watches over its tree.

Rules

1. A shim is the parent of its command and a subreaper, so that whatever of the tree is orphaned
   becomes its child. The tree is over when the shim has no child left. There is no other test, and nothing
   to poll.
2. It listens to its *channel*, and to the *lifeline*, a pipe whose other end the supervisor alone
   holds; the end of either is the order to kill and to go.
3. It takes the next command only if the last one and all of its tree have ended by themselves. One
   that had to kill goes when that is done, and a fresh one takes its place.

Rejected: a fork for each command, which copies a Python each time (spawn.py has the numbers); commands
of the supervisor itself, which cannot be in the control group of each.
"""

import contextlib
import errno
import os
import signal
import socket
from collections.abc import Sequence
from typing import NoReturn, Protocol

from airunner.worker.supervisor.loop import Death, Loop, said
from airunner.worker.supervisor.protocol import (
    BROKEN,
    COMMAND_BYTES_MAX,
    EXIT,
    FAILED,
    GONE,
    KILL,
    LOST,
    PID,
    RUN,
    TERM,
    read_file,
    receive,
    tell,
)
from airunner.worker.supervisor.spawn import UMASK, Unstartable, spawn
from airunner.worker.supervisor.subreaper_tree import set_subreaper


class Tree(Protocol):
    """One way to keep a job's processes together; cgroup.py and subreaper.py are two."""

    @property
    def untouched(self) -> bool:
        """Whether jobs have left nothing of their own behind."""
        ...

    def enter(self) -> None:
        """Have what is started from now on in the tree. Raises OSError."""
        ...

    def term(self) -> None:
        """SIGTERM to every process, and SIGCONT, lest one that is stopped does not hear it."""
        ...

    def kill(self) -> None:
        """SIGKILL to every process."""
        ...


class Shim:
    """What a process forked from the supervisor runs."""

    def __init__(self, channel: socket.socket, lifeline: int, tree: Tree) -> None:
        self._channel = channel
        self._lifeline = lifeline
        self._tree = tree
        self._loop = Loop()
        self._null = -1
        self._pid = 0  # of the command that runs, or whose tree does
        self._going = False  # as soon as no child is left

    def run(self) -> NoReturn:
        """Serve until told to go; nothing is left then, and the exit code is 0."""
        code = 1
        try:
            signal.set_wakeup_fd(-1)
            set_subreaper()
            _close_all_but(0, 1, 2, self._channel.fileno(), self._lifeline)
            os.umask(UMASK)
            self._null = os.open(os.devnull, os.O_RDONLY)
            self._tree.enter()
            self._loop.watch_children(self._ended)
            self._loop.watch(self._channel.fileno(), self._obey)
            self._loop.watch(self._lifeline, self._orphaned)
            while True:
                self._loop.turn()
        except _Over:
            code = 0
        finally:
            os._exit(code)

    def _obey(self) -> None:
        if (received := receive(self._channel, len(RUN) + COMMAND_BYTES_MAX)) is None:
            return
        word, descriptors = received
        if word.startswith(RUN):
            self._start(word[len(RUN) :], descriptors)
        elif not word:
            self._loop.unwatch(self._channel.fileno())
            self._go()
        elif self._pid:  # else that was for a tree that is gone
            if word == TERM:
                self._tree.term()
            elif word == KILL:
                self._go()

    def _start(self, packed: bytes, descriptors: list[int]) -> None:
        try:
            word = self._spawn(packed, descriptors)
        except OSError as error:
            path = os.fsencode(error.filename or b"")
            word = _failed(BROKEN, error.errno or 0, path)
        finally:
            for each in descriptors:
                os.close(each)
        tell(self._channel, word)

    def _spawn(self, packed: bytes, descriptors: list[int]) -> bytes:
        if not descriptors:  # there was no room for them
            return _failed(BROKEN, errno.EMFILE, b"")
        try:
            streams = descriptors
            if not packed:
                *streams, file = descriptors
                packed = read_file(file)
            self._pid = spawn(packed, self._null, streams)
        except Unstartable as error:
            return _failed(error.kind, error.code, error.path)
        return b"%b %d" % (PID, self._pid)

    def _ended(self, deaths: Sequence[Death], alone: bool) -> None:
        words = [b"%b %d %d" % (EXIT, *said(status)) for pid, status in deaths if pid == self._pid]
        if alone and not self._going and self._tree.untouched:
            words.append(GONE)
            self._pid = 0
        if words:
            tell(self._channel, b" ".join(words))
        if alone and self._pid:
            raise _Over
        if self._going:
            self._tree.kill()

    def _orphaned(self) -> None:
        """The supervisor is dead."""
        self._loop.unwatch(self._lifeline)
        tell(self._channel, LOST)
        self._go()

    def _go(self) -> None:
        """Kill what is left, and go."""
        self._going = True
        if not self._pid:
            raise _Over
        self._tree.kill()


class _Over(Exception):
    """No process of the tree is left, and the shim goes."""


def _failed(kind: str, code: int, path: bytes) -> bytes:
    return b"%b %b %d %b" % (FAILED, kind.encode(), code, path)


def _close_all_but(*kept: int) -> None:
    """Close the descriptors that fork has copied from the supervisor."""
    for name in os.listdir("/proc/self/fd"):
        if int(name) not in kept:
            with contextlib.suppress(OSError):  # that of the listing itself
                os.close(int(name))
