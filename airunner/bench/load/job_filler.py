"""Many jobs in line, put there by one client."""

from time import perf_counter
from typing import Final

from airunner.model.errors import Refused
from airunner.model.jobs import JobId, RequestId
from airunner.model.limits import ENQUEUE_JOBS_MAX
from airunner.model.spec import JobSpec
from airunner.wire.client.jobs_client import JobsClient

NO_KEY: Final = RequestId("")
# Of `airunner server`, so that neither a limit nor retention has a part in what is measured.
UNLIMITED: Final = (
    *("--jobs-max", "1000000000", "--finished-max", "1000000000"),
    *("--output-total", "1TiB"),
)


async def fill(
    client: JobsClient, spec: JobSpec, count: int, times: list[float] | None = None
) -> JobId:
    """Put so many jobs in line, at least one, as many in a call as there may be; the last one's id.

    The seconds that each call took are added to `times`. Raises what the server refuses.
    """
    while True:
        some = min(count, ENQUEUE_JOBS_MAX)
        start = perf_counter()
        last = (await client.enqueue_many([(spec, NO_KEY)] * some))[-1]
        if times is not None:
            times.append(perf_counter() - start)
        if isinstance(last, Refused):
            raise last
        count -= some
        if not count:
            return last.id
