"""Trees without control groups: one small process per job, which inherits every orphan.

A *subreaper* (PR_SET_CHILD_SUBREAPER) is the parent of whatever below it loses its own, so
that no process of the job can get out of sight: neither by two forks nor by setsid.

Rules

1. The subreaper is forked first and forks the command, so that the command is below it before
   it can run. It has the job's channel and the *lifeline*, a pipe whose other end the
   keeper alone holds; the end of either is the order to kill.
2. To kill is to stop every descendant with SIGSTOP, again until no new one is found, and
   then to send SIGKILL to all: a process that is stopped cannot fork, so a fork bomb cannot
   win the race. Each death of a child is a reason to look again.
3. The tree is over when the subreaper has no child left. There is no other test, and nothing
   to poll: whoever is orphaned later becomes its child.
4. The keeper is a subreaper too. If a job's own is killed, the keeper inherits the tree
   and kills it.
"""

import contextlib
import os
import signal
import socket
from typing import NoReturn

from airunner.worker.keeper.child import Parts, become
from airunner.worker.keeper.loop import Loop, said
from airunner.worker.keeper.words import EXIT, GONE, KILL, LOST, TERM, hear, tell


class Subreapers:
    """Starts each job below a subreaper of its own."""

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._lifeline, self._end = os.pipe()
        self._jobs: dict[int, socket.socket] = {}  # channels, by the subreaper's process id
        self._bereft: list[socket.socket] = []  # channels of jobs whose subreaper was killed
        self.empty = True

    def launch(self, number: int, parts: Parts) -> None:
        """Fork a job. Raises OSError if the system has no room."""
        pid = os.fork()
        if pid == 0:
            _Subreaper(self._lifeline, parts).run()
        parts.close()
        self._jobs[pid] = socket.socket(fileno=parts.channel)
        self.empty = False

    def ended(self, pid: int, status: int) -> None:
        """Note the end of a child: a subreaper, or an orphan of one that was killed."""
        if channel := self._jobs.pop(pid, None):
            if status == 0:
                channel.close()
            else:
                self._bereft.append(channel)
        if self._bereft:
            self._adopt()
        self.empty = not self._jobs and not self._bereft

    def end(self) -> None:
        """Have every job killed."""
        if self._end >= 0:
            os.close(self._end)
        self._end = -1

    def close(self) -> None:
        """Nothing is left to remove."""

    def _adopt(self) -> None:
        """Kill what killed subreapers left; it is all here, as the keeper is one as well."""
        if kill_below(os.getpid(), frozenset(self._jobs)):
            return
        for channel in self._bereft:
            tell(channel, GONE)
            channel.close()
        self._bereft.clear()


class _Subreaper:
    """The process of one job that stays the parent of all of its tree."""

    def __init__(self, lifeline: int, parts: Parts) -> None:
        self._lifeline = lifeline
        self._parts = parts
        self._channel = socket.socket(fileno=parts.channel)
        self._pid = 0  # of the command
        self._killing = False
        self._loop = Loop()

    def run(self) -> NoReturn:
        """Start the command, and stay until no process of its tree is left."""
        code = 1
        try:
            set_subreaper()
            parts = self._parts
            keep = [parts.command, parts.channel, parts.status, self._lifeline]
            close_others([0, 1, 2, *keep, parts.stdin, parts.stdout, parts.stderr])
            loop = self._loop
            loop.watch_children(self._ended)
            self._pid = os.fork()
            if self._pid == 0:
                become(parts, None)
            parts.close()
            loop.watch(parts.channel, self._obey)
            loop.watch(self._lifeline, self._orphaned)
            while True:
                loop.turn()
        except _Over:
            code = 0
        finally:
            os._exit(code)

    def _obey(self) -> None:
        word = hear(self._channel)
        if word == TERM:
            signal_below(os.getpid(), signal.SIGTERM, signal.SIGCONT)
        elif word in (KILL, b""):
            if word == b"":
                self._loop.unwatch(self._parts.channel)
            self._kill()

    def _orphaned(self) -> None:
        self._loop.unwatch(self._lifeline)
        tell(self._channel, LOST)
        self._kill()

    def _kill(self) -> None:
        self._killing = True
        kill_below(os.getpid())

    def _ended(self, pid: int, status: int) -> None:
        if pid == self._pid:
            tell(self._channel, b"%b %d %d" % (EXIT, *said(status)))
        elif pid == 0:
            tell(self._channel, GONE)
            raise _Over
        if self._killing:
            kill_below(os.getpid())


class _Over(Exception):
    """No process of the tree is left."""


def set_subreaper() -> None:
    """Make this process the parent of every orphan below it. Raises OSError."""
    import ctypes  # noqa: PLC0415 - slow to import, and the worker's side has no use for it

    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(36, 1, 0, 0, 0) != 0:  # PR_SET_CHILD_SUBREAPER
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER)")


def close_others(kept: list[int]) -> None:
    """Close every descriptor but these: those that fork has copied from the keeper."""
    for name in os.listdir("/proc/self/fd"):
        if int(name) not in kept:
            with contextlib.suppress(OSError):  # that of the listing itself
                os.close(int(name))


def descendants(root: int, spared: frozenset[int] = frozenset()) -> dict[int, bytes]:
    """All below `root` by process id, with their start times; not what is below one spared.

    Zombies are left out: they are dead, and wait for their parents.
    """
    children: dict[int, list[int]] = {}
    started: dict[int, bytes] = {}
    for name in os.listdir("/proc"):
        if name.isdigit() and (fields := _stat(int(name))):
            state, parent, start = fields
            children.setdefault(parent, []).append(int(name))
            if state != b"Z":
                started[int(name)] = start
    found: dict[int, bytes] = {}
    parents = [root]
    while parents:
        for pid in children.get(parents.pop(), ()):
            if pid not in spared:
                parents.append(pid)
                if pid in started:
                    found[pid] = started[pid]
    return found


def kill_below(root: int, spared: frozenset[int] = frozenset()) -> bool:
    """Stop all below `root`, until there is no new one, and kill them; whether there were any."""
    stopped: dict[int, bytes] = {}
    while new := {
        pid: start for pid, start in descendants(root, spared).items() if stopped.get(pid) != start
    }:
        for pid, start in new.items():
            _send(pid, start, signal.SIGSTOP)
        stopped |= new
    for pid, start in stopped.items():
        _send(pid, start, signal.SIGKILL)
    return bool(stopped)


def signal_below(root: int, *numbers: int) -> None:
    """Send signals to each process below `root`."""
    for pid, start in descendants(root).items():
        _send(pid, start, *numbers)


def _send(pid: int, start: bytes, *numbers: int) -> None:
    """Signal the process that had this id at that start time, and no other."""
    try:
        handle = os.pidfd_open(pid)
    except OSError:
        return
    try:
        fields = _stat(pid)
        if fields and fields[2] == start:
            for number in numbers:
                with contextlib.suppress(OSError):
                    signal.pidfd_send_signal(handle, number)
    finally:
        os.close(handle)


def _stat(pid: int) -> tuple[bytes, int, bytes] | None:
    """State, parent and start time, in the kernel's own words; None if there is no such process."""
    try:
        descriptor = os.open(f"/proc/{pid}/stat", os.O_RDONLY)
    except OSError:
        return None
    try:
        line = os.read(descriptor, 4096)
    except OSError:
        return None
    finally:
        os.close(descriptor)
    fields = line[line.rfind(b")") + 2 :].split()
    return fields[0], int(fields[1]), fields[19]
