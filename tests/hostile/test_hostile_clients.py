"""Callers with good tokens who reach for other people's jobs, secrets, memory and transfers."""

import asyncio
import base64
import json
import random
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from hashlib import sha256

import grpc
import pytest
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from airunner.model.errors import NotAllowed
from airunner.model.job_query import JobQuery
from airunner.model.jobs import JobState, RequestId
from airunner.model.limits import (
    GIB,
    JOBS_SPEC_BYTES_MAX,
    MIB,
    TRANSFERS_MAX,
    UNFINISHED_REQUESTS_MAX,
)
from airunner.model.spec import JobSpec
from airunner.model.steps import Step
from airunner.server.policy import Role
from airunner.wire.client.endpoint import Endpoint, dial
from airunner.wire.client.jobs_client import JobsClient
from airunner.wire.job.v1 import job_pb2 as pb
from tests.hostile.dose import DOSE, patience
from tests.hostile.raw_http2 import RawConnection, message
from tests.hostile.server_site import Target, bystander
from tests.server.grpc.server_fixture import Keys, guarded, serving

FAR = 4_000_000_000  # seconds since the epoch
WAIT_SECONDS_MAX = patience(3.0)  # of a bystander for three calls
STEP_SECONDS_MAX = 0.25  # of the server's longest step: it took 0.04 s
# The details that this end of gRPC makes of a write to a call that the server ends at that moment.
WRITE_FAILED = "Internal error from Core"
TRIES = 50  # of a call whose write fails
OK, INVALID = grpc.StatusCode.OK, grpc.StatusCode.INVALID_ARGUMENT


class Raw:
    """A caller that sends bytes and gets statuses."""

    def __init__(self, who: Endpoint, channel: grpc.aio.Channel) -> None:
        self._metadata, self._channel = who.metadata(), channel

    def open(self, path: str) -> "grpc.aio.StreamStreamCall[bytes, bytes]":
        method: grpc.aio.StreamStreamMultiCallable[bytes, bytes]
        method = self._channel.stream_stream(f"/job.v1.{path}")
        return method(metadata=self._metadata, timeout=60)

    async def call(
        self, path: str, *requests: bytes
    ) -> tuple[grpc.StatusCode, str, Sequence[bytes]]:
        """The status of a call, its details, and the answers."""
        for _ in range(TRIES):
            code, details, answers = await self._try(path, *requests)
            if details != WRITE_FAILED:
                return code, details, answers
        raise AssertionError(f"{path}: {TRIES} calls ended while this end wrote to them")

    async def _try(
        self, path: str, *requests: bytes
    ) -> tuple[grpc.StatusCode, str, Sequence[bytes]]:
        call, answers = self.open(path), list[bytes]()
        with suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):
            for request in requests:
                await call.write(request)
            await call.done_writing()
            answers += [answer async for answer in call]
        return await call.code(), await call.details() or "", answers

    async def lease(self, queue: str) -> tuple[str, str]:
        """The token and the worker of a lease."""
        request = pb.DequeueJobRequest(queue=queue, visibility_timeout_seconds=600)
        _, _, (answer,) = await self.call("JobService/DequeueJob", request.SerializeToString())
        leased = pb.DequeueJobResponse.FromString(answer)
        return leased.task_token, leased.job.worker


@asynccontextmanager
async def raw(who: Endpoint) -> AsyncIterator[Raw]:
    async with dial(who) as channel:
        yield Raw(who, channel)


def test_no_call_shows_the_environment_of_another(attacked: Target) -> None:
    secret = {"API_KEY": "hunter2"}
    specs = [
        JobSpec(command="true", queue="ada", environment=secret),
        JobSpec(steps=(Step(run="true", environment=secret),), queue="ada"),
    ]

    async def main() -> None:
        async with (
            JobsClient(attacked.endpoint(Role.USER, subject="ada")) as ada,
            JobsClient(attacked.endpoint(Role.USER, subject="bob")) as bob,
        ):
            for spec in specs:
                key = RequestId(f"nightly {spec.command}")
                old = await ada.enqueue(spec, request=key)
                with pytest.raises(NotAllowed):
                    await bob.retry(old.id)
                theirs = await bob.enqueue(JobSpec(command="x"), request=key)
                assert theirs.id != old.id
                jobs = (await bob.list(JobQuery(page_size=1_000))).jobs
                assert "hunter2" not in repr(jobs) + repr(await bob.get(old.id))
                assert "hunter2" in repr(await ada.retry(old.id))

    asyncio.run(main())


