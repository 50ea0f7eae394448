"""Who has a job when a call is cancelled while the job is written."""

import asyncio
from collections.abc import Awaitable, Callable

import grpc
import pytest

from airunner.model.jobs import Instant, Job, JobId, Position, TaskToken
from airunner.model.spec import JobSpec
from airunner.server.grpc.delivery import deliver_first
from airunner.server.workers.leased_job import LeasedJob

JOB = Job(
    id=JobId("1"),
    spec=JobSpec(command="make"),
    place=Position(1),
    created_at=Instant(1),
    updated_at=Instant(1),
)


def delivered(write: Callable[[LeasedJob], Awaitable[None]]) -> list[LeasedJob]:
    """What is left of one job after it was written like this, by a call that is cancelled."""
    undelivered = [LeasedJob(JOB, TaskToken("secret"))]

    async def main() -> None:
        with pytest.raises(asyncio.CancelledError):
            await asyncio.create_task(deliver_first(undelivered, write), name="call")

    asyncio.run(main())
    return undelivered


def cancel_call() -> None:
    (call,) = (each for each in asyncio.all_tasks() if each.get_name() == "call")
    call.cancel()


def test_a_job_that_was_written_is_its_callers_who_may_cancel_at_once() -> None:
    async def write(granted: LeasedJob) -> None:
        cancel_call()

    assert not delivered(write)


def test_a_job_that_was_not_yet_written_stays_with_the_server() -> None:
    async def write(granted: LeasedJob) -> None:
        cancel_call()
        await asyncio.Event().wait()

    assert delivered(write)


def test_a_job_for_a_caller_who_is_gone_stays_with_the_server() -> None:
    undelivered = [LeasedJob(JOB, TaskToken("secret"))]

    async def write(granted: LeasedJob) -> None:
        raise grpc.aio.BaseError

    assert not asyncio.run(deliver_first(undelivered, write))
    assert undelivered
