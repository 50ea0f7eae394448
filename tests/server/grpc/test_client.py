"""The client's verbs and its trouble, against a real server."""

import asyncio
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path

import grpc
import pytest
from msgspec import structs

from airunner.cli.processes.certificates import make_certificates
from airunner.log.memory import MemoryLog
from airunner.model.errors import (
    AlreadyFinished,
    CancelPending,
    IdempotencyConflict,
    InvalidRequest,
    OutOfSequence,
    Refused,
    StaleLease,
    Unauthenticated,
    UnknownJob,
    Unreachable,
)
from airunner.model.job_events import JobEnqueued, JobEvent, JobFinished, JobLeased
from airunner.model.job_query import JobQuery
from airunner.model.jobs import (
    Instant,
    JobId,
    JobState,
    Millis,
    Outcome,
    Reason,
    RequestId,
    TaskToken,
    WorkerId,
)
from airunner.model.namespaces import QueueKey
from airunner.model.protocol.channel import ChannelClosed
from airunner.model.protocol.worker_protocol import (
    Assignment,
    Batch,
    CancelOrder,
    Completion,
    Credit,
    Drain,
    FromServer,
    FromWorker,
    Heartbeat,
    Hello,
    Rejected,
    Renewal,
    Settled,
    Stored,
    Welcome,
)
from airunner.model.reports import Chunk, Output, OutputCut, ProcessStarted, Stream
from airunner.model.spec import JobSpec
from airunner.server.policy import Role
from airunner.server.worker_calls import WorkerCalls
from airunner.wire.client.endpoint import Endpoint
from airunner.wire.client.follow import follow
from airunner.wire.client.jobs_client import EnqueuedJob, JobsClient
from airunner.wire.codec.errors import (
    decode_call_error,
    decode_refusal,
    encode_refusal,
    make_refusal,
)
from airunner.worker.session.connect import connect
from tests.server.grpc.server_fixture import Keys, guarded, serving, until

SPEC = JobSpec(command="make", args=("test",))
DONE = Outcome(reason=Reason.EXITED, exit_code=0)
HELLO = Hello(
    worker=WorkerId("w1"), name="box", queues=("default",), span=Millis(60_000), slots=1, credit=1
)


def test_every_verb_answers_in_words_of_the_vocabulary(site_keys: Keys) -> None:
    async def main() -> None:
        async with serving(site_keys) as site, JobsClient(site.endpoint()) as jobs:
            await jobs.check()
            accepted = await jobs.enqueue(SPEC, request=RequestId("key"))
            assert await jobs.enqueue(SPEC, request=RequestId("key")) == accepted
            job, waiting = await jobs.get(accepted.id)
            assert (job.spec, job.state) == (SPEC, JobState.SCHEDULED)
            assert waiting is not None
            assert (
                waiting.explanation == "first in queue default, and no worker polls queue default"
            )
            (one,) = await jobs.statistics()
            assert one.counts[JobState.SCHEDULED] == 1
            assert (await jobs.cancel(job.id)).state is JobState.CANCELLED
            again = await jobs.retry(job.id)
            assert again.retry_of == job.id
            page = await jobs.list(JobQuery(page_size=1))
            assert [each.id for each in page.jobs] == [again.id]
            assert page.next is not None
            rest = await jobs.list(JobQuery(page_size=1, before=page.next))
            assert [each.id for each in rest.jobs] == [job.id]

    asyncio.run(main())


def test_many_jobs_have_an_answer_each(site_keys: Keys) -> None:
    async def main() -> None:
        async with serving(site_keys) as site, JobsClient(site.endpoint()) as jobs:
            other = structs.replace(SPEC, command="other")
            wishes = [(SPEC, RequestId("k")), (other, RequestId("k")), (other, RequestId(""))]
            first, second, third = await jobs.enqueue_many(wishes)
            assert isinstance(first, EnqueuedJob)
            assert isinstance(second, IdempotencyConflict)
            assert isinstance(third, EnqueuedJob)

    asyncio.run(main())


def test_a_stream_that_stops_at_the_tail_does_not_wait(site_keys: Keys) -> None:
    async def main() -> None:
        async with serving(site_keys) as site, JobsClient(site.endpoint()) as jobs:
            id = (await jobs.enqueue(SPEC)).id
            (entry,) = [each async for each in jobs.watch(id, stop_at_tail=True)]
            assert entry.body == JobEnqueued("default", None)

    asyncio.run(main())


# When nobody is there


