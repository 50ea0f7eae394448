"""Which finished jobs and artifacts retention removes to make room."""

from collections.abc import Container, Iterable, Iterator, Sequence

from airunner.model.errors import InvalidRequest, LimitReached
from airunner.model.facts import ArtifactsDropped, Forgotten, JobFact
from airunner.model.jobs import Instant, JobId, Outcome, TokenDigest
from airunner.model.limits import ARTIFACTS_MAX
from airunner.model.spec import JobSpec
from airunner.model.units import show_size
from airunner.store.retention import Retention
from airunner.store.table import Table


def evictable(
    ended: Iterable[tuple[Instant, JobId]],
    keep: Retention,
    now: Instant,
    watched: Container[JobId],
) -> Iterator[JobId]:
    """The finished jobs that may be evicted, from the earliest end on."""
    for ended_at, id in ended:
        if ended_at + keep.spared > now:
            return
        if id not in watched:
            yield id


def make_job_room(
    table: Table, keep: Retention, spec: JobSpec, now: Instant, watched: Container[JobId]
) -> Sequence[JobFact]:
    """Evicts the jobs that stand in the way of one more. Raises LimitReached."""
    size, crowded = spec.spec_bytes, len(table) >= keep.jobs_max
    if not size and not crowded:
        return ()
    facts: list[JobFact] = []
    missing = table.bulk_bytes + size - keep.spec_bytes_max if size else 0
    first: JobId | None = None
    if crowded:
        first = next(evictable(table.finished, keep, now, watched), None)
        if first is None:
            raise LimitReached(
                f"the server holds JOBS_MAX ({keep.jobs_max}) jobs, and none has been "
                f"finished for longer than {keep.spared // 1000} s: try again later"
            )
        facts.append(Forgotten(first))
        missing -= table.job(first).bulk_bytes
    others = _bulky(table, keep, missing, now, watched, spare=first)
    if others is not None:
        return (*facts, *others)
    raise LimitReached(
        f"the scripts and other texts of all jobs would take more than JOBS_SPEC_BYTES_MAX "
        f"({keep.spec_bytes_max} bytes), and too few of them are of jobs that have been finished "
        f"for {keep.spared // 1000} s: try again later"
    )


def make_outcome_room(
    table: Table, keep: Retention, outcome: Outcome, now: Instant, watched: Container[JobId]
) -> Sequence[JobFact] | None:
    """Evicts the jobs that stand in the way of an outcome's results of steps. None: there is no room."""
    size = outcome.steps_bytes
    missing = table.bulk_bytes + size - keep.spec_bytes_max if size else 0
    return _bulky(table, keep, missing, now, watched)


def _bulky(  # every input of the decision
    table: Table,
    keep: Retention,
    missing: int,
    now: Instant,
    watched: Container[JobId],
    spare: JobId | None = None,
) -> list[Forgotten] | None:
    """Evicts large jobs until `missing` bytes are free; None if too few may go."""
    facts: list[Forgotten] = []
    for old in evictable(table.bulky, keep, now, watched) if missing > 0 else ():
        if old != spare:
            facts.append(Forgotten(old))
            missing -= table.job(old).bulk_bytes
            if missing <= 0:
                break
    return facts if missing <= 0 else None


def make_artifact_room(  # every input of the decision
    table: Table,
    keep: Retention,
    token: TokenDigest,
    size: int,
    now: Instant,
    watched: Container[JobId],
) -> Sequence[JobFact]:
    """Evicts the artifacts that stand in the way of one more, of `size` bytes.

    Raises StaleLease, InvalidRequest past the limits of one job, LimitReached if eviction cannot make
    enough room.
    """
    job = table.held_by(token)
    if job.artifacts >= ARTIFACTS_MAX:
        raise InvalidRequest(
            "artifact", f"the job has ARTIFACTS_MAX ({ARTIFACTS_MAX}) artifacts already"
        )
    if job.artifacts_void + job.artifacts >= keep.artifacts_per_job:
        raise InvalidRequest(
            "artifact",
            f"the attempts of the job have ARTIFACTS_PER_JOB_MAX ({keep.artifacts_per_job}) "
            "artifacts already",
        )
    if job.artifact_bytes + size > keep.artifact_bytes_per_job:
        raise InvalidRequest(
            "artifact",
            f"the job's artifacts would take more than the {show_size(keep.artifact_bytes_per_job)} "
            "that this server keeps of one job (its --artifacts-per-job)",
        )
    missing = table.artifact_bytes + size - keep.artifact_bytes_total
    facts: list[JobFact] = []
    for old in evictable(table.artifact_owners, keep, now, watched):
        if missing <= 0:
            break
        facts.append(ArtifactsDropped(old))
        missing -= table.job(old).artifact_bytes
    if missing > 0:
        raise LimitReached(
            f"the server keeps {show_size(keep.artifact_bytes_total)} of artifacts (its "
            "--artifacts-total), and too few of them are of jobs that have been finished for "
            f"{keep.spared // 1000} s: try again later"
        )
    return facts