def test_no_worker_is_taken_over_in_its_name(attacked: Target) -> None:
    """Neither the worker of a stream nor the caller of DequeueJob, after whatever Hello."""

    async def main() -> None:
        user = attacked.endpoint(Role.USER, subject="ada")
        eve = attacked.endpoint(Role.WORKER, subject="eve")
        async with (
            JobsClient(user) as ada,
            raw(attacked.endpoint(Role.WORKER, subject="box")) as box,
            raw(eve) as thief,
        ):
            job = await ada.enqueue(JobSpec(command="true", queue="taken"))
            token, worker = await box.lease("taken")
            for secret in (b"", b"guess"):
                hello = pb.Hello(
                    worker=worker,
                    name="eve",
                    queues=["taken"],
                    span_millis=30_000,
                    slots=1,
                    credit=1,
                    connection=2**63 - 1,
                    secret=secret,
                )
                greeting = pb.WorkRequest(messages=[pb.FromWorker(hello=hello)])
                code, _, answers = await thief.call("JobService/Work", greeting.SerializeToString())
                assert code in (
                    grpc.StatusCode.PERMISSION_DENIED,
                    grpc.StatusCode.UNAVAILABLE,
                ), code
                assert not answers
                shown, _ = await ada.get(job.id)
                assert (shown.state, shown.attempt) == (JobState.RUNNING, 1)
            done = pb.CompleteJobRequest(task_token=token, job_result=pb.JobResult(success=True))
            code, _, _ = await box.call("JobService/CompleteJob", done.SerializeToString())
            assert code is OK
            shown, _ = await ada.get(job.id)
            assert (shown.state, shown.attempt) == (JobState.COMPLETED, 1)

    asyncio.run(main())


def signed(private: str, claims: dict[str, object]) -> str:
    """A token with any claims, as JSON has them."""
    key = load_pem_private_key(private.encode(), password=None)
    assert isinstance(key, EllipticCurvePrivateKey)
    parts = [json.dumps(part).encode() for part in ({"alg": "ES256", "typ": "JWT"}, claims)]
    text = b".".join(base64.urlsafe_b64encode(part).rstrip(b"=") for part in parts)
    numbers = decode_dss_signature(key.sign(text, ECDSA(SHA256())))
    signature = b"".join(number.to_bytes(32, "big") for number in numbers)
    return f"{text.decode()}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}"


@pytest.mark.parametrize(
    "claims",
    [
        {"sub": "\ud800mallory"},
        {"sub": "x\x00y"},
        {"sub": "line\nline"},
        {"sub": "\x9b31m"},
        {"sub": ""},
        {"sub": 7},
        {"sub": ["ada"]},
        {"sub": "s" * 5_000},
        {"sub": "ada", "exp": 10**400},
        {"sub": "ada", "exp": 1e999},
        {"sub": "ada", "exp": "9999999999"},
        {"sub": "ada", "exp": True},
        {"sub": "ada", "nbf": -1},
        {"sub": "ada", "role": {"admin": True}},
        {"sub": "ada", "role": 7},
    ],
    ids=lambda claims: repr(claims)[:40],
)
def test_a_signed_token_with_claims_of_no_sense_opens_nothing(
    attacked: Target, keys: Keys, claims: dict[str, object]
) -> None:
    token = signed(keys.private, {"exp": FAR, "role": ["user"], **claims})
    who = Endpoint(server=attacked.address, ca_cert=attacked.ca, token=token)

    async def main() -> None:
        async with raw(who) as mallory:
            for path in ("EnqueueJob", "CancelJob", "Work"):
                code, details, _ = await mallory.call(f"JobService/{path}", b"")
                assert code is grpc.StatusCode.UNAUTHENTICATED, details
                assert details.startswith("the token")
        async with JobsClient(attacked.endpoint(Role.USER, subject="ada")) as ada:
            await ada.list(JobQuery(page_size=1))

    asyncio.run(main())


def test_errors_of_any_length_leave_lists_in_order(attacked: Target) -> None:
    async def main() -> None:
        async with (
            JobsClient(attacked.endpoint(Role.USER, subject="ada")) as ada,
            raw(attacked.endpoint(Role.WORKER, subject="eve")) as eve,
        ):
            for size in (1_000, 900_000, 15 * MIB):
                await ada.enqueue(JobSpec(command="true", queue="errors"))
                token, _ = await eve.lease("errors")
                result = pb.JobResult(error_message="e" * size)
                done = pb.CompleteJobRequest(task_token=token, job_result=result)
                code, details, _ = await eve.call(
                    "JobService/CompleteJob", done.SerializeToString()
                )
                assert code is OK or (code is INVALID and "RESULT_BYTES_MAX" in details)
            for size in (1, 50, 1_000):
                page = await ada.list(JobQuery(queue="errors", page_size=size))
                assert len(page.jobs) == min(size, 3)

    asyncio.run(main())


