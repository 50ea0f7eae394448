"""The port: TLS, tokens, roles, health, and how it stops."""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import grpc
import pytest
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (
    ProtoReflectionDescriptorDatabase,
)

from airunner.model.errors import InvalidRequest, NotAllowed, Refused, Unauthenticated, UnknownJob
from airunner.model.job_query import JobQuery, Page
from airunner.model.jobs import Job, JobId, JobRequest, RequestId
from airunner.model.limits import LARGE_REQUESTS_MAX, REQUEST_BYTES_MAX
from airunner.model.namespaces import QueueKey
from airunner.model.spec import JobSpec
from airunner.model.steps import Step
from airunner.server.broker import Broker
from airunner.server.client_calls import ClientCalls
from airunner.server.policy import Role
from airunner.wire.client.jobs_client import JobsClient
from airunner.wire.job.v1 import job_pb2 as pb
from airunner.worker.session.connect import connect
from tests.promises import holds
from tests.server.broker_fixture import SlowLog
from tests.server.grpc.server_fixture import Keys, Served, guarded, serving, until

SPEC = JobSpec(command="make", environment={"SECRET": "hush"})


async def health(site: Served) -> int:
    check: grpc.aio.UnaryUnaryMultiCallable[
        health_pb2.HealthCheckRequest, health_pb2.HealthCheckResponse
    ] = site.channel().unary_unary(
        "/grpc.health.v1.Health/Check",
        request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
        response_deserializer=health_pb2.HealthCheckResponse.FromString,
    )
    return (await check(health_pb2.HealthCheckRequest(service="job.v1.JobService"))).status


def test_large_requests_take_turns_and_a_small_one_passes_them(site_keys: Keys) -> None:
    """As many as LARGE_REQUESTS_MAX are decoded and answered at once; the log holds their answers up."""

    async def main() -> None:
        log = SlowLog()
        async with serving(site_keys, log=log) as site, JobsClient(site.with_token("")) as jobs:
            table = site.broker.engine.table
            first = await jobs.enqueue(SPEC)
            log.gate.clear()
            large = JobSpec(command="", script="x" * REQUEST_BYTES_MAX)
            async with asyncio.TaskGroup() as tasks:
                sent = [
                    tasks.create_task(jobs.enqueue(large)) for _ in range(LARGE_REQUESTS_MAX + 4)
                ]
                await until(lambda: len(table) == 1 + LARGE_REQUESTS_MAX)
                for _ in range(20):  # each round trip is a chance of a further one
                    assert await health(site) == health_pb2.HealthCheckResponse.SERVING
                assert len(table) == 1 + LARGE_REQUESTS_MAX
                assert not any(each.done() for each in sent)
                log.gate.set()
            assert len(table) == 1 + LARGE_REQUESTS_MAX + 4
            assert (await jobs.get(first.id))[0].id == first.id

    asyncio.run(main())


def test_health_is_told_without_a_token(site_keys: Keys) -> None:
    async def main() -> None:
        async with serving(site_keys, gate=guarded(site_keys)) as site:
            assert await health(site) == health_pb2.HealthCheckResponse.SERVING

    asyncio.run(main())


@holds("server/calls-need-a-role")
def test_every_other_call_needs_a_token(site_keys: Keys) -> None:
    async def main() -> None:
        async with serving(site_keys, gate=guarded(site_keys)) as site:
            async with JobsClient(site.with_token("")) as jobs:
                with pytest.raises(Unauthenticated, match="no token"):
                    await jobs.list()
            async with JobsClient(site.with_token("not.a.token")) as jobs:
                with pytest.raises(Unauthenticated):
                    _ = [each async for each in jobs.watch(JobId("x"))]
            channel = await connect(site.with_token(""))
            with pytest.raises(Unauthenticated):
                await channel.receive()
            await channel.close()

    asyncio.run(main())


@holds("server/calls-need-a-role")
def test_a_role_opens_its_own_calls_and_no_others(site_keys: Keys) -> None:
    async def main() -> None:
        async with serving(site_keys, gate=guarded(site_keys)) as site:
            async with JobsClient(site.endpoint(Role.VIEWER)) as viewer:
                await viewer.list()
                with pytest.raises(NotAllowed, match="viewer, which may not call EnqueueJob"):
                    await viewer.enqueue(SPEC)
            async with JobsClient(site.endpoint(Role.WORKER)) as worker:
                with pytest.raises(NotAllowed, match="CancelJob"):
                    await worker.cancel(JobId("x"))
            async with JobsClient(site.endpoint(Role.USER)) as user:
                await user.enqueue(SPEC)
            channel = await connect(site.endpoint(Role.USER))
            with pytest.raises(NotAllowed, match="Work"):
                await channel.receive()
            await channel.close()

    asyncio.run(main())


