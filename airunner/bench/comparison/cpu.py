"""Processor time of everybody who is measured, which says more than a clock does on a shared machine.

All that a run has started descends from it, and who is not being measured is stopped or idle. So
what these processes spend meanwhile is spent for who is: worker, broker or server, and who
puts jobs in line. The run itself, which waits and reads marks, is left out.
"""

import os
from collections import defaultdict
from contextlib import suppress
from pathlib import Path
from typing import Final

_TICKS: Final = os.sysconf("SC_CLK_TCK")  # a second


def busy_seconds() -> float:
    """Of all descendants of this process, in them and in the kernel for them.

    With those that have ended, once their parents have waited for them.
    """
    children, ticks = defaultdict[int, list[int]](list), dict[int, int]()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError):  # it is gone
                fields = (entry / "stat").read_text(encoding="utf-8").rpartition(")")[2].split()
                pid = int(entry.name)
                children[int(fields[1])].append(pid)
                ticks[pid] = sum(map(int, fields[11:15]))
    found = children[os.getpid()]
    for pid in found:  # which grows meanwhile
        found += children[pid]
    return sum(ticks[pid] for pid in found) / _TICKS
