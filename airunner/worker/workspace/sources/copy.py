"""Copying the folder of a source into a workspace, in a thread of its own.

Rules

1. Both sides are gone through by descriptors, never through a link: whatever is swapped meanwhile,
   nothing outside the source is read, and nothing outside the workspace written.
2. The copy shares nothing with the source that either could change: no hard links. Where the file
   system can share blocks until one side is written to, copy_file_range makes it do so.
3. Kept are bytes, holes, times, links as they are, and the mode; but the owner may always read and
   write, and no file runs as another user. Files with several names become several files.
4. Named pipes, sockets and devices are left out, and so is what airunner itself keeps in a source.
   What is removed meanwhile is left out too; anything else that cannot be copied is SetupFailed.
5. Folders may be as deep and as many as they like: no recursion, few descriptors, and no list of
   files. It can be stopped between two files, and between two pieces of a large one.

Rejected: a list of the errors after which copy_file_range is given up. File systems have found
many (EXDEV, ENOSYS, EOPNOTSUPP, EINVAL from ecryptfs, EAGAIN from ZFS, EPERM, 0 bytes). After any
of them a plain read and write either works or says what is wrong.
"""

import errno
import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from threading import Event
from time import monotonic
from typing import Final

from airunner.model.limits import KIB, MIB
from airunner.worker.files.descent import Descent
from airunner.worker.workspace.sources.snapshot import StagedSnapshot
from airunner.worker.workspace.sources.source_names import is_ours, shown
from airunner.worker.workspace.workspace import SetupFailed

PROGRESS_SECONDS: Final = 5.0  # between two tellings of how far it is, and before the first
LEFT_OUT_NAMED: Final = 10  # of what is left out; the rest is counted
_PIECE_BYTES: Final = 8 * MIB
_SMALL_BYTES: Final = 64 * KIB  # to share so little is worth no call of its own

