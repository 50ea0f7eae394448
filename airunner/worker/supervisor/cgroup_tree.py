"""The tree of a job as a control group, seen from its warden; leaf.py has the rules."""

import contextlib
import os
import signal

from airunner.worker.supervisor.cgroup import Leaf
from airunner.worker.supervisor.subreaper_tree import kill_below


class Within:
    """All that is in the leaf in which the warden is too."""

    def __init__(self, leaf: Leaf, outside: Leaf) -> None:
        """`outside` is where the warden goes before it kills."""
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
        self._leaf.signal(signal.SIGTERM, signal.SIGCONT)  # to which the warden is deaf

    def kill(self) -> None:
        """SIGKILL to every process."""
        if self._inside:
            with contextlib.suppress(OSError):  # else the warden dies too: its keeper does the rest
                self._outside.join()
            self._inside = False
        self._leaf.kill()
        kill_below(os.getpid())  # what a privileged job has moved to other groups
