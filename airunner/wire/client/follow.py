"""Followers: watch the events of a job, or of all jobs, across lost connections.

A follower of a job remembers the last sequence, a follower of all jobs the last position in the
server's log. After a lost connection or a restart of the server it resumes after that, so it
misses no event and sees none twice.
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
    """Yield the events of a job until the job has ended, across lost connections.

    With `stop_at_tail`, ends after the events that are stored already. Calls `lost` each time
    that the connection is lost. Raises refusals that a retry cannot repair; and Unreachable if
    the server is unavailable for longer than `patience` seconds or at the first connection,
    unless the job is `known` to exist. An expired token is read again from its file, once after
    each success.
    """
    kinds, policy = tuple(kinds), RetryPolicy(jobs, lost=lost, known=known, patience=patience)
    while True:
        policy.start_try()
        stream = jobs.watch(id, from_sequence=from_sequence, stop_at_tail=stop_at_tail, kinds=kinds)
        try:
            async with aclosing(stream) as events:
                async for event in events:
                    from_sequence = event.last + 1
                    policy.reset()
                    yield event
                    if isinstance(event.body, JobFinished):
                        return
            return
        except RETRYABLE as refusal:
            await policy.wait_before_retry(refusal)


async def follow_all(
    jobs: JobsClient,
    *,
    queue: str = "",
    kinds: Iterable[str] = (),
    lost: Callable[[Refused], None] = lambda refusal: None,
    patience: float = AWAY_SECONDS_MAX,
) -> AsyncGenerator[EventBatch, None]:
    """Yield the events of all jobs, or of a queue's jobs, from now on; never ends.

    `lost`, `patience` and the errors are those of follow(). If the server cannot resume after
    the last position, because its log has lost it or is a different log, `lost` is called with
    the DataLoss, and the next batch is marked `restarted`. The events in between are unknown.
    """
    kinds, policy = tuple(kinds), RetryPolicy(jobs, lost=lost, patience=patience)
    position: Position | None = None
    log = ""
    while True:
        policy.start_try()
        try:
            stream = jobs.watch_all(after=position, log=log, queue=queue, kinds=kinds)
            async with aclosing(stream) as batches:
                async for batch in batches:
                    position, log = batch.position, batch.log
                    policy.reset()
                    yield batch
        except RETRYABLE as refusal:
            await policy.wait_before_retry(refusal)
        except DataLoss as refusal:
            if position is None:
                raise
            position, log = None, ""
            lost(refusal)
