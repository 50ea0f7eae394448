"""Many jobs in line, put there by one client."""

from typing import Final

from airunner.errors import Refused
from airunner.jobs import JobId, RequestId
from airunner.limits import ENQUEUE_JOBS_MAX
from airunner.spec import JobSpec
from airunner.wire.client import JobsClient

NO_KEY: Final = RequestId("")
# Of `airunner server`, so that neither a limit nor retention has a part in what is measured.
UNLIMITED: Final = (
    *("--jobs-max", "1000000000", "--finished-max", "1000000000"),
    *("--output-total", "1TiB"),
)


async def fill(client: JobsClient, spec: JobSpec, count: int) -> JobId:
    """Put so many jobs in line, at least one, as many in a call as there may be; the last one's id.

    Raises what the server refuses.
    """
    while True:
        some = min(count, ENQUEUE_JOBS_MAX)
        last = (await client.enqueue_many([(spec, NO_KEY)] * some))[-1]
        if isinstance(last, Refused):
            raise last
        count -= some
        if not count:
            return last.id