def closed_port(keys: Keys, tries: Sequence[float]) -> tuple[JobsClient, list[float]]:
    rolled: list[float] = []

    def dice(low: float, high: float) -> float:
        rolled.append(high)
        return low

    endpoint = Endpoint(server="127.0.0.1:1", ca_cert=keys.certs / "ca.pem")
    return JobsClient(endpoint, pauses=tries, dice=dice), rolled


def test_a_call_that_may_be_repeated_is_repeated_with_growing_pauses(site_keys: Keys) -> None:
    async def main() -> None:
        jobs, rolled = closed_port(site_keys, (0.1, 0.2, 0.4))
        async with jobs:
            with pytest.raises(Unreachable, match=r"no server answers at 127\.0\.0\.1:1"):
                await jobs.list()
        assert rolled == [0.1, 0.2, 0.4]

    asyncio.run(main())


def test_a_submission_without_a_key_is_never_repeated(site_keys: Keys) -> None:
    async def main() -> None:
        jobs, rolled = closed_port(site_keys, (0.1,))
        async with jobs:
            with pytest.raises(Unreachable):
                await jobs.enqueue(SPEC)
        assert not rolled

    asyncio.run(main())


def test_another_authority_is_told_in_a_sentence(site_keys: Keys, tmp_path: Path) -> None:
    make_certificates(tmp_path / "other")

    async def main() -> None:
        async with serving(site_keys) as site:
            wrong = replace(site.endpoint(), ca_cert=tmp_path / "other" / "ca.pem")
            async with JobsClient(wrong, pauses=()) as jobs:
                with pytest.raises(Unreachable, match="not trusted here: give the CA"):
                    await jobs.check()

    asyncio.run(main())


def test_a_name_that_the_certificate_lacks_is_told_in_a_sentence(site_keys: Keys) -> None:
    async def main() -> None:
        async with serving(site_keys, listen="127.0.0.2:0") as site:
            wrong = replace(site.endpoint(), server=f"127.0.0.2:{site.server.port}")
            async with JobsClient(wrong, pauses=()) as jobs:
                with pytest.raises(Unreachable, match="is for another name"):
                    await jobs.check()

    asyncio.run(main())


@pytest.mark.parametrize("server", ["", "host", ":1", "host:", "host:x", "host:65536"])
def test_an_address_that_is_none_is_refused(server: str) -> None:
    with pytest.raises(InvalidRequest, match="--server"):
        Endpoint(server=server)


def test_files_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    missing = tmp_path / "missing"
    with pytest.raises(InvalidRequest, match="--ca-cert: cannot read"):
        Endpoint(ca_cert=missing).credentials()
    with pytest.raises(InvalidRequest, match="--token-file: cannot read"):
        Endpoint(token_file=missing).metadata()
    missing.write_text("nothing")
    with pytest.raises(InvalidRequest, match="has no PEM certificate"):
        Endpoint(ca_cert=missing).credentials()


def test_a_token_is_read_again_from_its_file_for_each_call(tmp_path: Path) -> None:
    file = tmp_path / "token"
    endpoint = Endpoint(token="given", token_file=file)
    for token in ("one", "two"):
        file.write_text(f"{token}\n")
        assert endpoint.metadata() == (("authorization", f"Bearer {token}"),)
    assert Endpoint(token="given").metadata() == (("authorization", "Bearer given"),)
    assert not Endpoint().metadata()
    assert "given" not in repr(endpoint)


# Following


def test_a_follower_survives_a_restart_and_misses_nothing(site_keys: Keys) -> None:
    async def main() -> None:
        log, lost, seen = MemoryLog(), list[Refused](), list[JobEvent]()
        async with serving(site_keys, log=log) as site:
            port = site.server.port
            jobs = JobsClient(site.endpoint())
            id = (await jobs.enqueue(SPEC)).id
            entries = follow(jobs, id, lost=lost.append)
            seen.append(await anext(entries))
        async with serving(site_keys, log=log, listen=f"127.0.0.1:{port}") as site:
            (granted,) = await WorkerCalls(site.broker).lease(
                ["default"], worker=WorkerId("w"), span=Millis(60_000), most=1, wait=None
            )
            await WorkerCalls(site.broker).complete(granted.token, DONE)
            seen += [entry async for entry in entries]
            await jobs.close()
        assert [entry.first for entry in seen] == [1, 2, 3]
        assert isinstance(seen[-1].body, JobFinished)
        assert lost

    asyncio.run(main())


def test_a_follower_who_never_saw_anything_gives_up_at_once(site_keys: Keys) -> None:
    async def main() -> None:
        jobs, _ = closed_port(site_keys, ())
        async with jobs:
            with pytest.raises(Unreachable):
                _ = [each async for each in follow(jobs, JobId("x"))]

    asyncio.run(main())


