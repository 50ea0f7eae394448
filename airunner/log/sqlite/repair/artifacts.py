"""The artifacts beside a log: checks of their files, and copies.

A server may run meanwhile, and retention may remove a job during a check. So the log is read again
for each missing file, which is an error only if the log still names it.
"""

import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, field
from hashlib import file_digest
from pathlib import Path
from typing import Any, Final

import apsw
from msgspec import Struct

from airunner.blobs.folder import blob_path, blobs_folder, sync_folder
from airunner.log.log import LogRefused
from airunner.log.records import FACTS
from airunner.log.sqlite.damage import is_damage
from airunner.log.sqlite.rows import FACT_COLUMNS, DamagedEvent, fact_event
from airunner.log.sqlite.schema import connect
from airunner.model.artifacts import Artifact
from airunner.model.facts import ArtifactKept, ArtifactsDropped, Forgotten, Leased, Returned
from airunner.model.jobs import JobId
from airunner.model.limits import MIB

_COPY_BYTES: Final = 64 * MIB  # in one call; Ctrl-C is noticed between calls
_SHELVING: Final = (Leased, Returned, ArtifactKept, ArtifactsDropped, Forgotten)
_JOBS: Final = f"SELECT DISTINCT job FROM facts WHERE kind = {FACTS[ArtifactKept]} ORDER BY job"  # noqa: S608  # our own words
_FACTS: Final = (
    f"SELECT {FACT_COLUMNS} FROM facts WHERE job = ? "  # noqa: S608  # as above
    f"AND kind IN ({', '.join(str(FACTS[kind]) for kind in _SHELVING)}) ORDER BY place"
)


class StoredArtifact(Struct, frozen=True, gc=False):
    """An artifact that the log names."""

    job: JobId
    attempt: int
    artifact: Artifact

    def __str__(self) -> str:
        return f"the artifact {self.artifact.path} of job {self.job}"


@dataclass(slots=True)
class Copied:
    """The result of copying artifacts."""

    files: int = 0
    size: int = 0  # bytes of the files
    lost: list[str] = field(
        default_factory=list
    )  # a sentence for each artifact that was not copied


def stored_artifacts(connection: apsw.Connection) -> Iterator[StoredArtifact]:
    """Yields every stored artifact, job by job; damaged rows are left out."""
    for (job,) in connection.execute(_JOBS):
        yield from _of_job(connection, job)


def find_fault(log: Path, stored: StoredArtifact, *, digest: bool = True) -> str | None:
    """The fault of an artifact beside the log at this path, in a sentence; None: it has none.

    Without `digest` only the size is checked.
    """
    fault = _fault(_path(blobs_folder(log), stored), stored.artifact, digest)
    if fault is None or not _is_named(log, stored):
        return None
    return f"{stored} {fault}"


def new_folder(out: Path) -> Path:
    """The folder for the artifacts of a new log. Raises LogRefused if it exists."""
    folder = blobs_folder(out)
    if folder.exists() or folder.is_symlink():
        raise LogRefused(
            f"{folder}, for the artifacts of {out.name}, is there already: name another file"
        )
    return folder


def copy(log: Path, wanted: Iterable[StoredArtifact], part: Path, *, digest: bool) -> Copied:
    """Copies these artifacts of the log at a path into a new folder, synced; without any, no folder.

    The copies share blocks if the file system can. With `digest` a file with a wrong digest is not
    copied.
    """
    done = Copied()
    for stored in wanted:
        if (fault := find_fault(log, stored, digest=digest)) is not None:
            done.lost.append(fault)
            continue
        source, target = _path(blobs_folder(log), stored), _path(part, stored)
        if not source.exists():  # retention has removed it meanwhile
            continue
        target.parent.mkdir(0o700, parents=True, exist_ok=True)
        with suppress(FileNotFoundError):  # retention has removed it just now
            if not target.exists():
                _copy(source, target)
            done.files += 1
            done.size += stored.artifact.size
    if part.exists():
        for folder in (part, *(each for each in part.rglob("*") if each.is_dir())):
            folder.chmod(0o700)
            sync_folder(folder)
    return done


def _of_job(connection: apsw.Connection, job: Any) -> Iterator[StoredArtifact]:  # Any: of a row
    rows: Any = connection.execute(_FACTS, (job,))  # Any: rows of facts
    kept: dict[str, StoredArtifact] = {}
    for row in rows:
        try:
            fact = fact_event(row).fact
        except DamagedEvent:
            continue
        if isinstance(fact, ArtifactKept):
            kept[fact.artifact.path] = StoredArtifact(fact.id, fact.attempt, fact.artifact)
        else:
            kept.clear()
    yield from kept.values()


def _path(folder: Path, stored: StoredArtifact) -> Path:
    return blob_path(folder, stored.job, stored.attempt, stored.artifact)


def _fault(path: Path, artifact: Artifact, digest: bool) -> str | None:
    try:
        with path.open("rb") as file:
            if (size := os.fstat(file.fileno()).st_size) != artifact.size:
                return f"has {size} bytes at {path} instead of {artifact.size}"
            if digest and file_digest(file, "sha256").hexdigest() != artifact.sha256:
                return f"has changed: {path} has another digest"
    except FileNotFoundError:
        return f"is missing: there is no {path}"
    except OSError as error:
        return f"cannot be read at {path}: {error.strerror}"
    return None


def _is_named(log: Path, stored: StoredArtifact) -> bool:
    """True if the log still names the artifact, or cannot be read."""
    try:
        with closing(connect(log)) as connection:
            return stored in _of_job(connection, stored.job)
    except (apsw.Error, UnicodeDecodeError) as error:
        if not is_damage(error):
            raise
        return True


def _copy(source: Path, target: Path) -> None:
    """Copies a file, synced, for its owner alone, all or nothing."""
    with source.open("rb") as old:
        made = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            with os.fdopen(made, "wb") as new:
                if not _shared(old.fileno(), made):
                    shutil.copyfileobj(old, new)
                    new.flush()
                os.fsync(made)
        except BaseException:
            target.unlink(missing_ok=True)
            raise


def _shared(source: int, target: int) -> bool:
    """Copies a file inside the kernel, which shares blocks if it can; False: nothing was copied.

    Some file systems return 0 bytes instead of an error if they cannot copy.
    """
    left = os.fstat(source).st_size
    with suppress(OSError, AttributeError):  # no such copy between these disks or on this platform
        while left and (done := os.copy_file_range(source, target, _COPY_BYTES)):
            left -= done
    if left:
        os.lseek(source, 0, os.SEEK_SET)
        os.lseek(target, 0, os.SEEK_SET)
        os.ftruncate(target, 0)
    return not left
