"""What published workers and clients do that ours do not: backlogs, no times, no ids, many pings."""

import asyncio
import re
from random import Random

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from airunner.log.memory import MemoryLog
from airunner.model.jobs import Instant, JobId, TaskToken
from airunner.model.limits import (
    INTAKE_TEXT_BYTES_MAX,
    MIB,
    OUTCOME_ERROR_BYTES_MAX,
    PING_MILLIS_MIN,
)
from airunner.model.proof.proof import LogVerifier, Whole
from airunner.model.reports import Chunk, Output, ProcessStarted, Report, Stream
from airunner.server.intake import CHUNK_BYTES_MAX
from airunner.server.worker_calls import WorkerCalls
from airunner.wire.client.jobs_client import JobsClient
from airunner.wire.job.v1 import job_pb2 as pb
from tests.server.grpc.server_fixture import Keys, Served, serving
from tests.server.grpc.test_published_client import (
    batch,
    complete,
    enqueue,
    lease,
    leased,
    output,
    publish,
    refused,
    served,
    started,
    watch,
)

REPOSITORY = "https://example.org/x.git"


async def handed_over(site: Served, **fields: object) -> pb.JobParams:
    """The parameters that a worker gets of a job with these."""
    params = pb.JobParams(command="make", repository=REPOSITORY, **fields)  # type: ignore[arg-type]
    await site.jobs().EnqueueJob(pb.EnqueueJobRequest(job_params=params))
    (response,) = await lease(site)
    return response.job.job_params


@served
async def test_a_repository_is_cloned_only_where_that_was_asked_for(site: Served) -> None:
    assert not (await handed_over(site)).git_clone.enabled
    assert not (await handed_over(site, git_clone=pb.GitCloneConfig(depth=3))).git_clone.enabled
    asked = pb.GitCloneConfig(enabled=True, depth=3, single_branch=True, submodules="none")
    assert (await handed_over(site, git_clone=asked)).git_clone == asked


@served
async def test_a_depth_of_zero_is_the_whole_history(site: Served) -> None:
    params = await handed_over(site, git_clone=pb.GitCloneConfig(enabled=True))
    assert (params.git_clone.enabled, params.git_clone.depth) == (True, 0)


@pytest.mark.parametrize("commit", ["main", "v1.0", "main~2", "refs/pull/7/head", "abcd"])
def test_any_revision_is_a_commit(commit: str, site_keys: Keys) -> None:
    async def main() -> None:
        async with serving(site_keys) as site:
            assert (await handed_over(site, commit=commit)).commit == commit

    asyncio.run(main())


@served
async def test_a_result_of_another_job_is_refused(site: Served) -> None:
    other = await enqueue(site, "other")
    id, token = await leased(site)
    for wrong in (other, "nobody"):
        result = pb.JobResult(job_id=wrong, success=True)
        call = site.jobs().CompleteJob(pb.CompleteJobRequest(task_token=token, job_result=result))
        assert await refused(call) is grpc.StatusCode.INVALID_ARGUMENT
    result = pb.JobResult(job_id=id, success=True)
    for _ in range(2):  # the answer was lost
        await site.jobs().CompleteJob(pb.CompleteJobRequest(task_token=token, job_result=result))


async def verified(site: Served, id: str) -> None:
    """Assert that a reader can prove the whole log of a job that has ended."""
    verifier = LogVerifier()
    async with JobsClient(site.endpoint()) as jobs:
        async for event in jobs.watch(JobId(id)):
            verifier.add(event)
    assert isinstance(verifier.verdict(), Whole), verifier.verdict()