def test_a_follower_gives_up_on_a_server_that_stays_away(site_keys: Keys) -> None:
    async def main() -> None:
        lost = list[Refused]()
        async with serving(site_keys) as site:
            jobs = JobsClient(site.endpoint())
            id = (await jobs.enqueue(SPEC)).id
            entries = follow(jobs, id, lost=lost.append, patience=0.5)
            await anext(entries)
        with pytest.raises(Unreachable):
            await anext(entries)
        await jobs.close()
        assert len(lost) == 1

    asyncio.run(main())


def test_a_follower_of_a_job_that_is_known_outlives_a_first_failure(site_keys: Keys) -> None:
    async def main() -> None:
        log, lost = MemoryLog(), list[Refused]()
        async with serving(site_keys, log=log) as site:
            port = site.server.port
            jobs = JobsClient(site.endpoint())
            id = (await jobs.enqueue(SPEC)).id
        async with asyncio.TaskGroup() as tasks:
            entries = follow(jobs, id, known=True, stop_at_tail=True, lost=lost.append)
            first = tasks.create_task(anext(entries))
            await until(lambda: lost)
            async with serving(site_keys, log=log, listen=f"127.0.0.1:{port}"):
                assert (await first).first == 1
                assert [each async for each in entries] == []  # the tail is enough
        await jobs.close()

    asyncio.run(main())


def test_a_follower_reads_its_token_again_when_it_has_run_out(
    site_keys: Keys, tmp_path: Path
) -> None:
    async def main() -> None:
        file = tmp_path / "token"
        async with (
            serving(site_keys, gate=guarded(site_keys)) as site,
            JobsClient(site.endpoint(Role.USER)) as user,
        ):
            id = (await user.enqueue(SPEC)).id
            file.write_text(site_keys.token(Role.VIEWER, seconds=2))
            endpoint = replace(site.with_token(""), token_file=file)
            lost: list[Refused] = []

            def renew(refused: Refused) -> None:
                lost.append(refused)
                file.write_text(site_keys.token(Role.VIEWER))

            async with (
                JobsClient(endpoint) as jobs,
                aclosing(follow(jobs, id, lost=renew)) as entries,
            ):
                await anext(entries)
                async with asyncio.TaskGroup() as tasks:
                    following = tasks.create_task(anext(entries))
                    await until(lambda: lost)
                    await user.cancel(id)
                assert isinstance(following.result().body, JobFinished)
            assert isinstance(lost[0], Unauthenticated)

    asyncio.run(main())


# A worker's stream


def test_a_workers_whole_session_travels(site_keys: Keys) -> None:
    async def main() -> None:
        async with serving(site_keys) as site, JobsClient(site.endpoint()) as jobs:
            id = (await jobs.enqueue(SPEC)).id
            channel = await connect(site.endpoint())
            await channel.send(HELLO)
            assert await channel.receive() == Welcome("test", (), ())
            assignment = await channel.receive()
            assert isinstance(assignment, Assignment)
            assert (assignment.job.id, assignment.job.spec) == (id, SPEC)
            token = assignment.token
            chunk = Chunk(Stream.STDERR, b"\xff", Instant(7))
            await channel.send(Batch(token, 1, (ProcessStarted(1, Instant(5)), Output((chunk,)))))
            assert await channel.receive() == Stored(token, 2)
            await channel.send(Heartbeat((token, TaskToken("gone"))))
            assert await channel.receive() == Renewal((token,), (TaskToken("gone"),))
            await jobs.cancel(id)
            assert await channel.receive() == CancelOrder(token)
            await channel.send(Completion(token, 9, DONE))
            rejected = await channel.receive()
            assert isinstance(rejected, Rejected)
            assert (rejected.status, rejected.lease_lost) == ("FAILED_PRECONDITION", False)
            await channel.send(Completion(token, 2, DONE))
            assert await channel.receive() == Settled(token)
            await channel.close()
            entries = [each async for each in jobs.watch(id)]
            assert entries[1].body == JobLeased(WorkerId("w1"))
            assert entries[3].body == Output((chunk,))
            await until(lambda: not site.broker.connected_workers.serving(QueueKey("default")))

    asyncio.run(main())