_READ: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC  # waits for no pipe
_MAKE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_SWAPPED: Final = (errno.ELOOP, errno.ENOTDIR, errno.ENXIO, errno.EINVAL)  # of a name just listed
_RIGHTS: Final = 0o777
_KINDS: Final = {
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


class Stopped(Exception):
    """The copying was asked to stop."""


@dataclass(slots=True)
class CopyStats:
    """What has been copied so far."""

    files: int = 0  # and links
    size: int = 0  # bytes
    left_out: int = 0
    named: list[str] = field(default_factory=list)  # the first of those, each with what it is


@dataclass(slots=True)
class _Folder:
    """One that is being copied: what of it is still to come."""

    state: os.stat_result
    folders: list[str]


class SourceCopy:
    """One copying, from an open folder into an empty open folder."""

    def __init__(
        self,
        source: int,
        target: int,
        staged: StagedSnapshot,
        progress: Callable[[CopyStats], None],
        stop: Event,
        *,
        pace: float = PROGRESS_SECONDS,
    ) -> None:
        """Both descriptors stay the caller's; `stop` makes run() raise Stopped soon.

        `progress` is called in the thread of run(), every `pace` seconds.
        """
        self._pace = pace
        self._stop = stop
        self._from = Descent(source)
        self._to = Descent(target)
        self._staged = staged
        self._progress = progress
        self._told_at = monotonic()
        self._tally = CopyStats()
        self._names: list[str] = []  # of the folders that we are in
        self._unshared: set[int] = set()  # devices from which copy_file_range has failed
        made = os.fstat(target)
        self._target = (made.st_dev, made.st_ino)

    def run(self) -> CopyStats:
        """Copy everything. Raises SetupFailed or Stopped; then it is not all there."""
        with self._from, self._to:
            way = [self._enter()]
            while way:
                if way[-1].folders:
                    if self._down(way[-1].folders.pop()):
                        way.append(self._enter())
                    continue
                folder = way.pop()
                if way:
                    self._up(folder)
        return self._tally

    # Folders

    def _down(self, name: str) -> bool:
        """Into a folder and its copy; False: it is gone."""
        try:
            self._from.down(name)
        except FileNotFoundError:
            return False
        except OSError as error:
            raise self._failed(error, name) from None
        try:
            os.mkdir(name, 0o700, dir_fd=self._to.here)
            self._to.down(name)
        except OSError as error:
            raise self._failed(error, name) from None
        self._names.append(name)
        self._staged.add("/".join(self._names), os.fstat(self._to.here))
        return True

    def _up(self, folder: _Folder) -> None:
        try:
            _keep_looks(self._to.here, folder.state, 0o700)
            self._from.up()
            self._to.up()
        except OSError as error:
            raise self._failed(error) from None
        self._names.pop()

    def _enter(self) -> _Folder:
        """Copy the files of the folder that we are in; its folders are still to come."""
        source, target = self._from.here, self._to.here
        prefix = "".join(f"{name}/" for name in self._names)
        folder = _Folder(os.fstat(source), [])
        if (folder.state.st_dev, folder.state.st_ino) == self._target:
            raise SetupFailed(
                "the source has the worker's own workspaces in it: "
                "start the worker with another --workspaces-dir"
            )
        try:
            with os.scandir(source) as entries:
                for entry in entries:
                    if not prefix and is_ours(entry.name):
                        continue
                    self._look_up()
                    if entry.is_dir(follow_symlinks=False):
                        folder.folders.append(entry.name)
                    else:
                        self._copy(entry, source, target, f"{prefix}{entry.name}")
        except OSError as error:
            raise self._failed(error) from None
        return folder

    # Files

    def _copy(self, entry: os.DirEntry[str], source: int, target: int, path: str) -> None:
        try:
            if entry.is_file(follow_symlinks=False):
                copy = self._file(entry.name, source, target)
            elif entry.is_symlink():
                copy = _link(entry.name, source, target)
            else:
                self._leave_out(entry, path)
                return
        except FileNotFoundError:
            return  # it was removed meanwhile
        except OSError as error:
            raise self._failed(error, entry.name) from None
        self._tally.files += 1
        self._staged.add(path, copy)

    def _file(self, name: str, source: int, target: int) -> os.stat_result:
        there = os.open(name, _READ, dir_fd=source)
        try:
            state = os.fstat(there)
            if not stat.S_ISREG(state.st_mode):
                raise OSError(errno.ELOOP, "")
            here = os.open(name, _MAKE, state.st_mode & _RIGHTS | 0o600, dir_fd=target)
            try:
                self._fill(there, here, state)
                return _keep_looks(here, state, 0o600)
            finally:
                os.close(here)
        finally:
            os.close(there)

    def _fill(self, there: int, here: int, state: os.stat_result) -> None:
        """Copy what is in a file: no more than there was when it was opened."""
        size = state.st_size
        if size <= _SMALL_BYTES:
            self._plain(there, here, 0, size)
            return
        sparse = state.st_blocks * 512 < size
        for begin, end in _extents(there, size) if sparse else ((0, size),):
            at = begin
            while at < end:
                self._look_up()
                count = min(end - at, _PIECE_BYTES)
                done = self._shared(there, here, at, count, state.st_dev)
                if not (done := done or self._plain(there, here, at, count)):
                    return  # it was cut short meanwhile
                at += done
        if sparse:
            os.ftruncate(here, size)

    def _shared(self, there: int, here: int, at: int, count: int, device: int) -> int:
        """Copy a piece in the kernel; the bytes that it did."""
        if device in self._unshared:
            return 0
        try:
            done = os.copy_file_range(there, here, count, at, at)
        except OSError:
            done = 0
        if not done:
            self._unshared.add(device)
        self._tally.size += done
        return done

    def _plain(self, there: int, here: int, at: int, count: int) -> int:
        """Copy a piece by reading and writing; the bytes that there were."""
        done = 0
        while done < count and (data := os.pread(there, min(count - done, MIB), at + done)):
            view = memoryview(data)
            while view:
                written = os.pwrite(here, view, at + done)
                view = view[written:]
                done += written
        self._tally.size += done
        return done

    def _leave_out(self, entry: os.DirEntry[str], path: str) -> None:
        self._tally.left_out += 1
        if len(self._tally.named) < LEFT_OUT_NAMED:
            kind = _KINDS.get(stat.S_IFMT(entry.stat(follow_symlinks=False).st_mode), "unknown")
            self._tally.named.append(f"{shown(path)} ({kind})")

    # Who waits for it

    def _look_up(self) -> None:
        """See whether to stop, and tell how far it is."""
        if self._stop.is_set():
            raise Stopped
        if (now := monotonic()) >= self._told_at + self._pace:
            self._told_at = now
            self._progress(self._tally)

    def _failed(self, error: OSError, *names: str) -> SetupFailed:
        path = shown("/".join([*self._names, *names]) or ".")
        swapped = error.errno in _SWAPPED
        why = "it changed while it was copied" if swapped else error.strerror
        return SetupFailed(f"cannot copy {path} from the source: {why}")


def _keep_looks(copy: int, state: os.stat_result, owner: int) -> os.stat_result:
    """Give a copy its original's times and mode, with these rights for its owner."""
    os.utime(copy, ns=(state.st_atime_ns, state.st_mtime_ns))
    made = os.fstat(copy)
    mode = state.st_mode & _RIGHTS | owner
    if stat.S_IMODE(made.st_mode) != mode:
        os.fchmod(copy, mode)
    return made


def _extents(file: int, size: int) -> Iterator[tuple[int, int]]:
    """Where a file has data: from one offset to another."""
    end = 0
    while end < size:
        try:
            begin = os.lseek(file, end, os.SEEK_DATA)
            end = min(os.lseek(file, begin, os.SEEK_HOLE), size)
        except OSError as error:
            if error.errno == errno.EINVAL:  # this file system knows nothing of holes
                yield end, size
            return  # else there is no data behind this
        yield begin, end


def _link(name: str, source: int, target: int) -> os.stat_result:
    """Copy a symbolic link as it is."""
    state = os.stat(name, dir_fd=source, follow_symlinks=False)
    os.symlink(os.readlink(name, dir_fd=source), name, dir_fd=target)
    times = (state.st_atime_ns, state.st_mtime_ns)
    os.utime(name, ns=times, dir_fd=target, follow_symlinks=False)
    return os.stat(name, dir_fd=target, follow_symlinks=False)
