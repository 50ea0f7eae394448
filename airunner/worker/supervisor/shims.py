"""The wardens of a keeper, and what is done when one is killed."""

import os
import signal
import socket
from collections.abc import Sequence

from airunner.worker.supervisor.cgroup import Leaf
from airunner.worker.supervisor.cgroup_tree import Within
from airunner.worker.supervisor.loop import Death
from airunner.worker.supervisor.shim import Warden
from airunner.worker.supervisor.subreaper_tree import Below, kill_below


class Wardens:
    """Starts wardens, and outlives them: nobody's tree is left when `empty`."""

    def __init__(self, folder: Leaf | None) -> None:
        """With a folder, each warden has a leaf below it."""
        self._folder = folder
        self._lifeline, self._end = os.pipe()  # which ends with the keeper, and says so to them
        self._posts: dict[int, _Post] = {}  # by the warden's process id
        self._bereft: list[_Post] = []  # whose warden was killed: what it left is being killed
        self._graves: list[Leaf] = []  # that nobody is in any more, or will not be in a moment

    @property
    def empty(self) -> bool:
        """Whether there is neither a warden nor anything that one has left."""
        return not self._posts and not self._bereft

    def hire(self, number: int, channel: int) -> None:
        """Fork a warden, and own its channel; `number` names its leaf. Raises OSError."""
        self._bury()
        leaf = Leaf(f"{self._folder.path}/{number}") if self._folder else None
        if leaf:
            os.mkdir(leaf.path)
        try:
            pid = os.fork()
        except OSError:
            if leaf:
                leaf.remove()
            raise
        if pid == 0:
            tree = Within(leaf, self._folder) if leaf and self._folder else Below()
            Warden(socket.socket(fileno=channel), self._lifeline, tree).run()
        self._posts[pid] = _Post(number, channel, leaf)

    def dismiss(self, number: int) -> None:
        """Kill a warden and its tree."""
        for pid, post in self._posts.items():
            if post.number == number:
                os.kill(pid, signal.SIGKILL)

    def ended(self, deaths: Sequence[Death], alone: bool) -> None:
        """Note the end of children: wardens, or orphans of those that were killed."""
        for pid, status in deaths:
            if post := self._posts.pop(pid, None):
                if status == 0:
                    self._leave(post)
                else:
                    self._bereft.append(post)
        if self._bereft:
            self._clear()

    def end(self) -> None:
        """Kill every warden and its tree."""
        for pid in self._posts:
            os.kill(pid, signal.SIGKILL)

    def close(self) -> None:
        """Remove the folder, once it is empty."""
        if self._folder:  # or the worker does, a moment later
            self._folder.remove()

    def _clear(self) -> None:
        """Kill what killed wardens left; it is all here, as the keeper is a subreaper as well."""
        for post in self._bereft:
            if post.leaf:
                post.leaf.kill()
        if kill_below(os.getpid(), frozenset(self._posts)):
            return
        for post in self._bereft:
            self._leave(post)
        self._bereft.clear()

    def _leave(self, post: "_Post") -> None:
        """Give up a post at which nothing is left, and say so to the worker."""
        if post.leaf:
            self._graves.append(post.leaf)
            self._bury()
        os.close(post.channel)

    def _bury(self) -> None:
        self._graves = [leaf for leaf in self._graves if not leaf.remove()]


class _Post:
    """Where a warden is, or was."""

    __slots__ = ("channel", "leaf", "number")

    def __init__(self, number: int, channel: int, leaf: Leaf | None) -> None:
        self.number = number
        self.channel = channel  # held open, so that its end says that nothing is left
        self.leaf = leaf
