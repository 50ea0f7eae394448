"""A job's process tree as a cgroup, from the view of its shim; cgroup.py has the rules."""

import contextlib
import os
import signal

from airunner.worker.supervisor.trees.cgroup import Cgroup
from airunner.worker.supervisor.trees.subreaper_tree import kill_below


class CgroupTree:
    """Every process in the cgroup of the shim, and below the shim; a Tree."""

    def __init__(self, cgroup: Cgroup, outside: Cgroup) -> None:
        """`outside` is the cgroup to which the shim moves before it kills."""
        self._cgroup = cgroup
        self._outside = outside
        self._inside = False

    def enter(self) -> None:
        """As Tree.enter."""
        self._cgroup.join()
        self._inside = True

    @property
    def reusable(self) -> bool:
        """Whether no job has created cgroups below this one."""
        return not self._cgroup.has_children

    def term(self) -> None:
        """As Tree.term."""
        self._cgroup.signal(signal.SIGTERM, signal.SIGCONT)  # neither affects the shim

    def kill(self) -> None:
        """As Tree.kill."""
        if self._inside:
            # If the move fails, the shim dies too, and its supervisor kills the rest.
            with contextlib.suppress(OSError):
                self._outside.join()
            self._inside = False
        self._cgroup.kill()
        kill_below(os.getpid())  # processes that a privileged job has moved to other cgroups
