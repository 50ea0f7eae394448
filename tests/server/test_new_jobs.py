"""Checks of new jobs, which jobs of old logs need not pass."""

import pytest

from airunner.model.errors import InvalidRequest
from airunner.model.jobs import JobId, JobRequest, RequestId, Subject
from airunner.model.spec import JobSpec
from airunner.server.client_calls import ClientCalls
from tests.server.broker_fixture import served
from tests.support.loop import virtually

SPEC = JobSpec(command="true", repository="https://ghp_NOTAREALTOKEN@host/x.git")


def wish(key: str) -> JobRequest:
    return JobRequest(spec=SPEC, request=RequestId(key))


@virtually
async def test_a_new_job_has_no_token_in_its_repository_and_an_old_one_is_found_and_retried() -> (
    None
):
    async with served() as (broker, _):
        clients = ClientCalls(broker)
        old = JobId("old")
        broker.decide(broker.engine.queue.enqueue(old, wish("key"), broker.now()))
        assert (await clients.enqueue(wish("key"))).id == old
        for key in ("", "another"):
            with pytest.raises(InvalidRequest, match="repository: has a token in it"):
                await clients.enqueue(wish(key))
        found, refused = await clients.enqueue_many([wish("key"), wish("")])
        assert not isinstance(found, Exception)
        assert found.id == old
        assert isinstance(refused, InvalidRequest)
        again = await clients.retry(old, RequestId(""), Subject("ada"))
        assert (again.spec, again.retry_of) == (SPEC, old)
