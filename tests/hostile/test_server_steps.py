"""No call holds the server for long: requests at the bounds of each field, and the time of one step."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import grpc
import pytest

from airunner.model import limits
from airunner.server.policy import Role
from airunner.wire.client.endpoint import dial
from airunner.wire.job.v1 import job_pb2 as pb
from tests.hostile.dose import DOSE
from tests.hostile.steps import longest_step
from tests.server.grpc.server_fixture import Keys, Served, guarded, serving

# The goals are 50 ms, and 250 ms for a bulk request. A busy machine computes at half its speed.
STEP_SECONDS_MAX = 0.1
BULK_STEP_SECONDS_MAX = 0.5


Ending = tuple[grpc.StatusCode, str]  # a status and its details
TAKEN = (grpc.StatusCode.OK, "")


class Caller:
    """A caller with every role, whose requests are bytes made beforehand."""

    def __init__(self, site: Served, channel: grpc.aio.Channel) -> None:
        self._channel = channel
        self._metadata = site.endpoint(Role.ADMIN, subject="eve").metadata()

    async def call(self, path: str, request: bytes) -> tuple[Ending, list[bytes]]:
        """The end of a call, and its answers; a stream ends once it has answered."""
        method: grpc.aio.StreamStreamMultiCallable[bytes, bytes]
        method = self._channel.stream_stream(f"/job.v1.{path}")
        call = method(iter([request]), metadata=self._metadata, timeout=5)
        answers = []
        with suppress(grpc.aio.AioRpcError):
            answers = [answer async for answer in call]
        return (await call.code(), await call.details() or ""), answers

    async def longest(self, path: str, request: bytes) -> tuple[Ending, float]:
        """The end of a call, and the longest step of the server: the least of some attempts."""
        found = []
        for _ in range(2 + DOSE):
            with longest_step() as step:
                ending, _ = await self.call(path, request)
            found.append(step.seconds)
        return ending, min(found)

    async def submit(self, request: pb.EnqueueJobsRequest) -> None:
        """Submits jobs, each of which the server takes."""
        path = "JobService/EnqueueJobs"
        ending, answers = await self.call(path, request.SerializeToString())
        assert ending == TAKEN
        for answer in answers:
            for result in pb.EnqueueJobsResponse.FromString(answer).results:
                assert not result.HasField("error"), result.error.message

    async def lease(self, queue: str) -> str:
        """The token of a lease."""
        request = pb.DequeueJobRequest(queue=queue, visibility_timeout_seconds=3_600)
        _, (answer,) = await self.call("JobService/DequeueJob", request.SerializeToString())
        return pb.DequeueJobResponse.FromString(answer).task_token


@asynccontextmanager
async def attacker(keys: Keys) -> AsyncIterator[Caller]:
    async with serving(keys, gate=guarded(keys)) as site, dial(site.endpoint()) as channel:
        yield Caller(site, channel)


def jobs_of(count: int, queue: str = "q", **params: Any) -> pb.EnqueueJobsRequest:
    job = pb.EnqueueJobRequest(queue=queue, job_params=pb.JobParams(**params))
    return pb.EnqueueJobsRequest(requests=[job] * count)


VARIABLES = {f"NAME_{number:04}": "v" * 240 for number in range(1_000)}
LARGE: dict[str, Any] = {
    "command": "true",
    "args": ["x" * 120] * limits.ARGS_MAX,
    "environment": VARIABLES,
    "metadata": {f"k{number}": "v" * 240 for number in range(limits.METADATA_MAX)},
    "artifacts": [f"{number}/" + "*a" * 250 for number in range(limits.ARTIFACT_PATTERNS_MAX)],
}
STEPS = pb.Steps(
    steps=[pb.Step(run="true", environment={f"N{n:03}": "v" for n in range(120)})]
    * limits.STEPS_MAX
)
HELLO = pb.Hello(worker="eve.1", name="eve", queues=["eve"], span_millis=30_000, slots=1)


def hello(**more: object) -> pb.FromWorker:
    message = pb.FromWorker(hello=HELLO)
    message.hello.MergeFrom(pb.Hello(**more))  # type: ignore[arg-type]
    return message


def end(*messages: pb.FromWorker) -> bytes:
    """A stream's messages, after which the server ends the stream."""
    return pb.WorkRequest(messages=[*messages, hello()]).SerializeToString()


# The details of each refusal that is expected; all other cases succeed. A stream ends at its second
# Hello once the server has taken all messages before.
ALL_TAKEN = "message: only the first one on a stream may be a Hello"
REFUSALS = {
    "30,000 unknown fields": "command: is empty: name the program to run",
    "a Hello with 10,000 tokens": ALL_TAKEN,
    "heartbeats of 30,000 tokens": ALL_TAKEN,
    "900 batches of no lease": ALL_TAKEN,
    "390,000 unknown fields": "requests: has 0 jobs; send 1 to ENQUEUE_JOBS_MAX (1000)",
    "9,000 remarks": ALL_TAKEN,
    "9,000 pieces of output": ALL_TAKEN,
    "a batch of 10,000 pieces of output": ALL_TAKEN,
    "a batch of 30,000 pieces of output": "events: has 30000 items or more, above "
    "REPORTS_PER_BATCH_MAX (10000): send them in several messages",
    "a remark of 7 MiB": ALL_TAKEN,
}


def expected(name: str) -> Ending:
    """How the call of a case ends."""
    if name in REFUSALS:
        return grpc.StatusCode.INVALID_ARGUMENT, REFUSALS[name]
    return TAKEN


