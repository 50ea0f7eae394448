"""Trees by descent: all that is below a *subreaper*, which inherits every orphan.

A subreaper (PR_SET_CHILD_SUBREAPER) is the parent of whatever below it loses its own, so
that no process of the job can get out of sight: neither by two forks nor by setsid. Shims are
subreapers, and the supervisor is one as well, for what a shim that was killed has left.

To kill is to stop every descendant with SIGSTOP, again until no new one is found, and then to
send SIGKILL to all: a process that is stopped cannot fork, so a fork bomb cannot win the race.
Each death of a child is a reason to look again.
"""

import contextlib
import os
import signal


class SubreaperTree:
    """All that is below the shim."""

    untouched = True  # nothing stays behind when all of it has ended

    def enter(self) -> None:
        """As Within.enter."""

    def term(self) -> None:
        """As Within.term."""
        signal_below(os.getpid(), signal.SIGTERM, signal.SIGCONT)

    def kill(self) -> None:
        """As Within.kill."""
        kill_below(os.getpid())


def set_subreaper() -> None:
    """Make this process the parent of every orphan below it. Raises OSError."""
    import ctypes  # noqa: PLC0415 - slow to import, and the worker's side has no use for it

    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(36, 1, 0, 0, 0) != 0:  # PR_SET_CHILD_SUBREAPER
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER)")


def descendants(root: int, spared: frozenset[int] = frozenset()) -> dict[int, bytes]:
    """All below `root` by process id, with their start times; not what is below one spared.

    Zombies are left out: they are dead, and wait for their parents.
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


def kill_below(root: int, spared: frozenset[int] = frozenset()) -> bool:
    """Stop all below `root`, until there is no new one, and kill them; whether there were any."""
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
    """Send signals to each process below `root`."""
    for pid, start in descendants(root).items():
        _send(pid, start, *numbers)


def _send(pid: int, start: bytes, *numbers: int) -> None:
    """Signal the process that had this id at that start time, and no other."""
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
    """State, parent and start time, in the kernel's own words; None if there is no such process."""
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
    fields = line[line.rfind(b")") + 2 :].split()
    return fields[0], int(fields[1]), fields[19]
