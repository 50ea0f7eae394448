"""The tree of a job as a control group, seen from its shim; leaf.py has the rules."""

import contextlib
import os
import signal

from airunner.worker.supervisor.cgroup import Cgroup
from airunner.worker.supervisor.subreaper_tree import kill_below


class CgroupTree:
    """All that is in the leaf in which the shim is too."""

    def __init__(self, leaf: Cgroup, outside: Cgroup) -> None:
        """`outside` is where the shim goes before it kills."""
        self._leaf = leaf
        self._outside = outside
        self._inside = False

    def enter(self) -> None:
        """Have what is started from now on in the tree. Raises OSError."""
        self._leaf.join()
        self._inside = True

    @property
    def untouched(self) -> bool:
        """Whether no job has made groups in the leaf."""
        return self._leaf.bare

    def term(self) -> None:
        """SIGTERM to every process, and SIGCONT, lest one that is stopped does not hear it."""
        self._leaf.signal(signal.SIGTERM, signal.SIGCONT)  # to which the shim is deaf

    def kill(self) -> None:
        """SIGKILL to every process."""
        if self._inside:
            with contextlib.suppress(
                OSError
            ):  # else the shim dies too: its supervisor does the rest
                self._outside.join()
            self._inside = False
        self._leaf.kill()
        kill_below(os.getpid())  # what a privileged job has moved to other groups
