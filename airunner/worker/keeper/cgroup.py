"""Trees as control groups, seen from the keeper; leaf.py has the rules."""

import os
import select
import signal
import socket

from airunner.worker.keeper.child import Parts, become
from airunner.worker.keeper.leaf import Leaf, populated
from airunner.worker.keeper.loop import Loop, said
from airunner.worker.keeper.words import EXIT, GONE, KILL, TERM, hear, tell


class Leaves:
    """Starts each job in a leaf of its own below `folder`."""

    def __init__(self, loop: Loop, folder: Leaf) -> None:
        self._loop = loop
        self._folder = folder
        self._jobs: dict[int, _Job] = {}  # by the command's process id, until it is reaped
        self._left: set[_Job] = set()  # those that have a process left

    @property
    def empty(self) -> bool:
        """Whether no job has a process left."""
        return not self._left

    def launch(self, number: int, parts: Parts) -> None:
        """Fork a job; `number` names its leaf. Raises OSError if the system has no room."""
        leaf = Leaf(f"{self._folder.path}/{number}")
        os.mkdir(leaf.path)
        events = -1
        try:
            events = leaf.open_events()
            pid = os.fork()
        except OSError:
            if events >= 0:
                os.close(events)
            leaf.remove()
            raise
        if pid == 0:
            become(parts, leaf.path)
        parts.close()
        job = _Job(self, leaf, pid, events, socket.socket(fileno=parts.channel))
        self._jobs[pid] = job
        self._left.add(job)
        self._loop.watch(job.channel.fileno(), job.obey)
        self._loop.watch(events, job.look, select.POLLPRI)

    def ended(self, pid: int, status: int) -> None:
        """Note the end of a child: a command, or an orphan of one."""
        if job := self._jobs.pop(pid, None):
            job.end(status)

    def end(self) -> None:
        """Kill every job."""
        for job in list(self._left):
            job.kill()

    def close(self) -> None:
        """Remove the folder, once it is empty."""
        self._folder.remove()

    def forget(self, job: "_Job") -> None:
        """Let go of a job that is over."""
        self._left.discard(job)
        for descriptor in (job.events, job.channel.fileno()):
            self._loop.unwatch(descriptor)
        os.close(job.events)
        job.leaf.remove()
        tell(job.channel, GONE)
        job.channel.close()

    def unheard(self, job: "_Job") -> None:
        """Stop listening to a channel that is at its end, which would wake the loop for ever."""
        self._loop.unwatch(job.channel.fileno())


class _Job:
    __slots__ = ("channel", "events", "killed", "leaf", "leaves", "pid", "reaped")

    def __init__(
        self, leaves: Leaves, leaf: Leaf, pid: int, events: int, channel: socket.socket
    ) -> None:
        self.leaves = leaves
        self.leaf = leaf
        self.pid = pid
        self.events = events
        self.channel = channel
        self.reaped = False
        self.killed = False

    def obey(self) -> None:
        """Do what the worker asks for."""
        word = hear(self.channel)
        if word == TERM:
            self.leaf.signal(signal.SIGTERM, signal.SIGCONT)
        elif word in (KILL, b""):
            self.kill()
            if word == b"":
                self.leaves.unheard(self)

    def kill(self) -> None:
        """Kill all, the command first: it may not have joined its leaf yet."""
        self.killed = True
        if not self.reaped:
            os.kill(self.pid, signal.SIGKILL)
        self.leaf.kill()

    def end(self, status: int) -> None:
        """Say how the command ended."""
        self.reaped = True
        tell(self.channel, b"%b %d %d" % (EXIT, *said(status)))
        self.look()

    def look(self) -> None:
        """See whether the leaf is empty."""
        if populated(self.events):
            if self.killed:
                self.leaf.kill()
        elif self.reaped:
            self.leaves.forget(self)