@holds("server/secrets-stay-private")
@pytest.mark.parametrize(
    "spec",
    [SPEC, JobSpec(steps=(Step(run="make", environment={"SECRET": "hush"}),))],
    ids=["of the job", "of a step"],
)
def test_environment_values_are_for_the_submitter_and_an_admin(
    site_keys: Keys, spec: JobSpec
) -> None:
    def secret(said: JobSpec) -> str:
        return (said.steps[0] if said.steps else said).environment["SECRET"]

    async def shown(site: Served, id: JobId, role: Role, subject: str) -> str:
        async with JobsClient(site.endpoint(role, subject=subject)) as jobs:
            job, _ = await jobs.get(id)
            (listed,) = (await jobs.list()).jobs
            assert secret(listed.spec) == ""
            return secret(job.spec)

    async def main() -> None:
        async with serving(site_keys, gate=guarded(site_keys)) as site:
            async with JobsClient(site.endpoint(Role.USER, subject="ann")) as ann:
                id = (await ann.enqueue(spec)).id
            assert await shown(site, id, Role.USER, "ann") == "hush"
            assert await shown(site, id, Role.USER, "bob") == ""
            assert await shown(site, id, Role.WORKER, "box") == ""
            assert await shown(site, id, Role.ADMIN, "root") == "hush"
            assert "hush" not in site.lines.getvalue()

    asyncio.run(main())


@holds("server/secrets-stay-private")
def test_a_retry_and_a_request_id_show_nothing_of_anothers_job(site_keys: Keys) -> None:
    async def main() -> None:
        key = RequestId("nightly")
        async with serving(site_keys, gate=guarded(site_keys)) as site:
            async with JobsClient(site.endpoint(Role.USER, subject="ann")) as ann:
                old = await ann.enqueue(SPEC, request=key)
                assert (await ann.retry(old.id)).spec.environment["SECRET"] == "hush"
                plain = await ann.enqueue(JobSpec(command="true"))
            async with JobsClient(site.endpoint(Role.USER, subject="bob")) as bob:
                with pytest.raises(NotAllowed, match="only the submitter or an admin"):
                    await bob.retry(old.id)
                guess = await bob.enqueue(JobSpec(command="guess"), request=key)
                assert guess.id != old.id
                assert (await bob.retry(plain.id)).submitter == "bob"
            async with JobsClient(site.endpoint(Role.ADMIN, subject="root")) as root:
                assert (await root.retry(old.id)).submitter == "root"

    asyncio.run(main())


@holds("server/bad-token-opens-nothing")
def test_a_stream_ends_when_its_token_does(site_keys: Keys) -> None:
    """So does a worker's call that waits for a job."""

    async def main() -> None:
        async with serving(site_keys, gate=guarded(site_keys)) as site:
            async with JobsClient(site.endpoint(Role.USER)) as user:
                id = (await user.enqueue(SPEC)).id
            token = site_keys.token(Role.VIEWER, Role.WORKER, seconds=2)
            poll = site.jobs().DequeueJob(
                pb.DequeueJobRequest(queue="empty"), metadata=site.with_token(token).metadata()
            )
            async with JobsClient(site.with_token(token)) as jobs:
                with pytest.raises(Unauthenticated, match="has expired"):
                    _ = [each async for each in jobs.watch(id)]
            assert await poll.code() is grpc.StatusCode.UNAUTHENTICATED
            assert "has expired" in str(await poll.details())

    asyncio.run(main())


def test_reflection_tells_what_the_server_serves(site_keys: Keys) -> None:
    async def main() -> None:
        async with serving(site_keys) as site:
            roots = (site_keys.certs / "ca.pem").read_bytes()

            def services() -> list[str]:
                credentials = grpc.ssl_channel_credentials(roots)
                with grpc.secure_channel(site.address, credentials) as channel:
                    return list(ProtoReflectionDescriptorDatabase(channel).get_services())

            assert "job.v1.JobService" in await asyncio.to_thread(services)

    asyncio.run(main())


