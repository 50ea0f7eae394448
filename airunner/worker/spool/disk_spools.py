"""A worker's spools on disk, below the root folder that successive workers share.

    ROOT/spools-SERVER-xxxxxxxx/       0700, one for each worker, locked while the worker lives
                                       (system/locked_folder.py)
        alive                          a named pipe that the worker, its supervisor and its shims hold
                                       open for writing
        JOB.ATTEMPT-xxxxxxxx/          one for each attempt (disk_spool.py)
    ROOT/refused/JOB.ATTEMPT-xxxxxxxx/ spools that the server refused

Rules

1. A folder without a lock is orphaned, and the next worker of the same server that starts takes it
   over. A worker of another server does not: its server must not see the tokens. After
   STRANDED_SECONDS_KEPT no lease of the folder can be alive, and any worker sets its spools aside.
2. The lock ends with the worker, but the worker's processes end a moment later, when the supervisor
   has killed them. So an attempt that will be given back as lost waits for the end of file of
   `alive`, which comes when the last writer is gone.
3. `refused/` holds at most REFUSED_BYTES_MAX and REFUSED_SPOOLS_MAX; the oldest spools are removed.
4. A disk failure ends no job and no worker. The worker's log names it.
5. The folder of a discarded spool is emptied, and renamed for the next spool: on some mounts its
   removal takes a millisecond, for which the worker would wait. A folder without a lease in it
   belongs to no attempt.

Rejected: a lock for each attempt (a thousand descriptors, and no gain: attempts do not outlive
their worker); the process id of the supervisor in a file (the kernel reuses ids).
"""

import asyncio
import os
import re
import shutil
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from hashlib import blake2b
from pathlib import Path
from typing import Final

from structlog.typing import FilteringBoundLogger

from airunner.model.limits import (
    REFUSED_BYTES_MAX,
    REFUSED_SPOOLS_MAX,
    SPOOL_BYTES_DEFAULT,
    VISIBILITY_SECONDS_MAX,
)
from airunner.model.protocol.worker_protocol import Assignment
from airunner.system.locked_folder import LockedFolder
from airunner.worker.spool.disk_spool import DiskSpool
from airunner.worker.spool.lease_file import read_final, read_lease, write_lease
from airunner.worker.spool.spool import FinalReport, Spool, SpoolDamaged
from airunner.worker.spool.spools import Orphan, SpoolStatistics

PREFIX: Final = "spools-"
ALIVE: Final = "alive"
STRANDED: Final = "stranded"  # its mtime: when a worker of another server first saw the orphan
REFUSED: Final = "refused"
STRANDED_SECONDS_KEPT: Final = 2 * VISIBILITY_SECONDS_MAX  # age of spools of another server


