"""Cgroups: control groups of version 2, one for each shim and its job.

A process starts in the cgroup of its parent, and neither fork, setsid nor exec takes it out. A job
with write access to the parent cgroup can move its processes; cgroup_tree.py finds them by descent.

Rules

1. A supervisor creates a cgroup below the worker's own, and a cgroup for each shim below that. It
   holds a lock (flock) on the folder of its cgroup as long as it lives. A free lock means that the
   supervisor is dead: the next supervisor kills the processes in the cgroup and removes it.
2. A shim joins its cgroup before it starts a command, so the command and all of its descendants
   start there. To join takes 8 ms on an idle machine (the kernel waits for every processor), so
   no command joins on its way to exec.
3. `cgroup.kill` kills every process of a cgroup at once, forks in progress included. A shim moves
   out of its cgroup first, so that it can report how its command ended.
4. A cgroup serves one job after the other, as long as every process of each job ended by itself
   and no job created cgroups below it.

No controller is used, only membership. Membership needs no privilege except to write to the
folder, which may lie below /sys/fs/cgroup/unified beside version 1.

Rejected: a process id in the folder's name to tell a dead supervisor from a living one. Process
ids are reused, and differ between pid namespaces; locks do not.
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
    """One cgroup, by the path of its folder."""

    __slots__ = ("path",)

    def __init__(self, path: str) -> None:
        self.path = path

    @property
    def has_children(self) -> bool:
        """Whether there are cgroups below this one."""
        return os.stat(self.path).st_nlink != 2  # its name, and `.`; a child adds its `..`

    def join(self) -> None:
        """Moves this process into the cgroup. Raises OSError."""
        descriptor = os.open(f"{self.path}/cgroup.procs", os.O_WRONLY)
        try:
            os.write(descriptor, b"0")
        finally:
            os.close(descriptor)

    def open_events(self) -> int:
        """Opens a descriptor that has POLLPRI whenever `populated` changes. Raises OSError."""
        return os.open(f"{self.path}/cgroup.events", os.O_RDONLY)

    def kill(self) -> None:
        """Sends SIGKILL to every process in the cgroup and below."""
        try:
            with open(f"{self.path}/cgroup.kill", "wb", buffering=0) as file:
                file.write(b"1")
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.ENODEV):  # removed, and so it was empty
                raise

    def signal(self, *numbers: int) -> None:
        """Sends signals to each process that is now in the cgroup or below."""
        for pid in self._processes():
            try:
                handle = os.pidfd_open(pid)
            except ProcessLookupError:
                continue
            try:
                # The kernel may have given the id to another process since it was listed. A
                # handle stays with its process: if the id is still listed, the handle is right.
                if pid in self._processes():
                    for number in numbers:
                        signal.pidfd_send_signal(handle, number)
            except (ProcessLookupError, PermissionError):
                continue
            finally:
                os.close(handle)

    def remove(self) -> bool:
        """Removes the cgroup and all empty ones below it; returns whether it is gone.

        A process may be reaped a moment before it leaves its cgroup.
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
                continue  # removed meanwhile, or a threaded cgroup, which lists no processes
        return found


def populated(events: int) -> bool:
    """Whether a process is left, read from open_events(); reading also arms the next POLLPRI."""
    try:
        return b"populated 1" in os.pread(events, 256, 0)
    except OSError:
        return False  # removed, and so it was empty


def own_group() -> str | None:
    """The folder of this process's cgroup (version 2); None if it is not mounted."""
    try:
        with open("/proc/self/cgroup", encoding="utf-8") as groups:
            inside = next(line[3:].rstrip("\n") for line in groups if line.startswith("0::"))
        with open("/proc/self/mountinfo", encoding="utf-8") as mounts:
            for line in mounts:
                left, _, right = line.partition(" - ")
                if right.startswith("cgroup2 "):
                    root, point = (_plain(field) for field in left.split()[3:5])
                    return _folder(inside, root, point)
    except (OSError, StopIteration):
        return None
    return None


def _plain(field: str) -> str:
    return _ESCAPE.sub(lambda match: chr(int(match[1], 8)), field)


def _folder(inside: str, root: str, point: str) -> str | None:
    """The folder of the cgroup `inside`, given that the cgroup `root` is mounted at `point`."""
    root = root.rstrip("/")
    if inside != root and not inside.startswith(root + "/"):
        return None
    return (point.rstrip("/") + inside[len(root) :]).rstrip("/") or None


def claim(group: str) -> Cgroup | None:
    """Creates and locks a supervisor's cgroup below `group`; None if shims cannot use one there.

    This process holds the lock as long as it lives.
    """
    clear(group)
    while True:
        cgroup = Cgroup(f"{group}/{PREFIX}{os.urandom(6).hex()}")
        try:
            os.mkdir(cgroup.path, 0o755)
            descriptor = os.open(cgroup.path, os.O_RDONLY | os.O_DIRECTORY)
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            continue  # another supervisor took it for a dead supervisor's before it was locked
        except OSError:
            return None
        if os.path.exists(cgroup.path):
            break
        os.close(descriptor)
    if _usable(cgroup):
        return cgroup
    cgroup.remove()
    return None


def clear(group: str) -> None:
    """Kills the processes in the cgroups of dead supervisors below `group`, and removes these."""
    for name in os.listdir(group):
        if not name.startswith(PREFIX):
            continue
        cgroup = Cgroup(f"{group}/{name}")
        try:
            descriptor = os.open(cgroup.path, os.O_RDONLY | os.O_DIRECTORY)
        except OSError:
            continue
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _kill_and_wait(cgroup)
            cgroup.remove()
        except OSError:
            continue
        finally:
            os.close(descriptor)


def _kill_and_wait(cgroup: Cgroup) -> None:
    events = cgroup.open_events()
    try:
        poll = select.poll()
        poll.register(events, select.POLLPRI)
        cgroup.kill()
        while populated(events):
            if not poll.poll(STALE_MILLIS_MAX):
                return
    finally:
        os.close(events)


def _usable(cgroup: Cgroup) -> bool:
    """Whether a child process can join a cgroup below this one, and be killed there."""
    if not os.path.exists(f"{cgroup.path}/cgroup.kill"):
        return False
    trial = Cgroup(f"{cgroup.path}/trial")
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
