"""Replay of the golden log by the core: every job, its events and its artifacts."""

from collections.abc import Sequence
from contextlib import aclosing
from pathlib import Path

from airunner.log.sqlite.log import SqliteLog
from airunner.model.artifacts import Artifact
from airunner.model.facts import ArtifactKept, Event, Leased, Returned
from airunner.model.job_events import job_event
from airunner.model.jobs import Job, JobId, JobRequest
from airunner.server.replay import replay
from airunner.store.engine import Engine
from airunner.store.retention import ON_DISK
from tests.golden.data import Json, job_facts, plain, stream_facts


async def replayed(path: Path) -> dict[str, Json]:
    """The state after a replay, and the events that the log has of each job."""
    log, engine = SqliteLog.open(path), Engine(ON_DISK)
    try:
        await replay(log, engine)
        jobs = {}
        for job in engine.table.jobs():
            async with aclosing(log.read(job.id)) as read:
                events = [event async for event in read]
            jobs[job.id] = {
                "job": job_facts(job),
                "stream": stream_facts(filter(None, map(job_event, events))),
                "artifacts": _artifacts(job, events),
            }
        return {"place": engine.tail, "now": engine.now, "jobs": jobs}
    finally:
        await log.close()


async def requests(path: Path) -> dict[JobId, JobId | None]:
    """The job that each job's request id stands for, if its submitter says it again."""
    log, engine = SqliteLog.open(path), Engine(ON_DISK)
    try:
        await replay(log, engine)
        jobs = [job for job in engine.table.jobs() if job.request]
        return {
            job.id: None if (known := engine.table.requested(asked(job))) is None else known.id
            for job in jobs
        }
    finally:
        await log.close()


def asked(job: Job) -> JobRequest:
    """The request that a job came from."""
    return JobRequest(
        spec=job.spec, request=job.request, submitter=job.submitter, retry_of=job.retry_of
    )


def _artifacts(job: Job, events: Sequence[Event]) -> list[Json]:
    left: dict[str, Artifact] = {}
    for event in events:
        match event.fact:
            case Leased() | Returned():
                left.clear()
            case ArtifactKept(artifact=artifact):
                left[artifact.path] = artifact
    return [plain(left[path]) for path in sorted(left)] if job.artifacts else []
