"""Room for what is kept, and whose it was before: retention's rules of making some."""

from collections.abc import Container, Iterable, Iterator, Sequence

from airunner.errors import InvalidRequest, LimitReached
from airunner.facts import ArtifactsDropped, Fact
from airunner.jobs import Instant, JobId, TokenDigest
from airunner.limits import ARTIFACTS_MAX
from airunner.retention import Retention
from airunner.store.table import Table


def sparable(
    ended: Iterable[tuple[Instant, JobId]],
    keep: Retention,
    now: Instant,
    watched: Container[JobId],
) -> Iterator[JobId]:
    """Which of these jobs may lose something to make room, the one that ended first to begin with."""
    for ended_at, id in ended:
        if ended_at + keep.spared > now:
            return
        if id not in watched:
            yield id


def shelf_room(  # all that it is decided by
    table: Table,
    keep: Retention,
    token: TokenDigest,
    size: int,
    now: Instant,
    watched: Container[JobId],
) -> Sequence[Fact]:
    """What has to go so that the attempt may leave one more artifact, of `size` bytes.

    Raises StaleLease, InvalidRequest if it would be too much of one job, or LimitReached if there
    is no room that way.
    """
    job = table.held_by(token)
    if job.artifacts >= ARTIFACTS_MAX:
        raise InvalidRequest(
            "artifact", f"the job has ARTIFACTS_MAX ({ARTIFACTS_MAX}) artifacts already"
        )
    if job.artifact_bytes + size > keep.artifact_bytes_per_job:
        raise InvalidRequest(
            "artifact",
            f"the job's artifacts would take {job.artifact_bytes + size} bytes, and this server "
            f"keeps {keep.artifact_bytes_per_job} bytes of one job",
        )
    missing = table.artifact_bytes + size - keep.artifact_bytes_total
    facts: list[Fact] = []
    for old in sparable(table.shelves, keep, now, watched):
        if missing <= 0:
            break
        facts.append(ArtifactsDropped(old))
        missing -= table.job(old).artifact_bytes
    if missing > 0:
        raise LimitReached(
            f"the server keeps {keep.artifact_bytes_total} bytes of artifacts, and too few of them "
            f"are of jobs that have been finished for {keep.spared // 1000} s: try again later"
        )
    return facts