def test_jobs_with_large_fields_take_bounded_memory(attacked: Target) -> None:
    job = pb.EnqueueJobRequest(
        queue="large",
        job_params=pb.JobParams(
            command="true",
            args=["x" * 127] * 1_024,
            environment={f"NAME_{number:04}": "v" * 250 for number in range(1_000)},
            metadata={f"k{number}": "v" * 240 for number in range(64)},
            artifacts=[f"{number}/" + "p" * 990 for number in range(64)],
        ),
    )
    request = pb.EnqueueJobsRequest(requests=[job] * 25).SerializeToString()

    async def main() -> None:
        refused, before = 0, attacked.memory()
        async with bystander(attacked) as seen, raw(attacked.endpoint(Role.USER)) as eve:
            for _ in range(4 if DOSE == 1 else 80):
                code, _, (answer,) = await eve.call("JobService/EnqueueJobs", request)
                assert code is OK
                for result in pb.EnqueueJobsResponse.FromString(answer).results:
                    if result.HasField("error"):
                        refused += 1
                        assert "JOBS_SPEC_BYTES_MAX" in result.error.message
            assert attacked.memory() - before < JOBS_SPEC_BYTES_MAX + GIB // 2
        assert DOSE == 1 or refused
        assert seen.step.seconds < STEP_SECONDS_MAX, seen.step
        assert seen.slowest < WAIT_SECONDS_MAX

    asyncio.run(main())


def upload(token: str, data: bytes, size: int | None = None) -> Sequence[bytes]:
    """The first requests of an upload: its head, and some data."""
    artifact = pb.Artifact(
        path=sha256(data).hexdigest()[:8],
        size=len(data) if size is None else size,
        sha256=sha256(data).hexdigest(),
    )
    head = pb.UploadArtifactRequest(head=pb.ArtifactHead(task_token=token, artifact=artifact))
    return [head.SerializeToString(), pb.UploadArtifactRequest(data=data).SerializeToString()]


def test_uploads_that_drip_keep_nobody_out(attacked: Target) -> None:
    """`make hostile` waits as long as a server process does, any other run a second."""

    async def attack(endpoint: Callable[[Role, str], Endpoint]) -> None:
        async with (
            JobsClient(endpoint(Role.USER, "ada")) as ada,
            raw(endpoint(Role.WORKER, "eve")) as eve,
            raw(endpoint(Role.WORKER, "box")) as box,
        ):
            for _ in range(2):
                await ada.enqueue(JobSpec(command="true", queue="uploads"))
            token, _ = await eve.lease("uploads")
            dripping = [eve.open("JobArtifactsService/UploadArtifact") for _ in range(40)]
            for number, call in enumerate(dripping):
                for part in upload(token, b"%03d" % number, 1_000):
                    await call.write(part)
            assert len(dripping) > TRANSFERS_MAX
            token, _ = await box.lease("uploads")
            async with asyncio.timeout(30):
                code, details, _ = await box.call(
                    "JobArtifactsService/UploadArtifact", *upload(token, b"ten bytes.")
                )
            assert code is OK, details
            for call in dripping:
                call.cancel()

    async def main() -> None:
        if DOSE > 1:
            await attack(lambda role, subject: attacked.endpoint(role, subject=subject))
            return
        keys = attacked.keys
        async with serving(keys, gate=guarded(keys), transfer_wait=1.0) as site:
            await attack(lambda role, subject: site.with_token(keys.token(role, subject=subject)))

    asyncio.run(main())


def test_the_first_requests_of_uploads_take_bounded_memory(attacked: Target) -> None:
    """A token of role worker, and heads of 15 MiB each of which the last byte never comes."""
    metadata = attacked.endpoint(Role.WORKER, subject="eve").metadata()
    headers = [(str(name), str(value)) for name, value in metadata]

    async def attack(connection: RawConnection) -> None:
        stream = await connection.call("/job.v1.JobArtifactsService/UploadArtifact", headers)
        await connection.send(stream, message(bytes(14 * MIB), size=15 * MIB))

    async def main() -> None:
        before = attacked.memory()
        async with bystander(attacked) as seen, AsyncExitStack() as stack:
            raws = [await stack.enter_async_context(attacked.raw()) for _ in range(8)]
            async with asyncio.TaskGroup() as tasks:
                attacks = [tasks.create_task(attack(each)) for each in raws * 10 * DOSE]
                await asyncio.wait(attacks, timeout=3 * DOSE)
                for each in attacks:
                    each.cancel()
            assert attacked.memory() - before < (UNFINISHED_REQUESTS_MAX * 16 + 100) * MIB
        assert seen.step.seconds < STEP_SECONDS_MAX, seen.step
        assert seen.slowest < WAIT_SECONDS_MAX

    asyncio.run(main())


