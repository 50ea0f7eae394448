"""The files that a log says are kept beside it: whether they are there, and copies of them.

A server may go on meanwhile, and retention may take a job whose files are looked for. So what is
missing is looked up once more in the log: only what that still names is missed.
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

_COPY_BYTES: Final = 64 * MIB  # at once: between two of these it can be interrupted
_SHELVING: Final = (Leased, Returned, ArtifactKept, ArtifactsDropped, Forgotten)
_JOBS: Final = f"SELECT DISTINCT job FROM facts WHERE kind = {FACTS[ArtifactKept]} ORDER BY job"  # noqa: S608  # our own words
_FACTS: Final = (
    f"SELECT {FACT_COLUMNS} FROM facts WHERE job = ? "  # noqa: S608  # as above
    f"AND kind IN ({', '.join(str(FACTS[kind]) for kind in _SHELVING)}) ORDER BY place"
)


class StoredArtifact(Struct, frozen=True, gc=False):
    """An artifact that the log says is there."""

    job: JobId
    attempt: int
    artifact: Artifact

    def __str__(self) -> str:
        return f"the artifact {self.artifact.path} of job {self.job}"


@dataclass(slots=True)
class Copied:
    """What came of copying."""

    files: int = 0
    size: int = 0  # bytes of these
    lost: list[str] = field(default_factory=list)  # a sentence each


def stored_artifacts(connection: apsw.Connection) -> Iterator[StoredArtifact]:
    """Every artifact that is kept, job by job; none of a row that is damaged."""
    for (job,) in connection.execute(_JOBS):
        yield from _of_job(connection, job)


def wrong(log: Path, it: StoredArtifact, *, digest: bool = True) -> str | None:
    """What is wrong with an artifact beside the log at this path; None: nothing.

    Without `digest`, its size alone is looked at.
    """
    why = _wrong(blob_path(blobs_folder(log), it.job, it.attempt, it.artifact), it.artifact, digest)
    if why is None or not _is_kept(log, it):
        return None
    return f"{it} {why}"


def new_folder(out: Path) -> Path:
    """Where the artifacts of a new log are to be; LogRefused if something is there."""
    folder = blobs_folder(out)
    if folder.exists() or folder.is_symlink():
        raise LogRefused(
            f"{folder}, for the artifacts of {out.name}, is there already: name another file"
        )
    return folder


def copy(log: Path, wanted: Iterable[StoredArtifact], part: Path, *, digest: bool) -> Copied:
    """Copy these artifacts of the log at a path into a new folder, synced; none: no folder is made.

    Blocks are shared where the disk can. With `digest`, only what is as it was kept is copied.
    """
    done = Copied()
    for it in wanted:
        if (why := wrong(log, it, digest=digest)) is not None:
            done.lost.append(why)
            continue
        source = blob_path(blobs_folder(log), it.job, it.attempt, it.artifact)
        target = blob_path(part, it.job, it.attempt, it.artifact)
        if not source.exists():  # it went meanwhile
            continue
        target.parent.mkdir(0o700, parents=True, exist_ok=True)
        with suppress(FileNotFoundError):  # it went just now
            if not target.exists():
                _copy(source, target)
            done.files += 1
            done.size += it.artifact.size
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


def _wrong(place: Path, artifact: Artifact, digest: bool) -> str | None:
    try:
        with place.open("rb") as file:
            if (size := os.fstat(file.fileno()).st_size) != artifact.size:
                return f"has {size} bytes at {place}, and {artifact.size} were kept"
            if digest and file_digest(file, "sha256").hexdigest() != artifact.sha256:
                return f"is not what was kept: {place} has another digest"
    except FileNotFoundError:
        return f"is missing: there is no {place}"
    except OSError as error:
        return f"cannot be read at {place}: {error.strerror}"
    return None


def _is_kept(log: Path, it: StoredArtifact) -> bool:
    """Whether the log still says that it is there; of a log that cannot be read nobody knows better."""
    try:
        with closing(connect(log)) as connection:
            return it in _of_job(connection, it.job)
    except (apsw.Error, UnicodeDecodeError) as error:
        if not is_damage(error):
            raise
        return True


def _copy(source: Path, target: Path) -> None:
    """Copy a file, synced, for its owner alone; all of it, or nothing."""
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
    """Copy inside the kernel, which shares the blocks if it can; False: nothing was copied.

    Some file systems say that there is nothing to copy, instead of that they cannot.
    """
    left = os.fstat(source).st_size
    with suppress(OSError, AttributeError):  # not between these two disks, or on this platform
        while left and (done := os.copy_file_range(source, target, _COPY_BYTES)):
            left -= done
    if left:
        os.lseek(source, 0, os.SEEK_SET)
        os.lseek(target, 0, os.SEEK_SET)
        os.ftruncate(target, 0)
    return not left
