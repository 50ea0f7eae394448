"""Watches a job until its end, for submit, monitor, retry and logs.

The stream is checked for gaps, over all reconnections: each event must begin where the previous
event ended, otherwise the command fails. While the job is in line, a second task asks every few
seconds why the job waits, and prints a remark if the reason has changed.
"""

import asyncio
from contextlib import aclosing
from typing import Final

from airunner.cli.exit_codes import CommandFailed, exit_code
from airunner.cli.render.outcomes import outcome_phrase
from airunner.cli.render.views import JobView, PassThrough
from airunner.model.errors import Refused
from airunner.model.job_events import JobFinished, JobLeased, JobReturned
from airunner.model.jobs import JobId, JobState, Reason
from airunner.model.units import show_count, show_size
from airunner.wire.client.follow import follow
from airunner.wire.client.jobs_client import JobsClient

EXPLAIN_FIRST_SECONDS: Final = 0.7  # a job that starts at once needs no explanation
EXPLAIN_SECONDS: Final = 3.0


async def watch(
    jobs: JobsClient, id: JobId, view: JobView, *, from_sequence: int = 1, known: bool = False
) -> int:
    """Shows the events of a job until its end, and returns the exit code for its outcome.

    `known`: the server has just answered about the job, so a connection that breaks is retried from
    the first attempt on.
    """
    in_line = asyncio.Event()
    in_line.set()
    async with asyncio.TaskGroup() as tasks:
        explaining = tasks.create_task(_explain(jobs, id, view, in_line))
        ended = await _read(jobs, id, view, from_sequence, in_line, known)
        explaining.cancel()
    if ended.state is not JobState.COMPLETED and ended.outcome.reason is not Reason.EXITED:
        last_error = view.last_error if isinstance(view, PassThrough) else ""
        view.remark(f"job {id} {outcome_phrase(ended.state, ended.outcome, last_error)}")
    if isinstance(view, PassThrough) and view.artifacts:
        files = show_count(view.artifacts, "artifact")
        size = show_size(view.artifact_bytes)
        view.remark(f"kept {files} ({size}): `airunner artifacts {id}` lists them")
    if not ended.outcome.log_complete:
        view.remark(f"the worker could not deliver all output of job {id}")
    return exit_code(ended.state, ended.outcome)


async def count_steps(jobs: JobsClient, id: JobId) -> int | None:
    """The number of steps of a job; None if its source brings them, or the server refuses."""
    try:
        job, _ = await jobs.get(id)
    except Refused:
        return None  # remarks do without the number
    return None if job.spec.steps is None else len(job.spec.steps)


async def _read(
    jobs: JobsClient, id: JobId, view: JobView, start: int, in_line: asyncio.Event, known: bool
) -> JobFinished:
    expected = start
    events = follow(
        jobs,
        id,
        from_sequence=start,
        known=known,
        lost=lambda refusal: view.remark(f"{refusal}; trying again"),
    )
    async with aclosing(events):
        async for event in events:
            if event.first != expected and not (event.first <= expected <= event.last):
                raise CommandFailed(
                    f"the server sent event {event.first} of job {id} instead of event {expected}: "
                    f"try `airunner monitor {id} --from-sequence {expected}`"
                )
            expected = event.last + 1
            if isinstance(event.body, JobLeased):
                in_line.clear()
            elif isinstance(event.body, JobReturned):
                in_line.set()
            await view.show(event)
            if isinstance(event.body, JobFinished):
                return event.body
    raise CommandFailed(f"job {id} has ended, and has no events from sequence {start} on")


async def _explain(jobs: JobsClient, id: JobId, view: JobView, in_line: asyncio.Event) -> None:
    explained = ""
    await asyncio.sleep(EXPLAIN_FIRST_SECONDS)
    while True:
        await in_line.wait()
        try:
            _, waiting = await jobs.get(id)
        except Refused:
            waiting = None  # _read() reports the lost connection
        if waiting is not None and waiting.explanation != explained:
            explained = waiting.explanation
            view.remark(f"waiting: {explained}")
        await asyncio.sleep(EXPLAIN_SECONDS)