SAMPLES: dict[str, bytes] = {
    "JobService/EnqueueJob": pb.EnqueueJobRequest(
        request_id="a",
        queue="q",
        job_params=pb.JobParams(
            command="true",
            args=["x"],
            environment={"A": "b"},
            timeout_seconds=3,
            git_clone=pb.GitCloneConfig(enabled=True, depth=1),
            container=pb.ContainerConfig(image="x"),
            terminal=pb.TerminalSize(columns=80, rows=24),
        ),
    ).SerializeToString(),
    "JobService/EnqueueJobs": pb.EnqueueJobsRequest(
        requests=[pb.EnqueueJobRequest(job_params=pb.JobParams(script="x"))]
    ).SerializeToString(),
    "JobService/GetJob": pb.GetJobRequest(job_id="x").SerializeToString(),
    "JobService/ListJobs": pb.ListJobsRequest(
        queue="q", page=2, page_size=10, page_token="7"
    ).SerializeToString(),
    "JobService/QueueStats": pb.QueueStatsRequest(queue="q").SerializeToString(),
    "JobService/CancelJob": pb.CancelJobRequest(job_id="x").SerializeToString(),
    "JobService/RetryJob": pb.RetryJobRequest(job_id="x", request_id="y").SerializeToString(),
    "JobService/UpdateJob": pb.UpdateJobRequest(
        task_token="x", visibility_timeout_seconds=7
    ).SerializeToString(),
    "JobService/CompleteJob": pb.CompleteJobRequest(
        task_token="x",
        job_result=pb.JobResult(success=True, exit_code=3, steps=[pb.StepResult(name="x")]),
    ).SerializeToString(),
    "JobService/ReleaseJob": pb.ReleaseJobRequest(task_token="x").SerializeToString(),
    "JobService/Work": pb.WorkRequest(
        messages=[
            pb.FromWorker(
                hello=pb.Hello(
                    worker="w", name="w", queues=["w"], span_millis=1_000, slots=1, secret=b"s"
                )
            ),
            pb.FromWorker(heartbeat=pb.Heartbeat(task_tokens=["x"])),
            pb.FromWorker(credit=pb.Credit(more=1)),
        ]
    ).SerializeToString(),
    "JobEventsService/PublishJobEvents": pb.PublishJobEventsRequest(
        task_token="x",
        events=[pb.JobEvent(sequence=1, output=pb.OutputEvent(output=b"x"))],
    ).SerializeToString(),
    "JobEventsService/StreamJobEvents": pb.StreamJobEventsRequest(
        job_id="x",
        from_sequence=3,
        event_filter=[pb.EVENT_TYPE_PROCESS_START, pb.EVENT_TYPE_PROCESS_END],
    ).SerializeToString(),
    "JobArtifactsService/UploadArtifact": upload("x", b"data")[0],
    "JobArtifactsService/DownloadArtifact": pb.DownloadArtifactRequest(
        job_id="x", path="y", offset=3
    ).SerializeToString(),
}
DEFECTS = (grpc.StatusCode.UNKNOWN, grpc.StatusCode.INTERNAL)


def mutated(data: bytes, dice: random.Random) -> bytes:
    """The bytes with some of them changed, doubled or gone."""
    found = bytearray(data)
    for _ in range(dice.randint(1, 4)):
        at = dice.randrange(len(found) + 1)
        match dice.randrange(4):
            case 0:
                found[at : at + 1] = bytes((dice.randrange(256),))
            case 1:
                found[at:at] = dice.choice([b"\xff" * 10, b"\0", b"\x80", b"\xed\xa0\x80", b"\xc2"])
            case 2:
                del found[at : at + dice.randint(1, 3)]
            case _:
                found[at:at] = found[dice.randrange(len(found) + 1) :][: dice.randint(1, 20)]
    return bytes(found)


def test_no_bytes_of_a_request_are_a_defect_of_the_server(attacked: Target) -> None:
    dice = random.Random(7)

    async def main() -> None:
        async with bystander(attacked), raw(attacked.endpoint(Role.ADMIN, subject="eve")) as eve:
            for path, sample in SAMPLES.items():
                for _ in range(25 * DOSE):
                    request = mutated(sample, dice)
                    code, details, _ = await eve.call(path, request)
                    assert code not in DEFECTS, (path, request, details)

    asyncio.run(main())
    assert not [line for line in attacked.process.journal if '"error"' in line]
