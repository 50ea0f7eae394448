"""Process trees by descent: every process below a *subreaper*, which adopts every orphan.

A subreaper (PR_SET_CHILD_SUBREAPER) becomes the parent of each process below it that loses its
parent. So no process of a job can escape from the tree, neither by two forks nor by setsid. Shims
are subreapers; the supervisor is one too, and adopts the orphans of a killed shim.

To kill a tree, stop every descendant with SIGSTOP, repeat until no new one is found, and then send
SIGKILL to all of them: a stopped process cannot fork, so a fork bomb cannot win the race. After
each death of a child the search begins again.
"""

import contextlib
import os
import signal


class SubreaperTree:
    """Every process below the shim; a Tree."""

    reusable = True  # an ended tree leaves nothing behind

    def enter(self) -> None:
        """As Tree.enter."""

    def term(self) -> None:
        """As Tree.term."""
        signal_below(os.getpid(), signal.SIGTERM, signal.SIGCONT)

    def kill(self) -> None:
        """As Tree.kill."""
        kill_below(os.getpid())


def descendants(root: int, spared: frozenset[int] = frozenset()) -> dict[int, bytes]:
    """The processes below `root`: process id to start time.

    Processes in `spared`, and all below them, are left out. So are zombies: they are dead, and
    wait for their parents.
    """
    children: dict[int, list[int]] = {}
    started: dict[int, bytes] = {}
    for name in os.listdir("/proc"):
        if name.isdigit() and (fields := _stat(int(name))):
            state, parent, start = fields
            children.setdefault(parent, []).append(int(name))
            if state != b"Z":
                started[int(name)] = start
    found: dict[int, bytes] = {}
    parents = [root]
    while parents:
        for pid in children.get(parents.pop(), ()):
            if pid not in spared:
                parents.append(pid)
                if pid in started:
                    found[pid] = started[pid]
    return found


def children(root: int, session: int | None = None) -> frozenset[int]:
    """The children of a process, zombies included; with a `session`, only those in it."""
    found: list[int] = []
    for name in os.listdir("/proc"):
        fields = _fields(int(name)) if name.isdigit() else None
        if fields and int(fields[1]) == root and session in (None, int(fields[3])):
            found.append(int(name))
    return frozenset(found)


def kill_below(root: int, spared: frozenset[int] = frozenset()) -> bool:
    """Stops and kills all processes below `root` but `spared`; returns whether there were any."""
    stopped: dict[int, bytes] = {}
    while new := {
        pid: start for pid, start in descendants(root, spared).items() if stopped.get(pid) != start
    }:
        for pid, start in new.items():
            _send(pid, start, signal.SIGSTOP)
        stopped |= new
    for pid, start in stopped.items():
        _send(pid, start, signal.SIGKILL)
    return bool(stopped)


def signal_below(root: int, *numbers: int) -> None:
    """Sends signals to each process below `root`."""
    for pid, start in descendants(root).items():
        _send(pid, start, *numbers)


def _send(pid: int, start: bytes, *numbers: int) -> None:
    """Signals the process with this id and start time, and no later process with the same id."""
    try:
        handle = os.pidfd_open(pid)
    except OSError:
        return
    try:
        fields = _stat(pid)
        if fields and fields[2] == start:
            for number in numbers:
                with contextlib.suppress(OSError):
                    signal.pidfd_send_signal(handle, number)
    finally:
        os.close(handle)


def _stat(pid: int) -> tuple[bytes, int, bytes] | None:
    """State, parent and start time of a process; None if there is no such process."""
    fields = _fields(pid)
    return (fields[0], int(fields[1]), fields[19]) if fields else None


def _fields(pid: int) -> list[bytes] | None:
    """The fields of /proc/PID/stat behind the name; None if there is no such process."""
    try:
        descriptor = os.open(f"/proc/{pid}/stat", os.O_RDONLY)
    except OSError:
        return None
    try:
        line = os.read(descriptor, 4096)
    except OSError:
        return None
    finally:
        os.close(descriptor)
    return line[line.rfind(b")") + 2 :].split()
