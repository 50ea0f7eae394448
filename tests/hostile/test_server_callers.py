"""Callers with a token whose requests are made to hold the server: a bystander waits for none."""

import asyncio
from itertools import count

import grpc
import pytest

from airunner.model.job_query import JobQuery
from airunner.model.limits import QUEUES_PAGE_MAX
from airunner.model.spec import JobSpec
from airunner.server.policy import Role
from airunner.wire.client.endpoint import dial
from airunner.wire.client.jobs_client import NO_KEY, JobsClient
from airunner.wire.job.v1 import job_pb2 as pb
from tests.hostile.dose import DOSE, patience
from tests.hostile.server_site import Target, bystander

# A submission, a look and a cancel of a bystander, while an attack's bytes are read too.
WAIT_SECONDS_MAX = patience(1.0)
# Of the server's longest step. It took 0.02 s, and 0.1 s for a bulk request; decoding the same
# requests takes 0.1 to 0.5 s, and 20 s for 1,000 jobs of 8,000 arguments.
STEP_SECONDS_MAX = 0.07
BULK_STEP_SECONDS_MAX = 0.25
BULK_METHODS = ("JobService/EnqueueJobs", "JobEventsService/PublishJobEvents")


def field(number: int, data: bytes) -> bytes:
    """A field of bytes, as protobuf writes it."""
    return _varint(number << 3 | 2) + _varint(len(data)) + data


def _varint(value: int) -> bytes:
    digits = bytearray()
    while value >= 0x80:
        digits.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes((*digits, value))


EMPTY_ARG, EMPTY_STEP = field(8, b""), field(1, b"")
VARIABLES = b"".join(field(4, field(1, b"%06x" % number)) for number in range(300_000))
ATTACKS = {
    "7 million arguments": ("JobService/EnqueueJob", field(3, EMPTY_ARG * 7_000_000)),
    "2 million arguments": ("JobService/EnqueueJob", field(3, EMPTY_ARG * 2_000_000)),
    "2 million steps": ("JobService/EnqueueJob", field(3, field(108, EMPTY_STEP * 2_000_000))),
    "300,000 variables": ("JobService/EnqueueJob", field(3, VARIABLES)),
    "1,000 jobs of 8,000 arguments": (
        "JobService/EnqueueJobs",
        field(1, field(3, EMPTY_ARG * 8_000)) * 1_000,
    ),
    "8 million jobs": ("JobService/EnqueueJobs", field(1, b"") * 8_000_000),
    "a filter of 15 million types": (
        "JobEventsService/StreamJobEvents",
        field(1, b"x") + field(4, b"\x05" * 15_000_000),
    ),
    "8 million events": ("JobEventsService/PublishJobEvents", field(2, b"") * 8_000_000),
    "4 million messages": ("JobService/Work", field(1, b"") * 4_000_000),
    "8 million tokens": (
        "JobService/Work",
        field(1, field(1, field(1, b"w") + field(7, b"") * 3_900_000)),
    ),
    "1 million steps' results": (
        "JobService/CompleteJob",
        field(2, field(104, b"") * 500_000),
    ),
}


@pytest.mark.parametrize("name", ATTACKS)
def test_a_request_of_too_many_fields_is_refused_before_it_costs(
    attacked: Target, name: str
) -> None:
    path, request = ATTACKS[name]
    who = attacked.endpoint(Role.ADMIN, subject="eve")

    async def main() -> None:
        async with bystander(attacked) as seen, dial(who) as channel:
            method: grpc.aio.StreamStreamMultiCallable[bytes, bytes]
            method = channel.stream_stream(f"/job.v1.{path}")

            async def attack() -> None:
                call = method(iter([request]), metadata=who.metadata())
                assert await call.code() is grpc.StatusCode.INVALID_ARGUMENT

            step = await seen.step_beside(attack)
            assert step < (BULK_STEP_SECONDS_MAX if path in BULK_METHODS else STEP_SECONDS_MAX)
        assert seen.slowest < WAIT_SECONDS_MAX

    asyncio.run(main())


def test_heartbeats_of_unknown_tokens_hold_nobody_up(attacked: Target) -> None:
    who = attacked.endpoint(Role.WORKER, subject="eve")
    hello = pb.Hello(worker="eve.1", name="eve", queues=["eve"], span_millis=30_000, slots=1)
    numbers = count()

    def heartbeats() -> pb.WorkRequest:
        tokens = [f"token-{next(numbers):037d}" for _ in range(10_000)]
        beat = pb.FromWorker(heartbeat=pb.Heartbeat(task_tokens=tokens))
        return pb.WorkRequest(messages=[beat] * 3)

    async def main() -> None:
        async with bystander(attacked) as seen, dial(who) as channel:
            method: grpc.aio.StreamStreamMultiCallable[pb.WorkRequest, pb.WorkResponse]
            method = channel.stream_stream(
                "/job.v1.JobService/Work",
                request_serializer=pb.WorkRequest.SerializeToString,
                response_deserializer=pb.WorkResponse.FromString,
            )
            call = method(metadata=who.metadata())
            await call.write(pb.WorkRequest(messages=[pb.FromWorker(hello=hello)]))
            request = heartbeats()
            lost = 0
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(_write(call, [request] * 10 * DOSE))
                async for response in call:
                    lost += sum(len(each.renewal.lost) for each in response.messages)
                    if lost == 300_000 * DOSE:
                        break
            call.cancel()
        assert seen.step.seconds < BULK_STEP_SECONDS_MAX, seen.step
        assert seen.slowest < WAIT_SECONDS_MAX

    asyncio.run(main())


async def _write(
    call: grpc.aio.StreamStreamCall[pb.WorkRequest, pb.WorkResponse], requests: list[pb.WorkRequest]
) -> None:
    for request in requests:
        await call.write(request)


def test_lists_and_statistics_of_many_queues_are_pages(attacked: Target) -> None:
    queues = 2 * QUEUES_PAGE_MAX + 7 if DOSE == 1 else 100_000
    names = [f"q{number:06d}" for number in range(queues)]

    async def main() -> None:
        async with JobsClient(attacked.endpoint(Role.USER, subject="eve")) as jobs:
            for at in range(0, queues, 500):
                some = names[at : at + 500]
                await jobs.enqueue_many((JobSpec(command="x", queue=q), NO_KEY) for q in some)
            async with bystander(attacked) as seen:
                found = [each.queue for each in await jobs.statistics()]
                for _ in range(20 * DOSE):
                    await jobs.list()
                await jobs.list(JobQuery(page=2**31 - 1))
                await jobs.list(JobQuery(page=queues // 50 - 1))
            assert [name for name in found if name in set(names)] == names
            assert seen.step.seconds < BULK_STEP_SECONDS_MAX, seen.step
            assert seen.slowest < WAIT_SECONDS_MAX

    asyncio.run(main())
