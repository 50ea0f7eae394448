"""The shims of a supervisor, and what is done when one is killed."""

import os
import signal
import socket
from collections.abc import Sequence

from airunner.worker.supervisor.cgroup import Cgroup
from airunner.worker.supervisor.cgroup_tree import CgroupTree
from airunner.worker.supervisor.loop import Death
from airunner.worker.supervisor.shim import Shim
from airunner.worker.supervisor.subreaper_tree import SubreaperTree, kill_below


class Shims:
    """Starts shims, and outlives them: nobody's tree is left when `empty`."""

    def __init__(self, folder: Cgroup | None) -> None:
        """With a folder, each shim has a leaf below it."""
        self._folder = folder
        self._lifeline, self._end = os.pipe()  # which ends with the supervisor, and says so to them
        self._posts: dict[int, _ShimEntry] = {}  # by the shim's process id
        self._orphaned_trees: list[
            _ShimEntry
        ] = []  # whose shim was killed: what it left is being killed
        self._leaves_to_remove: list[
            Cgroup
        ] = []  # that nobody is in any more, or will not be in a moment

    @property
    def empty(self) -> bool:
        """Whether there is neither a shim nor anything that one has left."""
        return not self._posts and not self._orphaned_trees

    def start_shim(self, number: int, channel: int) -> None:
        """Fork a shim, and own its channel; `number` names its leaf. Raises OSError."""
        self._bury()
        leaf = Cgroup(f"{self._folder.path}/{number}") if self._folder else None
        if leaf:
            os.mkdir(leaf.path)
        try:
            pid = os.fork()
        except OSError:
            if leaf:
                leaf.remove()
            raise
        if pid == 0:
            tree = CgroupTree(leaf, self._folder) if leaf and self._folder else SubreaperTree()
            Shim(socket.socket(fileno=channel), self._lifeline, tree).run()
        self._posts[pid] = _ShimEntry(number, channel, leaf)

    def dismiss(self, number: int) -> None:
        """Kill a shim and its tree."""
        for pid, post in self._posts.items():
            if post.number == number:
                os.kill(pid, signal.SIGKILL)

    def ended(self, deaths: Sequence[Death], alone: bool) -> None:
        """Note the end of children: shims, or orphans of those that were killed."""
        for pid, status in deaths:
            if post := self._posts.pop(pid, None):
                if status == 0:
                    self._leave(post)
                else:
                    self._orphaned_trees.append(post)
        if self._orphaned_trees:
            self._clear()

    def end(self) -> None:
        """Kill every shim and its tree."""
        for pid in self._posts:
            os.kill(pid, signal.SIGKILL)

    def close(self) -> None:
        """Remove the folder, once it is empty."""
        if self._folder:  # or the worker does, a moment later
            self._folder.remove()

    def _clear(self) -> None:
        """Kill what killed shims left; it is all here, as the supervisor is a subreaper as well."""
        for post in self._orphaned_trees:
            if post.leaf:
                post.leaf.kill()
        if kill_below(os.getpid(), frozenset(self._posts)):
            return
        for post in self._orphaned_trees:
            self._leave(post)
        self._orphaned_trees.clear()

    def _leave(self, post: "_ShimEntry") -> None:
        """Give up a post at which nothing is left, and say so to the worker."""
        if post.leaf:
            self._leaves_to_remove.append(post.leaf)
            self._bury()
        os.close(post.channel)

    def _bury(self) -> None:
        self._leaves_to_remove = [leaf for leaf in self._leaves_to_remove if not leaf.remove()]


class _ShimEntry:
    """Where a shim is, or was."""

    __slots__ = ("channel", "leaf", "number")

    def __init__(self, number: int, channel: int, leaf: Cgroup | None) -> None:
        self.number = number
        self.channel = channel  # held open, so that its end says that nothing is left
        self.leaf = leaf
