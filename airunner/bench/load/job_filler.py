"""Fills a queue with many jobs from one client."""

from time import perf_counter
from typing import Final

from airunner.model.errors import Refused
from airunner.model.jobs import JobId, RequestId
from airunner.model.limits import ENQUEUE_JOBS_MAX
from airunner.model.spec import JobSpec
from airunner.wire.client.jobs_client import JobsClient

NO_KEY: Final = RequestId("")
# Options of `airunner server` that keep limits and retention out of a measurement.
UNLIMITED: Final = (
    *("--jobs-max", "1000000000", "--finished-max", "1000000000"),
    *("--output-total", "1TiB"),
)


async def fill(
    client: JobsClient, spec: JobSpec, count: int, times: list[float] | None = None
) -> JobId:
    """Enqueues `count` jobs (at least one), ENQUEUE_JOBS_MAX in a call; returns the last job's id.

    Appends the seconds of each call to `times`. Raises Refused if the server refuses a job.
    """
    while True:
        size = min(count, ENQUEUE_JOBS_MAX)
        start = perf_counter()
        last = (await client.enqueue_many([(spec, NO_KEY)] * size))[-1]
        if times is not None:
            times.append(perf_counter() - start)
        if isinstance(last, Refused):
            raise last
        count -= size
        if not count:
            return last.id
