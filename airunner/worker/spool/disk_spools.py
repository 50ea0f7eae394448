"""A worker's spools on disk, below the folder that it shares with those before it.

    ROOT/spools-SERVER-xxxxxxxx/       0700, one for each worker; locked while it lives (estate.py)
        alive                          a named pipe: its writers are the worker, its supervisor and what
                                       holds the trees of its jobs
        JOB.ATTEMPT-xxxxxxxx/          one for each attempt (disk_spool.py)
    ROOT/refused/JOB.ATTEMPT-xxxxxxxx/ what the server would not hear

Rules

1. A folder that nobody has locked belongs to nobody; the next worker of the same server that
   starts takes it. Another server is never told of it: its tokens are no business of that one. Once no
   lease can be left, after STRANGERS_SECONDS_KEPT, any worker sets it aside.
2. The lock ends with the worker, but its processes end a moment later: by the supervisor's hand. So an
   attempt that is to be given back as lost waits for the end of `alive`, which is seen when the last
   of those that hold its other end is gone.
3. `refused/` keeps REFUSED_BYTES_MAX and REFUSED_SPOOLS_MAX; the oldest go.
4. A disk that fails ends no job and no worker. It is said in the worker's log.
5. The folder of a spool that was discarded is emptied, and is the next one's under another name: to
   remove it can take a millisecond, by how the disk is mounted, and a worker waits for that. Without a
   lease in it, it is nobody's.

Rejected: a lock for each attempt (a thousand descriptors, and nothing gained: attempts do not
outlive their worker); the process id of the supervisor in a file (ids are given out again).
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
from airunner.worker.files.locked_folder import LockedFolder
from airunner.worker.spool.disk_spool import DiskSpool
from airunner.worker.spool.lease_file import read_final, read_lease, write_lease
from airunner.worker.spool.spool import FinalReport, Spool, SpoolDamaged
from airunner.worker.spool.spools import Orphan

PREFIX: Final = "spools-"
ALIVE: Final = "alive"
STRANDED: Final = "stranded"  # when a worker of another server first saw that its owner is dead
REFUSED: Final = "refused"
STRANGERS_SECONDS_KEPT: Final = 2 * VISIBILITY_SECONDS_MAX  # age of spools of another server


class DiskSpools:
    """Spools below one folder; Spools."""

    def __init__(
        self,
        root: Path,
        log: FilteringBoundLogger,
        *,
        server: str = "",
        bytes_max: int = SPOOL_BYTES_DEFAULT,
    ) -> None:
        """`server` is its address; `bytes_max` is for each attempt."""
        self._root = root
        self._log = log
        self._bytes_max = bytes_max
        self._estate = LockedFolder(
            root, f"{PREFIX}{blake2b(server.encode(), digest_size=4).hexdigest()}-"
        )
        self._folder: Path | None = None  # this worker's
        self._lifeline: int | None = None  # the end of `alive` that we hold
        self._wakes: list[_Wake] = []
        self._spare: list[Path] = []  # empty folders

    def lifeline(self) -> int | None:
        """What the supervisor, and whoever else can outlive the worker, must hold until their end.

        None: the disk gives none, so a worker that takes over will not wait for them.
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
        """As Spools.open."""
        job, folder = assignment.job, None
        name = re.sub(r"[^A-Za-z0-9-]", "_", job.id)
        try:
            folder = self._fresh(f"{name}.{job.attempt}-")
            write_lease(folder, assignment)
            return DiskSpool(assignment, folder, self, self._bytes_max)
        except OSError as error:
            if folder:
                shutil.rmtree(folder, ignore_errors=True)
            self._warn(assignment, "spool_failed", why=error.strerror)
            return DiskSpool(assignment, None, self, self._bytes_max)

    def orphans(self) -> Sequence[Orphan]:
        """As Spools.orphans."""
        found: list[Orphan] = []
        for folder in self._estate.abandoned():
            wake = _Wake(folder / ALIVE)
            self._wakes.append(wake)
            with suppress(OSError):
                (folder / STRANDED).unlink(missing_ok=True)
            paths = sorted(each for each in folder.iterdir() if each.is_dir())
            found += filter(None, [self._take(path, wake) for path in paths])
            self._tidy(folder)
        self._sweep()
        return found

    def _sweep(self) -> None:
        """Set aside what other servers' workers left so long ago that nobody will come for it.

        How long that is counts from when somebody first saw that they were dead: their jobs may
        have been silent for days before.
        """
        strangers = LockedFolder(self._root, PREFIX)
        with suppress(OSError):
            for folder in strangers.abandoned():
                seen = folder / STRANDED
                if not seen.exists():
                    seen.touch(mode=0o600)
                elif seen.stat().st_mtime < time.time() - STRANGERS_SECONDS_KEPT:
                    for path in [each for each in folder.iterdir() if each.is_dir()]:
                        self._set_aside(path)
                _remove(folder)
        strangers.close()

    def close(self) -> None:
        """As Spools.close; it may be said again."""
        while self._wakes:
            self._wakes.pop().close()
        while self._spare:
            with suppress(OSError):
                self._spare.pop().rmdir()
        if self._folder:
            _remove(self._folder)
        if self._lifeline is not None:
            os.close(self._lifeline)
            self._lifeline = None
        self._estate.close()

    # For a spool

    def failed(self, spool: DiskSpool, why: str) -> None:
        """As Home.failed."""
        self._warn(spool.assignment, "spool_failed", why=why)

    def discard(self, spool: DiskSpool) -> None:
        """As Home.discard."""
        if folder := spool.folder:
            if folder.parent == self._folder and _empty(folder):
                self._spare.append(folder)
                return
            shutil.rmtree(folder, ignore_errors=True)
            self._tidy(folder.parent)

    def refuse(self, spool: DiskSpool) -> None:
        """As Home.refuse."""
        if spool.folder:
            self._set_aside(spool.folder, spool.assignment)

    def _set_aside(self, folder: Path, assignment: Assignment | None = None) -> None:
        """Move a spool to where what was refused is kept, and keep that within its limits."""
        refused = self._root / REFUSED / folder.name
        said: dict[str, object] = {"bytes": _size(folder), "path": str(refused)}
        if assignment:
            said |= {"job": assignment.job.id, "attempt": assignment.job.attempt}
        try:
            refused.parent.mkdir(mode=0o700, exist_ok=True)
            folder.replace(refused)
        except OSError as error:
            self._log.warning("spool_left", **{**said, "path": str(folder)}, why=error.strerror)
            return
        self._log.warning("spool_refused", **said)
        _trim(refused.parent)
        self._tidy(folder.parent)

    def _take(self, path: Path, wake: "_Wake") -> Orphan | None:
        """What is left of one attempt."""
        try:
            assignment = read_lease(path)
            spool = DiskSpool(assignment, path, self, self._bytes_max)
        except FileNotFoundError:  # its worker was killed as it made it
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
        return Orphan(
            assignment=assignment,
            spool=spool,
            final_report=final_report,
            when_processes_gone=wake.add,
        )

    def _fresh(self, prefix: str) -> Path:
        path = self._own() / f"{prefix}{os.urandom(4).hex()}"
        while self._spare:
            with suppress(OSError):  # somebody has taken it away
                os.rename(self._spare.pop(), path)
                return path
        path.mkdir(mode=0o700)
        return path

    def _own(self) -> Path:
        if self._folder is None:
            self._folder = self._estate.folder()
        return self._folder

    def _tidy(self, folder: Path) -> None:
        """Remove a dead worker's folder once no spool is in it."""
        if folder != self._folder:
            _remove(folder)

    def _warn(self, assignment: Assignment, event: str, **fields: object) -> None:
        job = assignment.job
        self._log.warning(event, job=job.id, attempt=job.attempt, **fields)


