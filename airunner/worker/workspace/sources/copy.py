"""The copy of a source's folder into a workspace.

Rules

1. Both folders are walked by descriptors, never through a link: even if entries are swapped
   meanwhile, no file outside the source is read, and no file outside the workspace is written.
2. The copy shares no writable data with the source: there are no hard links. copy_file_range lets
   the file system share blocks until one side writes to them, if it can.
3. Bytes, holes, times, links and the mode are copied, except that the owner can always read and
   write, and no file is setuid or setgid. Files with several names become several files.
4. Named pipes, sockets, devices and airunner's own files in a source are left out. Files that are
   removed meanwhile are left out too; any other file that cannot be copied raises SetupFailed.
5. Depth and number of folders are unlimited: there is no recursion, few descriptors, and no list
   of files. The copy can be stopped between two files, and between two pieces of a large file.

Rejected: a list of the errors after which copy_file_range is given up. File systems return many
(EXDEV, ENOSYS, EOPNOTSUPP, EINVAL from ecryptfs, EAGAIN from ZFS, EPERM, 0 bytes). After any of
them a plain read and write either works or raises an error with the cause.
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
from airunner.system.descent import Descent
from airunner.worker.workspace.sources.snapshot import StagedSnapshot
from airunner.worker.workspace.sources.source_names import is_reserved, printable_path
from airunner.worker.workspace.workspace import SetupFailed

PROGRESS_SECONDS: Final = 5.0  # between two progress reports, and before the first
LEFT_OUT_NAMED: Final = 10  # names of left-out entries in the report, besides their number
_PIECE_BYTES: Final = 8 * MIB
_SMALL_BYTES: Final = 64 * KIB  # smaller files are read and written without copy_file_range

_READ: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC  # blocks on no pipe
_MAKE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_SWAPPED: Final = (  # errors of an entry that was swapped for another kind after its listing
    errno.ELOOP,
    errno.ENOTDIR,
    errno.ENXIO,
    errno.EINVAL,
)
_RIGHTS: Final = 0o777
_KINDS: Final = {
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


class Stopped(Exception):
    """The copy was stopped on request."""


@dataclass(slots=True)
class CopyStats:
    """The progress of a copy."""

    files: int = 0  # files and links
    size: int = 0  # bytes
    left_out: int = 0  # entries of other kinds
    examples: list[str] = field(default_factory=list)  # the first left-out paths with their kind


@dataclass(slots=True)
class _Folder:
    """A folder on the path of the copy."""

    state: os.stat_result
    folders: list[str]  # names of the subfolders that are not copied yet


class SourceCopy:
    """One copy from an open folder into an empty open folder."""

    def __init__(
        self,
        source: int,
        target: int,
        snapshot: StagedSnapshot,
        progress: Callable[[CopyStats], None],
        stop: Event,
        *,
        pace: float = PROGRESS_SECONDS,
    ) -> None:
        """The caller closes both descriptors. Setting `stop` makes run() raise Stopped soon.

        `progress` is called in the thread of run(), every `pace` seconds.
        """
        self._pace = pace
        self._stop = stop
        self._from = Descent(source)
        self._to = Descent(target)
        self._snapshot = snapshot
        self._progress = progress
        self._progress_at = monotonic()  # the time of the last progress report
        self._stats = CopyStats()
        self._names: list[str] = []  # the current folder's path
        self._unshared: set[int] = set()  # devices on which copy_file_range has failed
        state = os.fstat(target)
        self._target = (state.st_dev, state.st_ino)

    def run(self) -> CopyStats:
        """Copies the folder. Raises SetupFailed or Stopped, and then the copy is incomplete."""
        with self._from, self._to:
            path = [self._enter()]
            while path:
                if path[-1].folders:
                    if self._down(path[-1].folders.pop()):
                        path.append(self._enter())
                    continue
                folder = path.pop()
                if path:
                    self._up(folder)
        return self._stats

    # Folders

    def _down(self, name: str) -> bool:
        """Enters a subfolder and creates its copy; returns False if the subfolder is gone."""
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
        self._snapshot.add("/".join(self._names), os.fstat(self._to.here))
        return True

    def _up(self, folder: _Folder) -> None:
        """Leaves a folder, after its copy got the folder's times and mode."""
        try:
            _copy_times_and_mode(self._to.here, folder.state, 0o700)
            self._from.up()
            self._to.up()
        except OSError as error:
            raise self._failed(error) from None
        self._names.pop()

    def _enter(self) -> _Folder:
        """Copies the files of the current folder; returns it with its subfolders to copy."""
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
                    if not prefix and is_reserved(entry.name):
                        continue
                    self._check_stop()
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
            return  # the entry was removed meanwhile
        except OSError as error:
            raise self._failed(error, entry.name) from None
        self._stats.files += 1
        self._snapshot.add(path, copy)

    def _file(self, name: str, source: int, target: int) -> os.stat_result:
        """Copies a file between two open folders; returns the state of the copy."""
        original = os.open(name, _READ, dir_fd=source)
        try:
            state = os.fstat(original)
            if not stat.S_ISREG(state.st_mode):
                raise OSError(errno.ELOOP, "")
            copy = os.open(name, _MAKE, state.st_mode & _RIGHTS | 0o600, dir_fd=target)
            try:
                self._fill(original, copy, state)
                return _copy_times_and_mode(copy, state, 0o600)
            finally:
                os.close(copy)
        finally:
            os.close(original)

    def _fill(self, original: int, copy: int, state: os.stat_result) -> None:
        """Copies a file's bytes up to the size that the file had when it was opened."""
        size = state.st_size
        if size <= _SMALL_BYTES:
            self._read_and_write(original, copy, 0, size)
            return
        sparse = state.st_blocks * 512 < size
        for begin, end in _extents(original, size) if sparse else ((0, size),):
            at = begin
            while at < end:
                self._check_stop()
                count = min(end - at, _PIECE_BYTES)
                done = self._copy_range(original, copy, at, count, state.st_dev)
                if not (done := done or self._read_and_write(original, copy, at, count)):
                    return  # the file was truncated meanwhile
                at += done
        if sparse:
            os.ftruncate(copy, size)

    def _copy_range(self, original: int, copy: int, at: int, count: int, device: int) -> int:
        """Copies a piece in the kernel; returns the number of copied bytes, 0 if it cannot."""
        if device in self._unshared:
            return 0
        try:
            done = os.copy_file_range(original, copy, count, at, at)
        except OSError:
            done = 0
        if not done:
            self._unshared.add(device)
        self._stats.size += done
        return done

    def _read_and_write(self, original: int, copy: int, at: int, count: int) -> int:
        """Copies a piece by read and write; returns the number of copied bytes."""
        done = 0
        while done < count and (data := os.pread(original, min(count - done, MIB), at + done)):
            view = memoryview(data)
            while view:
                written = os.pwrite(copy, view, at + done)
                view = view[written:]
                done += written
        self._stats.size += done
        return done

    def _leave_out(self, entry: os.DirEntry[str], path: str) -> None:
        self._stats.left_out += 1
        if len(self._stats.examples) < LEFT_OUT_NAMED:
            kind = _KINDS.get(stat.S_IFMT(entry.stat(follow_symlinks=False).st_mode), "unknown")
            self._stats.examples.append(f"{printable_path(path)} ({kind})")

    # Stop, progress and errors

    def _check_stop(self) -> None:
        """Raises Stopped if the copy must stop, and reports progress every `pace` seconds."""
        if self._stop.is_set():
            raise Stopped
        if (now := monotonic()) >= self._progress_at + self._pace:
            self._progress_at = now
            self._progress(self._stats)

    def _failed(self, error: OSError, *names: str) -> SetupFailed:
        path = printable_path("/".join([*self._names, *names]) or ".")
        swapped = error.errno in _SWAPPED
        why = "it changed while it was copied" if swapped else error.strerror
        return SetupFailed(f"cannot copy {path} from the source: {why}")


