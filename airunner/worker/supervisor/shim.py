"""A shim: the small process that starts one command at a time and watches its process tree.

Rules

1. A shim is the parent of its command and a subreaper, so every orphan of the tree becomes its
   child. The tree has ended when the shim has no child left. No other test is needed, and nothing
   is polled.
2. A shim listens to its *channel* and to the *lifeline*, a pipe whose other end only the
   supervisor holds. The end of either orders the shim to kill its tree and to exit.
3. Each message about a command has the command's number. A failed exec leaves a SIGCHLD behind, so
   an ended child means nothing to a shim without a command.
4. A shim takes the next command only if the last command and its whole tree ended by themselves.
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
    EXIT,
    GONE,
    KILL,
    LOST,
    NO_COMMAND,
    PID,
    RUN,
    RUN_BYTES_MAX,
    TERM,
    failed,
    read_file,
    receive_with_descriptors,
    send,
)
from airunner.worker.supervisor.spawn import UMASK, SpawnFailed, spawn
from airunner.worker.supervisor.trees.prctl import set_subreaper


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
        self._command = NO_COMMAND  # the number of the command, until its tree has ended
        self._pid = 0  # of the command, until it has ended
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
        if (received := receive_with_descriptors(self._channel, RUN_BYTES_MAX)) is None:
            return
        message, descriptors = received
        if not message:
            self._loop.unwatch(self._channel.fileno())
            self._kill_and_exit()
            return
        verb, _, rest = message.partition(b" ")
        if verb == RUN:
            self._start(rest, descriptors)
        elif int(rest) == self._command:  # else the order is for a tree that has ended
            if verb == TERM:
                self._tree.term()
            elif verb == KILL:
                self._kill_and_exit()

    def _start(self, order: bytes, descriptors: list[int]) -> None:
        command, count, packed = order.split(b" ", 2)
        number = int(command)
        try:
            if len(descriptors) < int(count):
                raise SpawnFailed(BROKEN, errno.EMFILE, b"")  # this process had no room for all
            self._pid = self._spawn(packed, descriptors)
            self._command = number
            answer = b"%b %d %d" % (PID, number, self._pid)
        except SpawnFailed as error:
            answer = failed(number, error.kind, error.code, error.path)
        except OSError as error:
            answer = failed(number, BROKEN, error.errno or 0, os.fsencode(error.filename or b""))
        except ValueError:  # Python takes no such variable for an environment
            answer = failed(number, BROKEN, errno.EINVAL, b"")
        finally:
            for each in descriptors:
                os.close(each)
        send(self._channel, answer)

    def _spawn(self, packed: bytes, descriptors: list[int]) -> int:
        if packed:
            return spawn(packed, self._null, descriptors)
        *streams, file = descriptors
        return spawn(read_file(file), self._null, streams)

    def _children_ended(self, deaths: Sequence[Death], alone: bool) -> None:
        if self._command == NO_COMMAND:
            return
        parts: list[bytes] = []
        for pid, status in deaths:
            if pid == self._pid:
                parts.append(b"%b %d %d %d" % (EXIT, self._command, *exit_status(status)))
                self._pid = 0  # the kernel may give the id to another process of the tree now
        if alone and not self._exiting and self._tree.reusable:
            parts.append(GONE if parts else b"%b %d" % (GONE, self._command))
            self._command = NO_COMMAND
        if parts:
            send(self._channel, b" ".join(parts))
        if alone and self._command != NO_COMMAND:
            raise _Finished
        if self._exiting:
            self._tree.kill()

    def _supervisor_died(self) -> None:
        self._loop.unwatch(self._lifeline)
        send(self._channel, b"%b %d" % (LOST, self._command))
        self._kill_and_exit()

    def _kill_and_exit(self) -> None:
        self._exiting = True
        if self._command == NO_COMMAND:
            raise _Finished
        self._tree.kill()


class _Finished(Exception):
    """No process of the tree is left, and the shim exits."""


def _close_all_but(*kept: int) -> None:
    """Closes the descriptors that fork() has copied from the supervisor."""
    for name in os.listdir("/proc/self/fd"):
        if int(name) not in kept:
            with contextlib.suppress(OSError):  # the descriptor of the listing itself
                os.close(int(name))
