"""Watching a job until its end: what submit and monitor do alike.

The stream is proved as it comes: each entry begins where the last one ended, over
all reconnections, or the command fails rather than show a log with a hole.
While the job is in line, a second task asks every few seconds why, and says so
when the answer has changed.
"""

import asyncio
from contextlib import aclosing
from typing import Final

from airunner.cli.exit_codes import CommandFailed, exit_code
from airunner.cli.render.outcomes import outcome_phrase
from airunner.cli.render.views import PassThrough, Show
from airunner.model.errors import Refused
from airunner.model.job_events import JobFinished, JobLeased, JobReturned
from airunner.model.jobs import JobId, JobState, Reason
from airunner.model.units import show_count, show_size
from airunner.wire.client.follow import follow
from airunner.wire.client.jobs_client import JobsClient

EXPLAIN_FIRST_SECONDS: Final = 0.7  # a job that starts at once needs no explanation
EXPLAIN_SECONDS: Final = 3.0


async def watch(
    jobs: JobsClient, id: JobId, show: Show, *, from_sequence: int = 1, known: bool = False
) -> int:
    """Show a job's entries until it has ended; the exit code that stands for its end.

    `known`: the server has just told of the job, so that it is worth a wait for it.
    """
    in_line = asyncio.Event()
    in_line.set()
    async with asyncio.TaskGroup() as tasks:
        explaining = tasks.create_task(_explain(jobs, id, show, in_line))
        ended = await _read(jobs, id, show, from_sequence, in_line, known)
        explaining.cancel()
    if ended.state is not JobState.COMPLETED and ended.outcome.reason is not Reason.EXITED:
        told = show.told if isinstance(show, PassThrough) else ""
        show.remark(f"job {id} {outcome_phrase(ended.state, ended.outcome, told)}")
    if isinstance(show, PassThrough) and show.kept:
        files = show_count(show.kept, "artifact")
        size = show_size(show.kept_bytes)
        show.remark(f"kept {files} ({size}), which `airunner artifacts {id}` shows")
    if not ended.outcome.log_complete:
        show.remark(f"the worker could not deliver all output of job {id}")
    return exit_code(ended.state, ended.outcome)


async def count_steps(jobs: JobsClient, id: JobId) -> int | None:
    """How many steps a job has; None: it does not say so itself."""
    try:
        job, _ = await jobs.get(id)
    except Refused:
        return None  # nothing but a number is missing
    return None if job.spec.steps is None else len(job.spec.steps)


async def _read(
    jobs: JobsClient, id: JobId, show: Show, start: int, in_line: asyncio.Event, known: bool
) -> JobFinished:
    expected = start
    entries = follow(
        jobs,
        id,
        from_sequence=start,
        known=known,
        lost=lambda refusal: show.remark(f"{refusal}; trying again"),
    )
    async with aclosing(entries):
        async for entry in entries:
            if entry.first != expected and not (entry.first <= expected <= entry.last):
                raise CommandFailed(
                    f"the server sent event {entry.first} of job {id} where {expected} follows: "
                    f"try `airunner monitor {id} --from-sequence {expected}`"
                )
            expected = entry.last + 1
            if isinstance(entry.what, JobLeased):
                in_line.clear()
            elif isinstance(entry.what, JobReturned):
                in_line.set()
            await show(entry)
            if isinstance(entry.what, JobFinished):
                return entry.what
    raise CommandFailed(f"job {id} has ended, and has no events from sequence {start} on")


async def _explain(jobs: JobsClient, id: JobId, show: Show, in_line: asyncio.Event) -> None:
    said = ""
    await asyncio.sleep(EXPLAIN_FIRST_SECONDS)
    while True:
        await in_line.wait()
        try:
            _, waiting = await jobs.get(id)
        except Refused:
            waiting = None  # whoever reads the stream tells of it
        if waiting is not None and waiting.explanation != said:
            said = waiting.explanation
            show.remark(f"waiting: {said}")
        await asyncio.sleep(EXPLAIN_SECONDS)
