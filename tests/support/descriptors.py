"""The descriptors of the test process, and folder trees that are too deep for a path."""

import gc
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from airunner.system.descent import FOLDER


def open_descriptors() -> int:
    """The number of open descriptors, without the garbage of earlier tests."""
    gc.collect()
    return len(os.listdir("/proc/self/fd"))


@contextmanager
def deep_tree(top: Path, depth: int, *others: Path) -> Iterator[None]:
    """Makes `depth` folders `d` below `top`, one within the other, and removes them at the end.

    The folders `d` of `others` are removed too: shutil.rmtree, which pytest uses, recurses, and
    fails on so deep a tree in whichever test run removes this run's folders.
    """
    here = os.open(top, FOLDER)
    try:
        for _ in range(depth):
            os.mkdir("d", dir_fd=here)
            below = os.open("d", FOLDER, dir_fd=here)
            os.close(here)
            here = below
        os.close(here)
        yield
    finally:
        subprocess.run(["rm", "-rf", *(each / "d" for each in (top, *others))], check=True)


def deepest(top: Path, depth: int) -> int:
    """A descriptor of the folder that lies `depth` folders `d` below `top`."""
    here = os.open(top, FOLDER)
    for _ in range(depth):
        below = os.open("d", FOLDER, dir_fd=here)
        os.close(here)
        here = below
    return here