@served
async def test_a_backlog_in_one_message_is_stored_in_parts_and_once(site: Served) -> None:
    id, token = await leased(site)
    large = Random(1).randbytes(9 * MIB)
    small = [b"%d\n" % number for number in range(3_500)]
    backlog = [started(1), batch(2, large), batch(3, *small), batch(3_503, b"a" * MIB, b"end")]
    await publish(site, token, *backlog[:2])
    await publish(site, token, *backlog)
    await complete(site, token)
    events = await watch(site, id)
    assert output(events) == large + b"".join(small) + b"a" * MIB + b"end"
    chunks = [item.output for event in events for item in event.output_batch.outputs]
    assert max(map(len, chunks)) == CHUNK_BYTES_MAX
    await verified(site, id)


@served
async def test_unnumbered_output_of_any_size_is_stored(site: Served) -> None:
    id, token = await leased(site)
    for data in (b"x" * 5 * MIB, b"", b"y"):
        await publish(site, token, pb.JobEvent(output=pb.OutputEvent(output=data)))
    await complete(site, token)
    assert output(await watch(site, id)) == b"x" * 5 * MIB + b"y"
    await verified(site, id)


@served
async def test_a_stale_token_is_refused_without_any_event(site: Served) -> None:
    assert await refused(publish(site, "stale")) is grpc.StatusCode.FAILED_PRECONDITION


@served
async def test_reports_without_times_have_the_servers(site: Served) -> None:
    id, token = await leased(site)
    await publish(
        site,
        token,
        pb.JobEvent(sequence=1, output=pb.OutputEvent(output=b"a")),
        pb.JobEvent(sequence=2, process_start=pb.ProcessStartEvent(pid=1)),
        pb.JobEvent(sequence=3, output_batch=pb.OutputBatchEvent(outputs=[pb.OutputItem()] * 2)),
        pb.JobEvent(
            sequence=5, timestamp=Timestamp(seconds=-1), git_clone_start=pb.GitCloneStartEvent()
        ),
    )
    await complete(site, token)
    events = await watch(site, id)
    begins = [
        each.output_batch.first_timestamp_ms for each in events if each.HasField("output_batch")
    ]
    assert all(begin > 1_700_000_000_000 for begin in begins)
    (process,) = (each.process_start for each in events if each.HasField("process_start"))
    assert process.started_at.seconds > 1_700_000_000
    await verified(site, id)


def strange_event(dice: Random, sequence: int) -> pb.JobEvent:
    """An event with extreme numbers and times, some of them unset."""

    def stamp() -> Timestamp:
        return Timestamp(
            seconds=dice.choice((0, -1, 1, 1_700_000_000, 253_402_300_799)),
            nanos=dice.choice((0, 1, 999_999_999)),
        )

    span = Duration(seconds=dice.choice((-5, 0, 315_576_000_000)), nanos=0)
    small = dice.choice((-(2**31), -1, 0, 7, 2**31 - 1))
    text = dice.choice(("", "\0", "\x9b31m", "é" * 20_000, "x" * 9))
    event = pb.JobEvent(sequence=sequence)
    if dice.random() < 0.7:
        event.timestamp.CopyFrom(stamp())
    data: dict[str, object] = {
        "process_start": pb.ProcessStartEvent(pid=small, started_at=stamp()),
        "process_end": pb.ProcessEndEvent(pid=small, exit_code=small, run_duration=span),
        "process_error": pb.ProcessErrorEvent(error_message=text),
        "heartbeat": pb.HeartbeatEvent(elapsed_time=span, process_alive=True),
        "output": pb.OutputEvent(output=text.encode()),
        "terminal_resize": pb.TerminalResizeEvent(cols=small, rows=small),
        "container_create": pb.ContainerCreateEvent(image=text, created_at=stamp()),
        "image_pull_progress": pb.ImagePullProgressEvent(status=text, total_bytes=-(2**63)),
        "git_clone_error": pb.GitCloneErrorEvent(error_message=text, stderr_output=text),
        "remark": pb.RemarkEvent(message=text),
        "output_batch": pb.OutputBatchEvent(
            first_timestamp_ms=dice.choice((0, 1, 1_700_000_000_000, 253_402_300_799_000)),
            outputs=[
                pb.OutputItem(
                    output=b"z", timestamp_delta_ms=dice.choice((-(2**31), -1, 0, 9, 2**31 - 1))
                )
                for _ in range(dice.choice((0, 1, 3)))
            ],
        ),
    }
    kind = dice.choice(list(data))
    getattr(event, kind).CopyFrom(data[kind])
    return event