def test_a_call_that_the_contract_does_not_have_is_unimplemented(site_keys: Keys) -> None:
    async def main() -> None:
        async with serving(site_keys, gate=guarded(site_keys)) as site:
            call: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes]
            call = site.channel().unary_unary("/job.v1.JobService/EnqueueNothing")
            with pytest.raises(grpc.aio.AioRpcError) as error:
                await call(b"")
            assert error.value.code() is grpc.StatusCode.UNIMPLEMENTED

    asyncio.run(main())


def test_the_port_speaks_nothing_but_tls(site_keys: Keys) -> None:
    async def main() -> None:
        async with (
            serving(site_keys) as site,
            grpc.aio.insecure_channel(site.address) as channel,
        ):
            call: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes]
            call = channel.unary_unary("/job.v1.JobService/ListJobs")
            with pytest.raises(grpc.aio.AioRpcError):
                await call(b"", timeout=5)

    asyncio.run(main())


def test_a_port_that_is_taken_is_a_sentence(site_keys: Keys) -> None:
    async def main() -> None:
        async with serving(site_keys) as site:
            with pytest.raises(ExceptionGroup) as group:
                async with serving(site_keys, listen=f"127.0.0.1:{site.server.port}"):
                    pass
            assert group.group_contains(InvalidRequest, match="--listen: cannot listen on")

    asyncio.run(main())


@pytest.mark.parametrize(
    ("cert", "key", "why"),
    [
        ("server-key.pem", "server-key.pem", "--tls-cert: is not a PEM certificate"),
        ("server.pem", "server.pem", "--tls-key: is not a PEM private key"),
        ("server.pem", "ca-key.pem", "--tls-key: does not belong to the certificate"),
    ],
)
def test_a_certificate_and_a_key_must_belong_together(
    cert: str, key: str, why: str, site_keys: Keys, tmp_path: Path
) -> None:
    (tmp_path / "server.pem").write_bytes((site_keys.certs / cert).read_bytes())
    (tmp_path / "server-key.pem").write_bytes((site_keys.certs / key).read_bytes())

    async def main() -> None:
        async with serving(Keys(tmp_path, "", "")):
            pass

    with pytest.raises(InvalidRequest, match=why):
        asyncio.run(main())


def test_what_waits_ends_with_unavailable_when_the_server_stops(site_keys: Keys) -> None:
    async def main() -> None:
        async with serving(site_keys) as site, asyncio.TaskGroup() as tasks:
            job = await ClientCalls(site.broker).enqueue(JobRequest(spec=SPEC))
            jobs, events = site.jobs(), site.events()
            poll = jobs.DequeueJob(pb.DequeueJobRequest(queue="empty"))
            monitor = events.StreamJobEvents(pb.StreamJobEventsRequest(job_id=job.id))
            await monitor.read()
            await until(lambda: site.broker.connected_workers.serving(QueueKey("empty")))
            begun = time.monotonic()
            stopping = tasks.create_task(site.server.stop())
            for call in (poll, monitor):
                assert await call.code() is grpc.StatusCode.UNAVAILABLE
                assert "shutting down" in str(await call.details())
            await stopping
            assert time.monotonic() - begun < 5  # nobody had to be waited for
            with pytest.raises(grpc.aio.AioRpcError) as error:
                await jobs.ListJobs(pb.ListJobsRequest())
            assert error.value.code() is grpc.StatusCode.UNAVAILABLE

    asyncio.run(main())


def test_a_call_to_a_server_that_stops_is_told_so(site_keys: Keys) -> None:
    async def main() -> None:
        async with serving(site_keys) as site, asyncio.TaskGroup() as tasks:
            jobs = site.jobs()
            await jobs.ListJobs(pb.ListJobsRequest())
            stopping = tasks.create_task(site.server.stop())
            await until(lambda: site.broker.stopping)
            with pytest.raises(grpc.aio.AioRpcError) as error:
                await jobs.EnqueueJob(pb.EnqueueJobRequest())
            assert error.value.code() is grpc.StatusCode.UNAVAILABLE
            assert "shutting down" in str(error.value.details())
            await stopping

    asyncio.run(main())


def test_an_idle_publisher_does_not_hold_up_the_servers_end(site_keys: Keys) -> None:
    async def main() -> None:
        async with serving(site_keys) as site:
            await ClientCalls(site.broker).enqueue(JobRequest(spec=SPEC))
            response = await site.jobs().DequeueJob(pb.DequeueJobRequest()).read()
            assert isinstance(response, pb.DequeueJobResponse)
            call = site.events().PublishJobEvents()
            event = pb.JobEvent(sequence=1, output=pb.OutputEvent(output=b"x"))
            token = response.task_token
            await call.write(pb.PublishJobEventsRequest(task_token=token, events=[event]))
            await until(lambda: any(job.sent for job in site.broker.engine.table.jobs()))
            begun = time.monotonic()
            await site.server.stop()
            assert time.monotonic() - begun < 5
            assert await call.code() is grpc.StatusCode.UNAVAILABLE
            assert "shutting down" in str(await call.details())

    asyncio.run(main())