def _copy_times_and_mode(copy: int, state: os.stat_result, owner: int) -> os.stat_result:
    """Gives a copy the times and mode of its original, and the rights `owner` to its owner."""
    os.utime(copy, ns=(state.st_atime_ns, state.st_mtime_ns))
    copied = os.fstat(copy)
    mode = state.st_mode & _RIGHTS | owner
    if stat.S_IMODE(copied.st_mode) != mode:
        os.fchmod(copy, mode)
    return copied


def _extents(file: int, size: int) -> Iterator[tuple[int, int]]:
    """Yields the data extents of a sparse file as pairs of start and end offsets."""
    end = 0
    while end < size:
        try:
            begin = os.lseek(file, end, os.SEEK_DATA)
            end = min(os.lseek(file, begin, os.SEEK_HOLE), size)
        except OSError as error:
            if error.errno == errno.EINVAL:  # the file system does not report holes
                yield end, size
            return  # ENXIO: no data behind `end`
        yield begin, end


def _link(name: str, source: int, target: int) -> os.stat_result:
    """Copies a symbolic link, with its times; returns the state of the copy."""
    state = os.stat(name, dir_fd=source, follow_symlinks=False)
    os.symlink(os.readlink(name, dir_fd=source), name, dir_fd=target)
    times = (state.st_atime_ns, state.st_mtime_ns)
    os.utime(name, ns=times, dir_fd=target, follow_symlinks=False)
    return os.stat(name, dir_fd=target, follow_symlinks=False)
