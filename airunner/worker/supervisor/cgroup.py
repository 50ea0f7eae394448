"""Leaves: control groups of version 2, one a shim and its job, which no process of that can leave.

Rules

1. A supervisor has a folder of its own below the control group that the worker is in, and holds
   a lock on it (flock) for as long as it lives. A folder whose lock is free is that of a
   supervisor that is dead: what still runs in it is killed, and it is removed.
2. A shim joins its leaf before it starts anything, so that its commands begin there and
   nothing they start can be elsewhere. To join takes 8 ms on an idle machine (the kernel waits for
   every processor), which is why no command does it on its way to exec.
3. `cgroup.kill` kills all of a leaf at once, forks in progress included. A shim steps out before,
   so that it can tell how its command ended.
4. A leaf serves one job after the other, as long as each has ended by itself, with all of its
   processes, and has made no groups in it.

No controller is used, only membership: that needs no privilege but to write to the
folder, which may lie below /sys/fs/cgroup/unified beside version 1.

Rejected: a process id in the folder's name to tell the dead from the living. Process ids
are reused, and mean something else in each pid namespace; locks do not.
"""

import contextlib
import errno
import fcntl
import os
import re
import select
import signal

PREFIX = "airunner-keeper-"
STALE_MILLIS_MAX = 5_000  # time in which the jobs of a dead supervisor must die

_ESCAPE = re.compile(r"\\([0-7]{3})")


class Cgroup:
    """One control group and those below it."""

    __slots__ = ("path",)

    def __init__(self, path: str) -> None:
        self.path = path

    @property
    def bare(self) -> bool:
        """Whether there are no groups below it."""
        return os.stat(self.path).st_nlink == 2  # itself, and `.`; a group below adds its `..`

    def join(self) -> None:
        """Move this process into it. Raises OSError."""
        descriptor = os.open(f"{self.path}/cgroup.procs", os.O_WRONLY)
        try:
            os.write(descriptor, b"0")
        finally:
            os.close(descriptor)

    def open_events(self) -> int:
        """A descriptor that has POLLPRI whenever `populated` changes."""
        return os.open(f"{self.path}/cgroup.events", os.O_RDONLY)

    def kill(self) -> None:
        """SIGKILL to every process in it."""
        try:
            with open(f"{self.path}/cgroup.kill", "wb", buffering=0) as file:
                file.write(b"1")
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.ENODEV):  # removed, and so it was empty
                raise

    def signal(self, *numbers: int) -> None:
        """Send signals to each process that is in it now."""
        for pid in self._processes():
            try:
                handle = os.pidfd_open(pid)
            except ProcessLookupError:
                continue
            try:
                # A process id may have been given to another since it was listed; a handle may
                # not, so a process that is listed still, now, is the one that the handle names.
                if pid in self._processes():
                    for number in numbers:
                        signal.pidfd_send_signal(handle, number)
            except (ProcessLookupError, PermissionError):
                continue
            finally:
                os.close(handle)

    def remove(self) -> bool:
        """Remove it and all below it, but for what is populated; whether that was all.

        A process may be reaped a moment before it leaves its group.
        """
        for folder, _, _ in os.walk(self.path, topdown=False):
            with contextlib.suppress(OSError):
                os.rmdir(folder)
        return not os.path.exists(self.path)

    def _processes(self) -> set[int]:
        found: set[int] = set()
        for folder, _, _ in os.walk(self.path):
            try:
                with open(f"{folder}/cgroup.procs", "rb") as file:
                    found.update(map(int, file.read().split()))
            except OSError:
                continue  # it was removed, or a threaded group has no list of processes
        return found


def populated(events: int) -> bool:
    """Whether a process is left, by open_events(); reading also arms the next POLLPRI."""
    try:
        return b"populated 1" in os.pread(events, 256, 0)
    except OSError:
        return False  # removed, and so it was empty


def own_group() -> str | None:
    """The folder of the control group (version 2) that this process is in, if it is mounted."""
    try:
        with open("/proc/self/cgroup", encoding="utf-8") as groups:
            inside = next(line[3:].rstrip("\n") for line in groups if line.startswith("0::"))
        with open("/proc/self/mountinfo", encoding="utf-8") as mounts:
            for line in mounts:
                left, _, right = line.partition(" - ")
                if right.startswith("cgroup2 "):
                    root, point = (_plain(field) for field in left.split()[3:5])
                    return _place(inside, root, point)
    except (OSError, StopIteration):
        return None
    return None


def _plain(field: str) -> str:
    return _ESCAPE.sub(lambda match: chr(int(match[1], 8)), field)


def _place(inside: str, root: str, point: str) -> str | None:
    """Where the group `inside` is, given that the group `root` is mounted at `point`."""
    root = root.rstrip("/")
    if inside != root and not inside.startswith(root + "/"):
        return None
    return (point.rstrip("/") + inside[len(root) :]).rstrip("/") or None


def claim(group: str) -> Cgroup | None:
    """Make and lock a supervisor's folder below `group`; None if jobs cannot be kept there.

    The lock is held by this process, for as long as it lives.
    """
    clear(group)
    while True:
        leaf = Cgroup(f"{group}/{PREFIX}{os.urandom(6).hex()}")
        try:
            os.mkdir(leaf.path, 0o755)
            descriptor = os.open(leaf.path, os.O_RDONLY | os.O_DIRECTORY)
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            continue  # another supervisor took it for a dead one's before it was locked
        except OSError:
            return None
        if os.path.exists(leaf.path):
            break
        os.close(descriptor)
    if _usable(leaf):
        return leaf
    leaf.remove()
    return None


def clear(group: str) -> None:
    """Kill and remove what dead supervisors left below `group`."""
    for name in os.listdir(group):
        if not name.startswith(PREFIX):
            continue
        leaf = Cgroup(f"{group}/{name}")
        try:
            descriptor = os.open(leaf.path, os.O_RDONLY | os.O_DIRECTORY)
        except OSError:
            continue
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _kill_and_wait(leaf)
            leaf.remove()
        except OSError:
            continue
        finally:
            os.close(descriptor)


def _kill_and_wait(leaf: Cgroup) -> None:
    events = leaf.open_events()
    try:
        poll = select.poll()
        poll.register(events, select.POLLPRI)
        leaf.kill()
        while populated(events):
            if not poll.poll(STALE_MILLIS_MAX):
                return
    finally:
        os.close(events)


def _usable(leaf: Cgroup) -> bool:
    """Whether a child can join a leaf of this folder, and be killed there."""
    if not os.path.exists(f"{leaf.path}/cgroup.kill"):
        return False
    trial = Cgroup(f"{leaf.path}/trial")
    try:
        os.mkdir(trial.path)
        pid = os.fork()
        if pid == 0:
            try:
                trial.join()
                os._exit(0)
            finally:
                os._exit(1)
        _, status = os.waitpid(pid, 0)
        trial.kill()
    except OSError:
        return False
    finally:
        trial.remove()
    return status == 0
