"""Watching a job, or all jobs, across lost connections.

A watcher of a job knows the last sequence that it has seen, and one of all jobs the last place
in the server's log. When its connection breaks, or the server goes away for a while, it asks
again from the next one: nothing is missed and nothing comes twice, however often that happens.
"""

from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import aclosing

from airunner.model.errors import DataLoss, Refused
from airunner.model.job_events import JobEvent, JobFinished
from airunner.model.jobs import JobId, Position
from airunner.wire.client.jobs_client import EventBatch, JobsClient
from airunner.wire.client.retries import AWAY_SECONDS_MAX, RETRYABLE, RetryPolicy


async def follow(
    jobs: JobsClient,
    id: JobId,
    *,
    from_sequence: int = 1,
    kinds: Iterable[str] = (),
    lost: Callable[[Refused], None] = lambda refusal: None,
    stop_at_tail: bool = False,
    known: bool = False,
    patience: float = AWAY_SECONDS_MAX,
) -> AsyncGenerator[JobEvent, None]:
    """A job's stream until the job has ended, however often the server goes away.

    With `stop_at_tail`, only what is there already. `lost` is told once each time that the
    server goes away. Raises what no further try can mend, and Unreachable if the server stays
    away for longer than `patience` seconds or the very first connection fails; that one may
    fail as well if the job is `known` to be there. A token that ran out is read again from its
    file, once for each time that it has worked.
    """
    kinds, tries = tuple(kinds), RetryPolicy(jobs, lost=lost, known=known, patience=patience)
    while True:
        tries.start_try()
        stream = jobs.watch(id, from_sequence=from_sequence, stop_at_tail=stop_at_tail, kinds=kinds)
        try:
            async with aclosing(stream) as entries:
                async for entry in entries:
                    from_sequence = entry.last + 1
                    tries.reset()
                    yield entry
                    if isinstance(entry.body, JobFinished):
                        return
            return
        except RETRYABLE as refusal:
            await tries.wait_before_retry(refusal)


async def follow_all(
    jobs: JobsClient,
    *,
    queue: str = "",
    kinds: Iterable[str] = (),
    lost: Callable[[Refused], None] = lambda refusal: None,
    patience: float = AWAY_SECONDS_MAX,
) -> AsyncGenerator[EventBatch, None]:
    """What happens to all jobs from now on, or to those of a queue; for ever.

    `lost`, `patience` and what is raised are as for follow(). Where the server cannot go on from
    the last place, because its log has lost it or is another one, `lost` is told of the
    DataLoss, and what is heard `begins` anew from then on. What that was is not known.
    """
    kinds, tries = tuple(kinds), RetryPolicy(jobs, lost=lost, patience=patience)
    place: Position | None = None
    log = ""
    while True:
        tries.start_try()
        try:
            stream = jobs.watch_all(after=place, log=log, queue=queue, kinds=kinds)
            async with aclosing(stream) as told:
                async for heard in told:
                    place, log = heard.place, heard.log
                    tries.reset()
                    yield heard
        except RETRYABLE as refusal:
            await tries.wait_before_retry(refusal)
        except DataLoss as refusal:
            if place is None:
                raise
            place, log = None, ""
            lost(refusal)