def test_what_a_worker_says_at_once_is_heard_in_its_order_and_answered_at_once(
    site_keys: Keys,
) -> None:
    async def main() -> None:
        async with serving(site_keys) as site, JobsClient(site.endpoint()) as jobs:
            await jobs.enqueue_many([(SPEC, RequestId(""))] * 3)
            channel = await connect(site.endpoint())
            await channel.send_all((structs.replace(HELLO, slots=9, credit=1), Credit(2)))
            heard: list[FromServer] = [await channel.receive()]
            while len(heard) < 4:
                heard += await channel.receive_all()
            tokens = [each.token for each in heard if isinstance(each, Assignment)]
            assert len(tokens) == 3
            said: list[FromWorker] = [Completion(token, 0, DONE) for token in tokens]
            await channel.send_all([*said, Heartbeat(tuple(tokens))])
            answers = list[FromServer]()
            while len(answers) < 4:
                answers += await channel.receive_all()
            assert answers == [*map(Settled, tokens), Renewal((), tuple(tokens))]
            await channel.close()

    asyncio.run(main())


def test_a_worker_is_told_that_the_server_goes_and_then_that_it_is_gone(site_keys: Keys) -> None:
    async def main() -> None:
        async with serving(site_keys) as site, asyncio.TaskGroup() as tasks:
            channel = await connect(site.endpoint())
            await channel.send(HELLO)
            await channel.receive()
            tasks.create_task(site.server.stop())
            assert await channel.receive() == Drain()
            with pytest.raises(ChannelClosed):
                await channel.receive()
            with pytest.raises(ChannelClosed):
                await channel.send(HELLO)
            await channel.close()
            await channel.close()

    asyncio.run(main())


def test_a_worker_that_breaks_the_protocol_is_told_why(site_keys: Keys) -> None:
    async def main() -> None:
        async with serving(site_keys) as site:
            channel = await connect(site.endpoint())
            await channel.send(structs.replace(HELLO, queues=()))
            with pytest.raises(InvalidRequest, match=r"hello\.queues"):
                await channel.receive()
            await channel.close()

    asyncio.run(main())


def test_a_worker_without_a_server_is_told_so(site_keys: Keys) -> None:
    async def main() -> None:
        channel = await connect(Endpoint(server="127.0.0.1:1", ca_cert=site_keys.certs / "ca.pem"))
        with pytest.raises(ChannelClosed, match="no server answers"):
            await channel.receive()
        with pytest.raises(ChannelClosed, match="no server answers"):
            await channel.send(HELLO)
        await channel.close()

    asyncio.run(main())


# Refusals


@pytest.mark.parametrize(
    "sent",
    [
        InvalidRequest("queue", "is bad: very"),
        UnknownJob("x"),
        StaleLease(),
        CancelPending(),
        AlreadyFinished("over"),
        OutOfSequence(3, 7),
        Unreachable("away"),
    ],
)
def test_a_refusal_is_the_same_on_the_other_side(sent: Refused) -> None:
    got = make_refusal(sent.status, str(sent), type(sent).__name__)
    assert (type(got), str(got)) == (type(sent), str(sent))


def test_a_refusal_without_a_name_is_known_by_its_status() -> None:
    sent = UnknownJob("x")
    got = decode_refusal(encode_refusal(sent))
    assert (type(got), str(got)) == (UnknownJob, str(sent))
    assert type(make_refusal("UNKNOWN", "what")) is Refused


@pytest.mark.parametrize("code", [grpc.StatusCode.CANCELLED, grpc.StatusCode.DEADLINE_EXCEEDED])
def test_a_call_that_a_server_dropped_is_worth_another_try(code: grpc.StatusCode) -> None:
    error = grpc.aio.AioRpcError(code, grpc.aio.Metadata(), grpc.aio.Metadata(), "Cancelled")
    got = decode_call_error(error, "localhost:1")
    assert isinstance(got, Unreachable)
    assert "localhost:1" in str(got)


def test_a_cut_and_its_numbers_survive_the_wire_to_a_watcher(site_keys: Keys) -> None:
    async def main() -> None:
        async with serving(site_keys) as site, JobsClient(site.endpoint()) as jobs:
            id = (await jobs.enqueue(structs.replace(SPEC, output_bytes_max=1))).id
            (granted,) = await WorkerCalls(site.broker).lease(
                ["default"], worker=WorkerId("w"), span=Millis(60_000), most=1, wait=None
            )
            chunks = tuple(Chunk(Stream.STDOUT, b"ab", Instant(1)) for _ in range(4))
            await WorkerCalls(site.broker).publish(granted.token, [(1, Output(chunks))])
            await WorkerCalls(site.broker).complete(granted.token, DONE)
            entries = [each async for each in jobs.watch(id, from_sequence=4)]
            assert (entries[0].first, entries[0].body) == (4, OutputCut(3, 8))

    asyncio.run(main())
