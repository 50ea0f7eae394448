"""Lists of jobs that would be too large for one answer if no job was shortened."""

import asyncio
import json

from airunner.model.job_query import JobQuery
from airunner.model.jobs import JobId, RequestId
from airunner.model.limits import ARGS_BYTES_MAX, MESSAGE_BYTES_MAX
from airunner.model.spec import JobSpec
from airunner.wire.client.endpoint import Endpoint
from airunner.wire.client.jobs_client import EnqueuedJob, JobsClient
from tests.support.installation import Site

JOBS = 150  # of 120 KB each: more than an answer holds
BATCH = 50


async def submit_large(it: Site) -> list[JobId]:
    assert JOBS * ARGS_BYTES_MAX > MESSAGE_BYTES_MAX
    spec = JobSpec(command="true", args=("y" * 1000,) * 120, queue="later")
    ids: list[JobId] = []
    endpoint = Endpoint(server=it.address, ca_cert=it.certs / "ca.pem")
    async with JobsClient(endpoint) as jobs:
        while len(ids) < JOBS:
            answers = await jobs.enqueue_many([(spec, RequestId(""))] * BATCH)
            ids += [each.id for each in answers if isinstance(each, EnqueuedJob)]
        page = await jobs.list(JobQuery(page_size=1000))
        assert len(page.jobs) == JOBS
    return ids


def test_a_list_of_large_jobs_works(own: Site) -> None:
    ids = asyncio.run(submit_large(own))
    for words in ([], ["--page-size", "1000"], ["--limit", str(JOBS)]):
        done = own.run("list", "--json", *words)
        assert done.returncode == 0, done.stderr
        assert [json.loads(line)["id"] for line in done.stdout.splitlines()] == ids[::-1]
    for limit in (1, 7):
        done = own.run("list", "--json", "--limit", str(limit))
        assert [json.loads(line)["id"] for line in done.stdout.splitlines()] == ids[
            : -limit - 1 : -1
        ]
