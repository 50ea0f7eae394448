"""A shim: the small process that starts one command at a time and watches its process tree.

Rules

1. A shim is the parent of its command and a subreaper, so every orphan of the tree becomes its
   child. The tree has ended when the shim has no child left. No other test is needed, and nothing
   is polled.
2. A shim listens to its *channel* and to the *lifeline*, a pipe whose other end only the
   supervisor holds. The end of either orders the shim to kill its tree and to exit.
3. A shim takes the next command only if the last command and its whole tree ended by themselves.
   A shim that had to kill exits afterwards, and a fresh one takes its place.

Rejected: a fork for each command, which copies a Python process each time (spawn.py has the
numbers); commands as children of the supervisor, which cannot be in the cgroup of each command.
"""

import contextlib
import errno
import os
import signal
import socket
from collections.abc import Sequence
from typing import NoReturn, Protocol

from airunner.worker.supervisor.loop import Death, Loop, exit_status
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
    receive_with_descriptors,
    send,
)
from airunner.worker.supervisor.spawn import UMASK, SpawnFailed, spawn
from airunner.worker.supervisor.subreaper_tree import set_subreaper


class Tree(Protocol):
    """A way to find every process of a job: cgroup_tree.py or subreaper_tree.py."""

    @property
    def reusable(self) -> bool:
        """Whether earlier jobs have left nothing in the tree, so that another job may use it."""
        ...

    def enter(self) -> None:
        """Puts every command that starts from now on into the tree. Raises OSError."""
        ...

    def term(self) -> None:
        """Sends SIGTERM to every process, and SIGCONT, so that a stopped process receives it."""
        ...

    def kill(self) -> None:
        """Sends SIGKILL to every process."""
        ...


class Shim:
    """The program of a process that the supervisor has forked."""

    def __init__(self, channel: socket.socket, lifeline: int, tree: Tree) -> None:
        self._channel = channel
        self._lifeline = lifeline
        self._tree = tree
        self._loop = Loop()
        self._null = -1
        self._pid = 0  # of the command, until its tree has ended
        self._exiting = False  # the shim exits as soon as it has no child left

    def run(self) -> NoReturn:
        """Serves until it is ordered to exit; then no child is left, and the exit code is 0."""
        code = 1
        try:
            signal.set_wakeup_fd(-1)
            set_subreaper()
            _close_all_but(0, 1, 2, self._channel.fileno(), self._lifeline)
            os.umask(UMASK)
            self._null = os.open(os.devnull, os.O_RDONLY)
            self._tree.enter()
            self._loop.watch_children(self._children_ended)
            self._loop.watch(self._channel.fileno(), self._handle_order)
            self._loop.watch(self._lifeline, self._supervisor_died)
            while True:
                self._loop.run_once()
        except _Finished:
            code = 0
        finally:
            os._exit(code)

    def _handle_order(self) -> None:
        size = len(RUN) + COMMAND_BYTES_MAX
        if (received := receive_with_descriptors(self._channel, size)) is None:
            return
        message, descriptors = received
        if message.startswith(RUN):
            self._start(message[len(RUN) :], descriptors)
        elif not message:
            self._loop.unwatch(self._channel.fileno())
            self._kill_and_exit()
        elif self._pid:  # else the order is for a tree that has ended
            if message == TERM:
                self._tree.term()
            elif message == KILL:
                self._kill_and_exit()

    def _start(self, packed: bytes, descriptors: list[int]) -> None:
        try:
            answer = self._spawn(packed, descriptors)
        except OSError as error:
            path = os.fsencode(error.filename or b"")
            answer = _failed(BROKEN, error.errno or 0, path)
        finally:
            for each in descriptors:
                os.close(each)
        send(self._channel, answer)

    def _spawn(self, packed: bytes, descriptors: list[int]) -> bytes:
        if not descriptors:  # this process had no room for them
            return _failed(BROKEN, errno.EMFILE, b"")
        try:
            streams = descriptors
            if not packed:
                *streams, file = descriptors
                packed = read_file(file)
            self._pid = spawn(packed, self._null, streams)
        except SpawnFailed as error:
            return _failed(error.kind, error.code, error.path)
        return b"%b %d" % (PID, self._pid)

    def _children_ended(self, deaths: Sequence[Death], alone: bool) -> None:
        parts = [
            b"%b %d %d" % (EXIT, *exit_status(status)) for pid, status in deaths if pid == self._pid
        ]
        if alone and not self._exiting and self._tree.reusable:
            parts.append(GONE)
            self._pid = 0
        if parts:
            send(self._channel, b" ".join(parts))
        if alone and self._pid:
            raise _Finished
        if self._exiting:
            self._tree.kill()

    def _supervisor_died(self) -> None:
        self._loop.unwatch(self._lifeline)
        send(self._channel, LOST)
        self._kill_and_exit()

    def _kill_and_exit(self) -> None:
        self._exiting = True
        if not self._pid:
            raise _Finished
        self._tree.kill()


class _Finished(Exception):
    """No process of the tree is left, and the shim exits."""


def _failed(kind: str, code: int, path: bytes) -> bytes:
    return b"%b %b %d %b" % (FAILED, kind.encode(), code, path)


def _close_all_but(*kept: int) -> None:
    """Closes the descriptors that fork() has copied from the supervisor."""
    for name in os.listdir("/proc/self/fd"):
        if int(name) not in kept:
            with contextlib.suppress(OSError):  # the descriptor of the listing itself
                os.close(int(name))