class DiskSpools:
    """One worker's spools below a root folder; implements Spools and SpoolOwner."""

    def __init__(
        self,
        root: Path,
        log: FilteringBoundLogger,
        *,
        server: str = "",
        bytes_max: int = SPOOL_BYTES_DEFAULT,
    ) -> None:
        """`server` is the server's address; `bytes_max` limits the spool of each attempt."""
        self._root = root
        self._log = log
        self._bytes_max = bytes_max
        self._locked = LockedFolder(
            root, f"{PREFIX}{blake2b(server.encode(), digest_size=4).hexdigest()}-"
        )
        self._folder: Path | None = None  # this worker's folder
        self._lifeline: int | None = None  # this worker's descriptor of its pipe `alive`
        self._watches: list[_LifelineWatch] = []
        self._spare: list[Path] = []  # empty folders for the next spools
        self._open: dict[DiskSpool, bool] = {}  # True: taken over from a dead worker

    def lifeline(self) -> int | None:
        """The descriptor of `alive`, which each process that can outlive the worker must hold open.

        These processes are the supervisor and its shims. None: the disk offers no named pipe, so a
        worker that takes over does not wait for their end.
        """
        try:
            path = self._own() / ALIVE
            if self._lifeline is None:
                os.mkfifo(path, 0o600)
                self._lifeline = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            self._log.warning("spools_without_lifeline", why=error.strerror)
        return self._lifeline

    def open(self, assignment: Assignment) -> Spool:
        """Creates a spool; see Spools.open. A disk failure gives a spool in memory."""
        job, folder = assignment.job, None
        name = re.sub(r"[^A-Za-z0-9-]", "_", job.id)
        try:
            folder = self._fresh(f"{name}.{job.attempt}-")
            write_lease(folder, assignment)
            spool = DiskSpool(assignment, folder, self, self._bytes_max)
        except OSError as error:
            if folder:
                shutil.rmtree(folder, ignore_errors=True)
            self._warn(assignment, "spool_failed", why=error.strerror)
            spool = DiskSpool(assignment, None, self, self._bytes_max)
        self._open[spool] = False
        return spool

    def orphans(self) -> Sequence[Orphan]:
        """Takes over the spools of dead workers of the same server; see Spools.orphans."""
        found: list[Orphan] = []
        for folder in self._locked.abandoned():
            watch = _LifelineWatch(folder / ALIVE)
            self._watches.append(watch)
            with suppress(OSError):
                (folder / STRANDED).unlink(missing_ok=True)
            paths = sorted(each for each in folder.iterdir() if each.is_dir())
            found += filter(None, [self._take_over(path, watch) for path in paths])
            self._tidy(folder)
        self._set_stranded_aside()
        return found

    def _set_stranded_aside(self) -> None:
        """Sets aside the spools of other servers' dead workers after STRANDED_SECONDS_KEPT.

        The time counts from the first sight of the abandoned folder, and not from the last write to
        it: the jobs may have been silent for days before.
        """
        other_servers = LockedFolder(self._root, PREFIX)
        with suppress(OSError):
            for folder in other_servers.abandoned():
                stranded = folder / STRANDED
                if not stranded.exists():
                    stranded.touch(mode=0o600)
                elif stranded.stat().st_mtime < time.time() - STRANDED_SECONDS_KEPT:
                    for path in [each for each in folder.iterdir() if each.is_dir()]:
                        self._set_aside(path)
                _remove(folder)
        other_servers.close()

    def close(self) -> None:
        """Releases the spools; see Spools.close. Safe to call twice."""
        while self._watches:
            self._watches.pop().close()
        while self._spare:
            with suppress(OSError):
                self._spare.pop().rmdir()
        if self._folder:
            _remove(self._folder)
        if self._lifeline is not None:
            os.close(self._lifeline)
            self._lifeline = None
        self._open.clear()
        self._locked.close()

    def statistics(self) -> SpoolStatistics:
        """As Spools.statistics."""
        return SpoolStatistics(
            spools_open=len(self._open),
            orphans=sum(self._open.values()),
            bytes_on_disk=sum(spool.bytes_on_disk for spool in self._open),
            bytes_waiting=sum(spool.size for spool in self._open),
        )

    # Calls of a spool

    def spool_failed(self, spool: DiskSpool, why: str) -> None:
        """Logs the failure of a spool's disk; see SpoolOwner."""
        self._warn(spool.assignment, "spool_failed", why=why)

    def discard(self, spool: DiskSpool) -> None:
        """Empties the folder of a spool for the next one, or removes it; see SpoolOwner."""
        self._open.pop(spool, None)
        if folder := spool.folder:
            if folder.parent == self._folder and _empty(folder):
                self._spare.append(folder)
                return
            shutil.rmtree(folder, ignore_errors=True)
            self._tidy(folder.parent)

    def refuse(self, spool: DiskSpool) -> None:
        """Moves the folder of a spool to `refused/`; see SpoolOwner."""
        self._open.pop(spool, None)
        if spool.folder:
            self._set_aside(spool.folder, spool.assignment)

    def _set_aside(self, folder: Path, assignment: Assignment | None = None) -> None:
        """Moves a spool to `refused/`, and removes the oldest spools there beyond the limits."""
        refused = self._root / REFUSED / folder.name
        fields: dict[str, object] = {"bytes": _size(folder), "path": str(refused)}
        if assignment:
            fields |= {"job": assignment.job.id, "attempt": assignment.job.attempt}
        try:
            refused.parent.mkdir(mode=0o700, exist_ok=True)
            folder.replace(refused)
        except OSError as error:
            self._log.warning("spool_left", **{**fields, "path": str(folder)}, why=error.strerror)
            return
        self._log.warning("spool_refused", **fields)
        _trim(refused.parent)
        self._tidy(folder.parent)

    def _take_over(self, path: Path, watch: "_LifelineWatch") -> Orphan | None:
        """Opens the spool of one orphaned attempt; None if the folder holds no readable lease."""
        try:
            assignment = read_lease(path)
            spool = DiskSpool(assignment, path, self, self._bytes_max)
        except FileNotFoundError:  # the worker was killed before it wrote the lease
            shutil.rmtree(path, ignore_errors=True)
            return None
        except (OSError, SpoolDamaged) as error:
            self._log.error("spool_unreadable", path=str(path), why=str(error))
            self._set_aside(path)
            return None
        final_report: FinalReport | None = None
        try:
            final_report = read_final(path)
        except (OSError, SpoolDamaged) as error:
            self._warn(assignment, "spool_unreadable", path=str(path), why=str(error))
        self._open[spool] = True
        return Orphan(
            assignment=assignment,
            spool=spool,
            final_report=final_report,
            when_processes_gone=watch.add,
        )

    def _fresh(self, prefix: str) -> Path:
        path = self._own() / f"{prefix}{os.urandom(4).hex()}"
        while self._spare:
            with suppress(OSError):  # another process removed the spare folder
                os.rename(self._spare.pop(), path)
                return path
        path.mkdir(mode=0o700)
        return path

    def _own(self) -> Path:
        if self._folder is None:
            self._folder = self._locked.folder()
        return self._folder

    def _tidy(self, folder: Path) -> None:
        """Removes a dead worker's folder if no spool is in it."""
        if folder != self._folder:
            _remove(folder)

    def _warn(self, assignment: Assignment, event: str, **fields: object) -> None:
        job = assignment.job
        self._log.warning(event, job=job.id, attempt=job.attempt, **fields)