T = TypeVar("T")


class Faulty(Broker):
    """Has a defect in the answer to one verb, and a broken invariant in that to another."""

    async def after_durable(self, reply: T) -> T:
        match reply:
            case Page():
                raise RuntimeError("something about here")
            case Job():
                raise AssertionError("this cannot be")
            case _:
                return await super().after_durable(reply)


def test_a_defect_is_logged_and_tells_the_caller_nothing(site_keys: Keys) -> None:
    async def main() -> None:
        async with serving(site_keys, make=Faulty) as site, JobsClient(site.endpoint()) as jobs:
            with pytest.raises(Refused) as refused:
                await jobs.list(JobQuery(queue="here"))
            assert "here" not in str(refused.value)
            (line,) = (json.loads(each) for each in site.lines.getvalue().splitlines())
            assert line["method"] == "/job.v1.JobService/ListJobs"
            assert "something about here" in line["exception"]

    asyncio.run(main())


def test_a_broken_invariant_is_told_to_whoever_runs_the_server(site_keys: Keys) -> None:
    async def main() -> None:
        async with serving(site_keys, make=Faulty) as site, JobsClient(site.endpoint()) as jobs:
            with pytest.raises(Refused):
                await jobs.enqueue(SPEC)
            with pytest.raises(AssertionError, match="this cannot be"):
                await site.server.broken()

    asyncio.run(main())


def test_each_step_of_a_job_is_a_line(site_keys: Keys) -> None:
    async def main() -> None:
        async with serving(site_keys) as site:
            job = await ClientCalls(site.broker).enqueue(JobRequest(spec=SPEC))
            await ClientCalls(site.broker).cancel(job.id, job.submitter)
        lines = [json.loads(each) for each in site.lines.getvalue().splitlines()]
        assert [line["event"] for line in lines] == ["job_enqueued", "job_cancelled"]
        assert all(line["job"] == job.id for line in lines)
        assert lines[1]["reason"] == "cancelled"

    asyncio.run(main())


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        (JobSpec(command="make", args=("hush",)), {"command": "make"}),
        (JobSpec(name="nightly", script="hush"), {"name": "nightly", "script_chars": 4}),
        (JobSpec(steps=(Step(run="hush"),)), {"steps": 1}),
        (JobSpec(source="runs/7"), {"source": "runs/7"}),
        (JobSpec(source="runs/7", steps=()), {"source": "runs/7", "steps": 0}),
    ],
)
def test_a_line_says_what_runs_and_none_of_what_may_be_secret(
    site_keys: Keys, spec: JobSpec, said: dict[str, object]
) -> None:
    async def main() -> None:
        async with serving(site_keys) as site:
            await ClientCalls(site.broker).enqueue(JobRequest(spec=spec))
        text = site.lines.getvalue()
        assert "hush" not in text
        line = json.loads(text)
        words = ("command", "name", "script_chars", "steps", "source")
        assert {key: line[key] for key in words if key in line} == said

    asyncio.run(main())


async def _unknown(jobs: JobsClient) -> None:
    with pytest.raises(UnknownJob, match="no job nobody"):
        await jobs.get(JobId("nobody"))


async def _too_many(jobs: JobsClient) -> None:
    with pytest.raises(InvalidRequest, match="ENQUEUE_JOBS_MAX"):
        await jobs.enqueue_many([])


async def _backwards(jobs: JobsClient) -> None:
    id = (await jobs.enqueue(SPEC)).id
    with pytest.raises(Refused, match="ends at sequence 1: nothing follows 41"):
        _ = [each async for each in jobs.watch(id, from_sequence=42)]


@pytest.mark.parametrize("ask", [_unknown, _too_many, _backwards])
def test_a_refusal_arrives_as_what_it_was(
    ask: Callable[[JobsClient], Awaitable[None]], site_keys: Keys
) -> None:
    async def main() -> None:
        async with serving(site_keys) as site, JobsClient(site.endpoint()) as jobs:
            await ask(jobs)

    asyncio.run(main())