class _Wake:
    """Calls back when nobody holds the other end of a pipe any more."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._pipe: int | None = None
        self._told: list[Callable[[], None]] = []

    def add(self, told: Callable[[], None]) -> None:
        self._told.append(told)
        if self._pipe is None:
            try:
                self._pipe = os.open(self._path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
                asyncio.get_running_loop().add_reader(self._pipe, self._look)
            except OSError:  # there is none: nothing is known of who is left
                pass
        self._look()

    def close(self) -> None:
        if self._pipe is not None:
            asyncio.get_running_loop().remove_reader(self._pipe)
            os.close(self._pipe)
            self._pipe = None

    def _look(self) -> None:
        try:
            if self._pipe is not None and os.read(self._pipe, 1):
                return
        except BlockingIOError:
            return
        self.close()
        while self._told:
            self._told.pop(0)()


def _empty(folder: Path) -> bool:
    """Delete the files in a folder; whether it is empty then."""
    try:
        for name in os.listdir(folder):
            os.unlink(folder / name)
    except OSError:
        return False
    return True


def _trim(refused: Path) -> None:
    """Keep the newest of what was refused, within its limits."""
    count = size = 0
    with suppress(OSError):
        for path in sorted(refused.iterdir(), key=_changed_at, reverse=True):
            count, size = count + 1, size + _size(path)
            if count > REFUSED_SPOOLS_MAX or (count > 1 and size > REFUSED_BYTES_MAX):
                shutil.rmtree(path, ignore_errors=True)


def _remove(folder: Path) -> None:
    """Remove a worker's folder if no spool is in it."""
    with suppress(OSError):
        if {path.name for path in folder.iterdir()} <= {ALIVE, STRANDED}:
            for name in (ALIVE, STRANDED):
                (folder / name).unlink(missing_ok=True)
            folder.rmdir()


def _size(folder: Path) -> int:
    """Bytes of the files in a folder, as far as they are still there."""
    size = 0
    with suppress(OSError):
        for path in folder.iterdir():
            size += path.stat().st_size
    return size


def _changed_at(path: Path) -> int:
    with suppress(OSError):
        return path.stat().st_mtime_ns
    return 0