class _LifelineWatch:
    """Calls back when no process holds the named pipe of a dead worker open any more."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._pipe: int | None = None
        self._callbacks: list[Callable[[], None]] = []

    def add(self, callback: Callable[[], None]) -> None:
        """Registers a callback, which is called at once if the pipe is missing or has ended."""
        self._callbacks.append(callback)
        if self._pipe is None:
            try:
                self._pipe = os.open(self._path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
                asyncio.get_running_loop().add_reader(self._pipe, self._check_end)
            except OSError:  # no pipe: the worker's processes cannot be waited for
                pass
        self._check_end()

    def close(self) -> None:
        if self._pipe is not None:
            asyncio.get_running_loop().remove_reader(self._pipe)
            os.close(self._pipe)
            self._pipe = None

    def _check_end(self) -> None:
        try:
            if self._pipe is not None and os.read(self._pipe, 1):
                return
        except BlockingIOError:
            return
        self.close()
        while self._callbacks:
            self._callbacks.pop(0)()


def _empty(folder: Path) -> bool:
    """Deletes the files in a folder; returns whether the folder is empty."""
    try:
        for name in os.listdir(folder):
            os.unlink(folder / name)
    except OSError:
        return False
    return True


def _trim(refused: Path) -> None:
    """Removes the oldest refused spools beyond REFUSED_SPOOLS_MAX and REFUSED_BYTES_MAX."""
    count = size = 0
    with suppress(OSError):
        for path in sorted(refused.iterdir(), key=_changed_at, reverse=True):
            count, size = count + 1, size + _size(path)
            if count > REFUSED_SPOOLS_MAX or (count > 1 and size > REFUSED_BYTES_MAX):
                shutil.rmtree(path, ignore_errors=True)


def _remove(folder: Path) -> None:
    """Removes a worker's folder if no spool is in it."""
    with suppress(OSError):
        if {path.name for path in folder.iterdir()} <= {ALIVE, STRANDED}:
            for name in (ALIVE, STRANDED):
                (folder / name).unlink(missing_ok=True)
            folder.rmdir()


def _size(folder: Path) -> int:
    """The total size of a folder's files in bytes; files that vanish meanwhile do not count."""
    size = 0
    with suppress(OSError):
        for path in folder.iterdir():
            size += path.stat().st_size
    return size


def _changed_at(path: Path) -> int:
    with suppress(OSError):
        return path.stat().st_mtime_ns
    return 0