SMALL: dict[str, tuple[str, bytes]] = {
    "a job of the largest fields": (
        "JobService/EnqueueJob",
        jobs_of(1, **LARGE).requests[0].SerializeToString(),
    ),
    "a job of 256 steps with 120 variables each": (
        "JobService/EnqueueJob",
        jobs_of(1, steps=STEPS).requests[0].SerializeToString(),
    ),
    "a script of two million letters": (
        "JobService/EnqueueJob",
        jobs_of(1, script="\u00e9" * (2 << 20)).requests[0].SerializeToString(),
    ),
    "30,000 unknown fields": (
        "JobService/EnqueueJob",
        b"\xfa\x3f\x00" * 30_000,
    ),
    "a page of the largest jobs": (
        "JobService/ListJobs",
        pb.ListJobsRequest(queue="large", page_size=1_000).SerializeToString(),
    ),
    "a page of 1,000 jobs": (
        "JobService/ListJobs",
        pb.ListJobsRequest(page_size=1_000).SerializeToString(),
    ),
    "statistics of 2,000 queues": ("JobService/QueueStats", b""),
    "the largest of the leased jobs": (
        "JobService/DequeueJob",
        pb.DequeueJobRequest(queue="large", max_jobs=5).SerializeToString(),
    ),
    "a Hello with 10,000 tokens": (
        "JobService/Work",
        end(hello(holding=[f"t{number:036d}" for number in range(10_000)])),
    ),
    "heartbeats of 30,000 tokens": (
        "JobService/Work",
        end(
            hello(),
            *[
                pb.FromWorker(
                    heartbeat=pb.Heartbeat(task_tokens=[f"t{n:036d}" for n in range(10_000)])
                )
            ]
            * 3,
        ),
    ),
    "900 batches of no lease": (
        "JobService/Work",
        end(
            hello(),
            *[
                pb.FromWorker(
                    batch=pb.Batch(
                        task_token="x",
                        first=1,
                        events=[pb.JobEvent(remark=pb.RemarkEvent(message="x"))] * 9,
                    )
                )
            ]
            * 900,
        ),
    ),
}
BULK_JOBS = {
    "30 jobs of the largest fields": jobs_of(30, **LARGE),
    "1,000 jobs of 380 arguments": jobs_of(1_000, command="true", args=["x"] * 380),
}
BULK: dict[str, tuple[str, bytes]] = {
    **{
        name: ("JobService/EnqueueJobs", jobs.SerializeToString())
        for name, jobs in BULK_JOBS.items()
    },
    "390,000 unknown fields": (
        "JobService/EnqueueJobs",
        b"\xfa\x3f\x00" * 390_000,
    ),
}


def test_no_call_at_the_bounds_of_its_fields_holds_the_server(keys: Keys) -> None:
    async def main() -> dict[str, float]:
        async with attacker(keys) as eve:
            await eve.submit(jobs_of(10, "large", **LARGE))
            await eve.submit(jobs_of(10, "large", steps=STEPS))
            small = pb.JobParams(command="true")
            for some in range(2):
                each = [
                    pb.EnqueueJobRequest(queue=f"q{some}{n:03}", job_params=small)
                    for n in range(1_000)
                ]
                await eve.submit(pb.EnqueueJobsRequest(requests=each))
            for jobs in BULK_JOBS.values():
                await eve.submit(jobs)
            seconds = {}
            for name, (path, request) in SMALL.items():
                ending, took = await eve.longest(path, request)
                assert ending == expected(name), name
                if took > STEP_SECONDS_MAX:
                    seconds[name] = took
            for name, (path, request) in BULK.items():
                ending, took = await eve.longest(path, request)
                assert ending == expected(name), name
                if took > BULK_STEP_SECONDS_MAX:
                    seconds[name] = took
            return seconds

    assert not asyncio.run(main())


REPORTS: dict[str, list[pb.JobEvent]] = {
    "9,000 remarks": [pb.JobEvent(remark=pb.RemarkEvent(message="x"))] * 9_000,
    "9,000 pieces of output": [pb.JobEvent(output=pb.OutputEvent(output=b"x"))] * 9_000,
    "a batch of 10,000 pieces of output": [
        pb.JobEvent(output_batch=pb.OutputBatchEvent(outputs=[pb.OutputItem()] * 10_000))
    ],
    "a batch of 30,000 pieces of output": [
        pb.JobEvent(output_batch=pb.OutputBatchEvent(outputs=[pb.OutputItem()] * 30_000))
    ],
    "a remark of 7 MiB": [pb.JobEvent(remark=pb.RemarkEvent(message="x" * (7 << 20)))],
}


def test_no_reports_of_a_worker_hold_the_server(keys: Keys) -> None:
    async def main() -> dict[str, float]:
        async with attacker(keys) as eve:
            await eve.submit(jobs_of(40, command="true"))
            seconds = {}
            for name, events in REPORTS.items():
                found = []
                for _ in range(3):
                    token = await eve.lease("q")
                    batch = pb.FromWorker(batch=pb.Batch(task_token=token, first=1, events=events))
                    request = end(hello(), batch)
                    with longest_step() as step:
                        ending, _ = await eve.call("JobService/Work", request)
                    assert ending == expected(name), name
                    found.append(step.seconds)
                if min(found) > STEP_SECONDS_MAX:
                    seconds[name] = min(found)
            return seconds

    assert not asyncio.run(main())


def test_a_refusal_while_the_first_response_is_on_its_way_reaches_its_caller(keys: Keys) -> None:
    async def main() -> None:
        path, request = SMALL["900 batches of no lease"]
        async with serving(keys, gate=guarded(keys)) as site, dial(site.endpoint()) as channel:
            method: grpc.aio.StreamStreamMultiCallable[bytes, bytes]
            method = channel.stream_stream(f"/job.v1.{path}")
            call = method(iter([request]), metadata=site.endpoint(Role.WORKER).metadata())
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                _ = [answer async for answer in call]
            assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT

    asyncio.run(main())
