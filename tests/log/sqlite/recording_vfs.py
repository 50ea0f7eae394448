"""A file layer that writes down everything that SQLite does to its files, in order.

It stands between SQLite and the operating system. SQLite's page checksums are a layer of
their own, which takes whichever layer is the default at the moment when it is loaded as the one
beneath it. beneath_checksums() therefore makes this one the default, loads the checksums anew,
and puts everything back afterwards.

The shared memory of a write-ahead log is not a file that a crash leaves anything of, and
passes by here.
"""

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import apsw
import apsw.sqlite_extra

_SYSTEM: Final = "unix"
_CHECKSUMS: Final = "cksmvfs"
_numbers: Final = itertools.count(1)


@dataclass(frozen=True, slots=True)
class Made:
    """A new file has this name; `data` is what somebody else had put there already."""

    file: int  # 1, 2, 3 ...: never a second time, also for the same name
    name: str
    data: bytes = b""


@dataclass(frozen=True, slots=True)
class Wrote:
    file: int
    offset: int  # bytes
    data: bytes


@dataclass(frozen=True, slots=True)
class Cut:
    """The file ends here."""

    file: int
    size: int  # bytes


@dataclass(frozen=True, slots=True)
class Synced:
    """What was done to the file so far outlives a power cut, and so do all names."""

    file: int


@dataclass(frozen=True, slots=True)
class Gone:
    """The name is of no file any more."""

    file: int
    name: str


@dataclass(frozen=True, slots=True)
class Answered:
    """Whoever asked was told that all is durable up to this place of the log."""

    place: int


Done = Made | Wrote | Cut | Synced | Gone | Answered


class Recording(apsw.VFS):
    """Passes everything on, and keeps a journal of what was done to the files of a folder.

    What it finds in the folder has been synced by whoever put it there.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.journal: list[Done] = []
        self.name = f"recording {next(_numbers)}"
        self._files: dict[str, int] = {}
        self._made = itertools.count(1)
        super().__init__(self.name, _SYSTEM)
        for path in sorted(folder.iterdir()):
            self._note_found(path.name, path.read_bytes())
        self.found = len(self.journal)  # steps that are no part of what was done

    def xOpen(  # noqa: N802 - SQLite's name
        self, name: str | apsw.URIFilename | None, flags: list[int]
    ) -> apsw.VFSFile:
        path = name.filename() if isinstance(name, apsw.URIFilename) else name
        if path is None or Path(path).parent != self.folder:
            return apsw.VFSFile(_SYSTEM, name, flags)
        found = Path(path).read_bytes() if Path(path).exists() else None
        opened = self.file(Path(path).name, name, flags)
        if opened.name not in self._files and Path(path).exists():
            self._note_found(opened.name, found or b"")
        return opened

    def xDelete(self, filename: str, syncdir: bool) -> None:  # noqa: N802 - SQLite's name
        super().xDelete(filename, syncdir)
        file = self._files.pop(Path(filename).name, None)
        if file is not None:
            self.journal.append(Gone(file, Path(filename).name))

    def file(
        self, name: str, path: str | apsw.URIFilename | None, flags: list[int]
    ) -> "RecordedFile":
        """One that is being opened; another kind of recording opens another kind of file."""
        return RecordedFile(self, name, path, flags)

    def _note_found(self, name: str, data: bytes) -> None:
        self._files[name] = next(self._made)
        self.journal.append(Made(self._files[name], name, data))
        if data:
            self.journal.append(Synced(self._files[name]))

    def number(self, name: str) -> int:
        """Of the file that has this name now."""
        return self._files[name]

    def answered(self, place: int) -> None:
        """Note that an answer has gone out."""
        self.journal.append(Answered(place))


class RecordedFile(apsw.VFSFile):
    """One open file of a recording."""

    def __init__(
        self,
        recording: Recording,
        name: str,
        path: str | apsw.URIFilename | None,
        flags: list[int],
    ) -> None:
        self.recording, self.name = recording, name
        super().__init__(_SYSTEM, path, flags)

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802 - SQLite's name
        super().xWrite(data, offset)
        self._note(Wrote(self._number, offset, bytes(data)))

    def xTruncate(self, newsize: int) -> None:  # noqa: N802 - SQLite's name
        super().xTruncate(newsize)
        self._note(Cut(self._number, newsize))

    def xSync(self, flags: int) -> None:  # noqa: N802 - SQLite's name
        super().xSync(flags)
        self._note(Synced(self._number))

    @property
    def _number(self) -> int:
        return self.recording.number(self.name)

    def _note(self, done: Done) -> None:
        self.recording.journal.append(done)


class Forgetful(Recording):
    """A disk that says it has synced, and has not."""

    def file(
        self, name: str, path: str | apsw.URIFilename | None, flags: list[int]
    ) -> RecordedFile:
        return _UnsyncedFile(self, name, path, flags)


class _UnsyncedFile(RecordedFile):
    def xSync(self, flags: int) -> None:  # noqa: N802 - SQLite's name
        pass


class Narrow(Recording):
    """A disk that has room for so many writes more."""

    room = 1_000_000

    def file(
        self, name: str, path: str | apsw.URIFilename | None, flags: list[int]
    ) -> RecordedFile:
        return _NarrowFile(self, name, path, flags)


class _NarrowFile(RecordedFile):
    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802 - SQLite's name
        disk = self.recording
        assert isinstance(disk, Narrow)
        if not disk.room:
            raise apsw.FullError("no room")
        disk.room -= 1
        super().xWrite(data, offset)

    def excepthook(self, *_: object) -> bool:
        """Say nothing: SQLite knows what to do about a full disk."""
        return True


@contextmanager
def beneath_checksums(recording: Recording) -> Iterator[None]:
    """All logs that are opened within write through the recording; one at a time."""
    _load_checksums_over(recording.name)
    try:
        yield
    finally:
        _load_checksums_over(_SYSTEM)
        recording.unregister()


def _load_checksums_over(name: str) -> None:
    if _CHECKSUMS in apsw.vfs_names():
        apsw.unregister_vfs(_CHECKSUMS)
    apsw.set_default_vfs(name)
    with apsw.Connection(":memory:", vfs=_SYSTEM) as connection:
        apsw.sqlite_extra.load(connection, "cksumvfs")
    connection.close()
