"""The shims of a supervisor, and the killing of the tree that a killed shim leaves."""

import os
import signal
import socket
from collections.abc import Sequence

from airunner.worker.supervisor.loop import Death
from airunner.worker.supervisor.shim import Shim
from airunner.worker.supervisor.trees.cgroup import Cgroup
from airunner.worker.supervisor.trees.cgroup_tree import CgroupTree
from airunner.worker.supervisor.trees.subreaper_tree import SubreaperTree, kill_below


class Shims:
    """Starts shims and outlives them; while `empty`, no process of any tree is left."""

    def __init__(self, parent: Cgroup | None) -> None:
        """With a `parent`, each shim gets a cgroup below it."""
        self._parent = parent
        # The writing end closes with the supervisor, which is how shims learn of its death.
        self._lifeline, self._lifeline_writer = os.pipe()
        self._shims: dict[int, _ShimEntry] = {}  # by the shim's process id
        self._orphaned_trees: list[_ShimEntry] = []  # of killed shims; being killed
        self._cgroups_to_remove: list[Cgroup] = []  # empty, now or in a moment

    @property
    def empty(self) -> bool:
        """Whether no shim and no orphaned tree is left."""
        return not self._shims and not self._orphaned_trees

    def start_shim(self, number: int, channel: int) -> None:
        """Forks a shim and owns its channel; `number` names its cgroup. Raises OSError."""
        self._remove_cgroups()
        cgroup = Cgroup(f"{self._parent.path}/{number}") if self._parent else None
        if cgroup:
            os.mkdir(cgroup.path)
        try:
            pid = os.fork()
        except OSError:
            if cgroup:
                cgroup.remove()
            raise
        if pid == 0:
            tree = CgroupTree(cgroup, self._parent) if cgroup and self._parent else SubreaperTree()
            Shim(socket.socket(fileno=channel), self._lifeline, tree).run()
        self._shims[pid] = _ShimEntry(number, channel, cgroup)

    def kill(self, number: int) -> None:
        """Kills a shim and its tree."""
        for pid, entry in self._shims.items():
            if entry.number == number:
                os.kill(pid, signal.SIGKILL)

    def children_ended(self, deaths: Sequence[Death], alone: bool) -> None:
        """Takes the deaths of children: shims, and orphans of killed shims."""
        for pid, status in deaths:
            if entry := self._shims.pop(pid, None):
                if status == 0:
                    self._finish(entry)
                else:
                    self._orphaned_trees.append(entry)
        if self._orphaned_trees:
            self._kill_orphaned_trees()

    def kill_all(self) -> None:
        """Kills every shim and its tree."""
        for pid in self._shims:
            os.kill(pid, signal.SIGKILL)

    def close(self) -> None:
        """Removes the supervisor's cgroup if it is empty; if not, the worker does it later."""
        if self._parent:
            self._parent.remove()

    def _kill_orphaned_trees(self) -> None:
        """Kills the trees of killed shims: their orphans are below the supervisor, a subreaper."""
        for entry in self._orphaned_trees:
            if entry.cgroup:
                entry.cgroup.kill()
        if kill_below(os.getpid(), frozenset(self._shims)):
            return
        for entry in self._orphaned_trees:
            self._finish(entry)
        self._orphaned_trees.clear()

    def _finish(self, entry: "_ShimEntry") -> None:
        """Closes the channel of a shim whose tree is gone, which informs the worker."""
        if entry.cgroup:
            self._cgroups_to_remove.append(entry.cgroup)
            self._remove_cgroups()
        os.close(entry.channel)

    def _remove_cgroups(self) -> None:
        self._cgroups_to_remove = [each for each in self._cgroups_to_remove if not each.remove()]


class _ShimEntry:
    """The supervisor's record of one shim."""

    __slots__ = ("cgroup", "channel", "number")

    def __init__(self, number: int, channel: int, cgroup: Cgroup | None) -> None:
        self.number = number
        self.channel = channel  # the shim's end; open until no process of the tree is left
        self.cgroup = cgroup
