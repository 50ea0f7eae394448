"""A consistent copy of a log, while a server writes the log.

SQLite's backup copies the pages of one read transaction, some at a time, so that Ctrl-C is noticed
between them. The copy is written under a temporary name, synced and then renamed, so a file of the
final name is a whole copy. Its artifacts are copied afterwards, and are renamed before the log is.

The copy becomes a file with page checksums before its first page is copied. SQLite's extension
computes the checksum of a page when the page is written to a database, not to a write-ahead log. Else
pages that were only in the write-ahead log would keep the checksums of their earlier versions.

The copy has a name of its own (names.py): the original goes on, and the copy may be served.

What was rejected: VACUUM INTO (it keeps such wrong checksums, and reads every row of every table to
write it anew); copying the two files (they change between the two copies).
"""

import os
import shutil
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Final

import apsw

from airunner.log.log import LogRefused
from airunner.log.sqlite.damage import reported_as_damage, reported_as_failure
from airunner.log.sqlite.names import NAMED_FORMAT, give_name
from airunner.log.sqlite.repair.artifacts import Copied, copy, new_folder, stored_artifacts
from airunner.log.sqlite.schema import check_version, connect, read_version
from airunner.log.sqlite.snapshot import snapshot
from airunner.log.sqlite.wal import scan, wal_of
from airunner.system.sync import sync

_STEP_PAGES: Final = 512  # 4 MiB of a log's pages


@reported_as_failure()
def backup(path: Path, out: Path, *, artifacts: bool = True, named: bool = True) -> Copied:
    """Copies the log at `path` and its artifacts to `out`, for its owner alone.

    With `named` the copy gets a name of its own, if its format has names. The result counts the copied
    artifacts, and names each artifact that is missing or has the wrong size. Raises LogRefused if
    there is no log, if a later airunner wrote it, or if `out` exists; LogDamaged; LogFailed if the copy
    cannot be written. After an error nothing is at `out`.
    """
    new(path, out)
    folder = new_folder(out)
    part = out.with_name(f".{out.name}.{os.getpid()}.part")
    files = folder.with_name(f"{part.name}-artifacts")
    with ExitStack() as made:
        made.callback(remove, part)
        made.callback(shutil.rmtree, files, ignore_errors=True)
        with snapshot(path) as source:
            version = read_version(source.connection)
            if named:  # a migration copies formats that only it knows
                check_version(path, version)
            if source.scan is not None:
                scan(wal_of(path))
            os.close(os.open(part, os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
            _copy(path, source.connection, part)
            with reported_as_damage(path, "looking for its artifacts"):
                wanted = list(stored_artifacts(source.connection)) if artifacts else []
        if named and version.format >= NAMED_FORMAT:
            _name(part)
        sync(part)
        copied = copy(path, wanted, files, digest=False)
        if copied.files:
            files.rename(folder)
        part.rename(out)
    sync(out.parent)
    return copied


def new(path: Path, out: Path) -> None:
    """Raises LogRefused if `out` exists (it may be the log itself) or has no folder."""
    if out.exists() or out.is_symlink():
        same = path.exists() and out.exists() and out.samefile(path)
        why = "is the log itself" if same else "is there already"
        raise LogRefused(f"{out} {why}: name a file that does not exist")
    if not out.parent.is_dir():
        raise LogRefused(f"there is no folder {out.parent}: create it first")


def remove(part: Path) -> None:
    """Removes an unfinished log and SQLite's files beside it."""
    for end in ("", "-journal", "-wal", "-shm"):
        part.with_name(f"{part.name}{end}").unlink(missing_ok=True)


def _copy(path: Path, source: apsw.Connection, part: Path) -> None:
    with closing(connect(part, write=True)) as first:
        first.reserve_bytes("main", source.reserve_bytes("main"))
        first.execute(f"PRAGMA page_size={source.pragma('page_size')}; CREATE TABLE none(x)")
    with closing(connect(part, write=True)) as copy:  # it has read that pages have checksums
        copy.execute("PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF")
        with reported_as_damage(path, "copying it"), copy.backup("main", source, "main") as pages:
            while not pages.done:
                pages.step(_STEP_PAGES)


def _name(part: Path) -> None:
    """Gives the copy a name of its own. The end of the connection leaves one file."""
    with closing(connect(part, write=True)) as copy, copy:
        give_name(copy)
