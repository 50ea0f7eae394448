"""Processor time of the measured queue, a better measure than the clock on a shared machine.

Every process that a run has started is its descendant, and the queues that are not being measured
are stopped or idle. The processor time of all descendants is therefore the time of the measured
queue: its worker, its broker or server, and its producer. The run itself, which waits and reads
marks, does not count.
"""

import os
from collections import defaultdict
from contextlib import suppress
from pathlib import Path
from typing import Final

_TICKS: Final = os.sysconf("SC_CLK_TCK")  # a second


def busy_seconds() -> float:
    """User and system time of all descendants of this process, in seconds.

    Includes descendants that have ended, once their parents have waited for them.
    """
    children, ticks = defaultdict[int, list[int]](list), dict[int, int]()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError):  # the process has ended
                fields = (entry / "stat").read_text(encoding="utf-8").rpartition(")")[2].split()
                pid = int(entry.name)
                children[int(fields[1])].append(pid)
                ticks[pid] = sum(map(int, fields[11:15]))
    found = children[os.getpid()]
    for pid in found:  # the loop appends to the list
        found += children[pid]
    return sum(ticks[pid] for pid in found) / _TICKS