@served
async def test_a_log_of_strange_reports_is_proven_whole(site: Served) -> None:
    for seed in range(20):
        dice = Random(seed)
        id, token = await leased(site)
        number = 1
        for _ in range(40):
            event = strange_event(dice, number)
            await publish(site, token, event)
            number += max(1, len(event.output_batch.outputs))
        await complete(site, token)
        await verified(site, id)


def test_a_stored_time_of_zero_is_read_as_it_was_stored(site_keys: Keys) -> None:
    """Older servers stored it for a worker that set no times."""

    async def main() -> None:
        async with serving(site_keys, log=MemoryLog()) as site:
            id, token = await leased(site)
            chunk = Chunk(Stream.STDOUT, b"x", Instant(0))
            reports: list[tuple[int, Report]] = [
                (1, Output((chunk, chunk))),
                (3, ProcessStarted(1, Instant(0))),
            ]
            WorkerCalls(site.broker).publish_decided(TaskToken(token), reports)
            await complete(site, token)
            await verified(site, id)

    asyncio.run(main())


@served
async def test_long_texts_are_cut_with_a_mark(site: Served) -> None:
    id, token = await leased(site)
    long = "begin " + "ä" * 100_000 + " end"
    failed = pb.ProcessErrorEvent(error_message=long)
    await publish(site, token, pb.JobEvent(sequence=1, process_error=failed))
    result = pb.JobResult(success=False, exit_code=1, error_message=long)
    for _ in range(2):  # the repeated completion is the same one
        await site.jobs().CompleteJob(pb.CompleteJobRequest(task_token=token, job_result=result))
    error = next(e.process_error for e in await watch(site, id) if e.HasField("process_error"))
    job = (await site.jobs().GetJob(pb.GetJobRequest(job_id=id))).job
    for text, most in (
        (error.error_message, INTAKE_TEXT_BYTES_MAX),
        (job.result.error_message, OUTCOME_ERROR_BYTES_MAX),
    ):
        assert most - 72 < len(text.encode()) <= most
        assert text.startswith("begin ")
        assert text.endswith(" end")
        (cut,) = re.findall(r" \.\.\. \[([\d,]+) bytes cut\] \.\.\. ", text)
        assert 0 <= int(cut.replace(",", "")) - (len(long.encode()) - most) <= 72
    await verified(site, id)


def test_pings_on_a_silent_stream_do_not_end_it(site_keys: Keys) -> None:
    """gRPC takes one each 5 minutes unless it is told otherwise, and ends the third that is early."""

    async def main() -> None:
        async with serving(site_keys) as site:
            options = (
                ("grpc.keepalive_time_ms", PING_MILLIS_MIN + 50),
                ("grpc.keepalive_permit_without_calls", 1),
                ("grpc.http2.max_pings_without_data", 0),
            )
            credentials = grpc.ssl_channel_credentials((site_keys.certs / "ca.pem").read_bytes())
            async with grpc.aio.secure_channel(site.address, credentials, options) as channel:
                poll: grpc.aio.UnaryUnaryMultiCallable[pb.DequeueJobRequest, bytes]
                poll = channel.unary_unary(
                    "/job.v1.JobService/DequeueJob",
                    request_serializer=pb.DequeueJobRequest.SerializeToString,
                )
                with pytest.raises(grpc.aio.AioRpcError) as ended:
                    await poll(pb.DequeueJobRequest(queue="empty"), timeout=7)
                assert ended.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED

    asyncio.run(main())
