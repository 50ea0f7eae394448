"""A client that knows only the published contract, and a worker that knows only that."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from functools import wraps
from uuid import UUID

import grpc
import pytest

from airunner.model.jobs import JobId, JobState
from airunner.model.limits import ARGS_BYTES_MAX
from airunner.model.namespaces import QueueKey
from airunner.wire.job.v1 import job_pb2 as pb
from tests.promises import holds
from tests.server.grpc.server_fixture import Keys, Served, serving, until

PARAMS = pb.JobParams(command="make", args=["test"], environment={"A": "1"})


def served(test: Callable[[Served], Awaitable[None]]) -> Callable[[Keys], None]:
    """Run a test against a server of its own."""

    @wraps(test)
    def run(site_keys: Keys) -> None:
        async def main() -> None:
            async with serving(site_keys) as site:
                await test(site)

        asyncio.run(main())

    del run.__dict__["__wrapped__"]  # pytest would ask for the arguments of the inner one
    return run


async def enqueue(site: Served, queue: str = "", key: str = "") -> str:
    request = pb.EnqueueJobRequest(queue=queue, job_params=PARAMS, request_id=key)
    return (await site.jobs().EnqueueJob(request)).job_id


async def lease(site: Served, queue: str = "", most: int = 0) -> list[pb.DequeueJobResponse]:
    call = site.jobs().DequeueJob(pb.DequeueJobRequest(queue=queue, max_jobs=most), timeout=10)
    return [response async for response in call]


async def leased(site: Served) -> tuple[str, str]:
    """A job that is in line, taken: its id and its task token."""
    id = await enqueue(site)
    (response,) = await lease(site)
    assert response.job.job_id == id
    return id, response.task_token


def batch(first: int, *outputs: bytes) -> pb.JobEvent:
    return pb.JobEvent(
        sequence=first,
        event_type=pb.EVENT_TYPE_OUTPUT_BATCH,
        output_batch=pb.OutputBatchEvent(
            outputs=[
                pb.OutputItem(output=each, stream_type=pb.STREAM_TYPE_STDOUT) for each in outputs
            ],
            start_sequence=first,
            end_sequence=first + len(outputs) - 1,
            first_timestamp_ms=1_700_000_000_000,
        ),
    )


def started(sequence: int) -> pb.JobEvent:
    return pb.JobEvent(
        sequence=sequence,
        event_type=pb.EVENT_TYPE_PROCESS_START,
        process_start=pb.ProcessStartEvent(pid=1),
    )


async def publish(site: Served, token: str, *events: pb.JobEvent) -> None:
    call = site.events().PublishJobEvents()
    await call.write(pb.PublishJobEventsRequest(task_token=token, events=events))
    await call.done_writing()
    await call


async def complete(site: Served, token: str, *, exit_code: int = 0) -> None:
    result = pb.JobResult(success=exit_code == 0, exit_code=exit_code)
    await site.jobs().CompleteJob(pb.CompleteJobRequest(task_token=token, job_result=result))


async def watch(
    site: Served, id: str, start: int = 0, at: int = 0, types: Iterable[pb.EventType.ValueType] = ()
) -> list[pb.JobEvent]:
    request = pb.StreamJobEventsRequest(
        job_id=id, from_sequence=start, from_timestamp=at, event_filter=types
    )
    return [each.event async for each in site.events().StreamJobEvents(request)]


def output(events: Iterable[pb.JobEvent]) -> bytes:
    return b"".join(item.output for each in events for item in each.output_batch.outputs)


async def refused(call: Awaitable[object]) -> grpc.StatusCode:
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await call
    code: grpc.StatusCode = error.value.code()
    return code


@served
async def test_a_job_is_enqueued_under_a_time_ordered_id(site: Served) -> None:
    request = pb.EnqueueJobRequest(job_params=PARAMS)
    response = await site.jobs().EnqueueJob(request)
    assert UUID(response.job_id).version == 7
    assert response.state == pb.JOB_STATE_SCHEDULED
    assert response.created_at.seconds > 1_700_000_000


@served
async def test_the_same_key_is_the_same_job_and_an_empty_key_is_none(site: Served) -> None:
    assert await enqueue(site, key="k") == await enqueue(site, key="k")
    assert await enqueue(site) != await enqueue(site)
    other = pb.EnqueueJobRequest(request_id="k", job_params=pb.JobParams(command="other"))
    assert await refused(site.jobs().EnqueueJob(other)) is grpc.StatusCode.ALREADY_EXISTS


@served
async def test_a_long_poll_waits_for_a_job_and_ends_with_it(site: Served) -> None:
    async with asyncio.TaskGroup() as tasks:
        poll = tasks.create_task(lease(site, "gpu"))
        await until(lambda: site.broker.connected_workers.serving(QueueKey("gpu")))
        id = await enqueue(site, "gpu")
    (response,) = poll.result()
    assert response.job.job_id == id
    assert response.job.job_params == site_params(response.job)
    assert response.job.state == pb.JOB_STATE_RUNNING
    assert response.job.execution_config.heartbeat_interval_seconds == 100
    assert response.task_token


def site_params(job: pb.Job) -> pb.JobParams:
    """The job's own parameters, which must have what was asked for in them."""
    assert (job.job_params.command, list(job.job_params.args)) == ("make", ["test"])
    assert dict(job.job_params.environment) == {"A": "1"}
    return job.job_params


@served
async def test_a_long_poll_ends_at_its_callers_deadline(site: Served) -> None:
    call = site.jobs().DequeueJob(pb.DequeueJobRequest(queue="empty"), timeout=0.2)
    with pytest.raises(grpc.aio.AioRpcError) as error:
        _ = [each async for each in call]
    assert error.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    await until(lambda: not site.broker.connected_workers.serving(QueueKey("empty")))


@served
async def test_a_long_poll_takes_no_job_that_would_come_after_its_deadline(site: Served) -> None:
    call = site.jobs().DequeueJob(pb.DequeueJobRequest(), timeout=2)
    await until(lambda: site.broker.connected_workers.serving(QueueKey("default")))
    await until(lambda: not site.broker.connected_workers.serving(QueueKey("default")))
    assert not call.done()
    id = await enqueue(site)
    assert await call.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert site.broker.engine.table.job(JobId(id)).attempt == 0


@served
async def test_several_jobs_come_in_their_order(site: Served) -> None:
    ids = [await enqueue(site) for _ in range(3)]
    assert [each.job.job_id for each in await lease(site, most=2)] == ids[:2]


@holds("jobs/undelivered-lease-returns")
@served
async def test_jobs_that_could_not_be_delivered_go_back_to_their_place(site: Served) -> None:
    params = pb.JobParams(command="x", environment={"BIG": "x" * 200_000})
    for _ in range(60):
        await site.jobs().EnqueueJob(pb.EnqueueJobRequest(job_params=params))
    call = site.jobs().DequeueJob(pb.DequeueJobRequest(max_jobs=60), timeout=10)
    await call.read()
    lines = site.broker.engine.table.lines
    assert lines.count(QueueKey("default"), JobState.RUNNING) == 60
    call.cancel()
    await until(lambda: lines.count(QueueKey("default"), JobState.SCHEDULED) > 0)
    await site.broker.after_durable(None)
    jobs = [job for job in site.broker.engine.table.jobs() if job.state is JobState.SCHEDULED]
    assert all((job.attempt, job.failures) == (1, 0) for job in jobs)
    assert "call_failed" not in site.lines.getvalue()


@served
async def test_a_heartbeat_extends_the_lease(site: Served) -> None:
    id, token = await leased(site)
    before = site.broker.engine.table.job(JobId(id)).lease
    await site.jobs().UpdateJob(
        pb.UpdateJobRequest(task_token=token, visibility_timeout_seconds=600)
    )
    after = site.broker.engine.table.job(JobId(id)).lease
    assert before is not None
    assert after is not None
    assert (before.span, after.span) == (300_000, 600_000)
    assert after.until > before.until


@served
async def test_after_a_cancel_a_heartbeat_is_refused_and_completion_is_not(site: Served) -> None:
    id, token = await leased(site)
    await site.jobs().CancelJob(pb.CancelJobRequest(job_id=id))
    beat = pb.UpdateJobRequest(task_token=token)
    assert await refused(site.jobs().UpdateJob(beat)) is grpc.StatusCode.FAILED_PRECONDITION
    await publish(site, token, started(1))
    await complete(site, token)
    assert site.broker.engine.table.job(JobId(id)).state is JobState.CANCELLED


@served
async def test_what_is_published_twice_is_stored_once(site: Served) -> None:
    id, token = await leased(site)
    await publish(site, token, started(1), batch(2, b"a", b"b"))
    await publish(site, token, started(1), batch(2, b"a", b"b", b"c"), batch(5, b"d"))
    await complete(site, token)
    events = await watch(site, id)
    assert output(events) == b"abcd"
    reached = 0
    for event in events:
        assert event.sequence == reached + 1
        reached = event.output_batch.end_sequence or event.sequence


@served
async def test_each_attempt_numbers_from_one_and_none_hides_another(site: Served) -> None:
    id, token = await leased(site)
    await publish(site, token, batch(1, b"first"))
    await site.jobs().ReleaseJob(pb.ReleaseJobRequest(task_token=token))
    (again,) = await lease(site)
    await publish(site, again.task_token, batch(1, b"second"))
    await complete(site, again.task_token)
    assert output(await watch(site, id)) == b"firstsecond"


@served
async def test_a_stale_token_is_refused_for_everything(site: Served) -> None:
    _, token = await leased(site)
    await site.jobs().ReleaseJob(pb.ReleaseJobRequest(task_token=token))
    calls: list[Awaitable[object]] = [
        publish(site, token, batch(1, b"late")),
        complete(site, token),
        site.jobs().UpdateJob(pb.UpdateJobRequest(task_token=token)),
    ]
    for call in calls:
        assert await refused(call) is grpc.StatusCode.FAILED_PRECONDITION


@served
async def test_the_same_completion_twice_is_fine_and_another_is_not(site: Served) -> None:
    id, token = await leased(site)
    await complete(site, token, exit_code=3)
    await complete(site, token, exit_code=3)
    assert site.broker.engine.table.job(JobId(id)).state is JobState.FAILED
    assert await refused(complete(site, token)) is grpc.StatusCode.FAILED_PRECONDITION


@served
async def test_a_completion_without_a_result_is_refused(site: Served) -> None:
    _, token = await leased(site)
    call = site.jobs().CompleteJob(pb.CompleteJobRequest(task_token=token))
    assert await refused(call) is grpc.StatusCode.INVALID_ARGUMENT


@served
async def test_a_page_of_the_largest_jobs_fits_a_message(site: Served) -> None:
    params = pb.JobParams(command="true", args=["x" * ARGS_BYTES_MAX])
    for _ in range(130):
        await site.jobs().EnqueueJob(pb.EnqueueJobRequest(job_params=params))
    page = await site.jobs().ListJobs(pb.ListJobsRequest(page_size=200))
    assert [list(job.shortened) for job in page.jobs] == [["args"]] * 130


@served
async def test_listing_has_pages_newest_first_and_filters(site: Served) -> None:
    ids = [await enqueue(site) for _ in range(5)]
    await enqueue(site, "other")
    pages = [
        await site.jobs().ListJobs(pb.ListJobsRequest(queue="default", page=page, page_size=2))
        for page in (0, 1, 2, 3)
    ]
    assert [[job.job_id for job in page.jobs] for page in pages] == [
        ids[:2:-1],
        ids[:2:-1],
        ids[2:0:-1],
        ids[:1],
    ]
    assert {page.last_page for page in pages} == {3}
    running = pb.ListJobsRequest(state=pb.JOB_STATE_RUNNING)
    assert not (await site.jobs().ListJobs(running)).jobs
    assert len((await site.jobs().ListJobs(pb.ListJobsRequest())).jobs) == 6


@served
async def test_a_monitor_sees_everything_live_and_ends_by_itself(site: Served) -> None:
    id = await enqueue(site)
    seen: list[pb.JobEvent] = []

    async def monitor() -> None:
        call = site.events().StreamJobEvents(pb.StreamJobEventsRequest(job_id=id))
        async for response in call:
            seen.append(response.event)  # noqa: PERF401  # others look at it meanwhile

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(monitor())
        (response,) = await lease(site)
        await publish(site, response.task_token, batch(1, b"live"))
        await until(lambda: output(seen) == b"live")
        await complete(site, response.task_token)
    assert seen[-1].finished.state == pb.JOB_STATE_COMPLETED
    assert seen[-1].finished.result.job_id == id


@holds("logs/watchers-are-independent")
@served
async def test_a_monitor_resumes_inside_a_batch(site: Served) -> None:
    id, token = await leased(site)
    await publish(site, token, batch(1, b"a", b"b", b"c"))  # sequences 3, 4, 5
    await complete(site, token)
    first, *rest = await watch(site, id, start=4)
    assert (first.sequence, first.output_batch.start_sequence, first.output_batch.end_sequence) == (
        4,
        4,
        5,
    )
    assert output([first]) == b"bc"
    assert [each.event_type for each in rest] == [pb.EVENT_TYPE_FINISHED]


@served
async def test_a_monitor_sees_a_cut_that_grows_without_a_double(site: Served) -> None:
    params = pb.JobParams()
    params.CopyFrom(PARAMS)
    params.output_bytes_max = 1
    id = (await site.jobs().EnqueueJob(pb.EnqueueJobRequest(job_params=params))).job_id
    (response,) = await lease(site)
    call = site.events().StreamJobEvents(pb.StreamJobEventsRequest(job_id=id))
    await publish(site, response.task_token, batch(1, b"a", b"b"))  # sequences 3 and 4
    seen = [(await anext(aiter(call))).event for _ in range(4)]
    await publish(site, response.task_token, batch(3, b"c"))
    seen.append((await anext(aiter(call))).event)
    assert [each.sequence for each in seen] == [1, 2, 3, 4, 5]
    assert [each.output_cut.end_sequence for each in seen[3:]] == [4, 5]
    call.cancel()


@served
async def test_a_filter_leaves_out_what_was_not_asked_for_live_and_stored(site: Served) -> None:
    id, token = await leased(site)
    await publish(site, token, started(1), batch(2, b"x"))
    async with asyncio.TaskGroup() as tasks:
        live = tasks.create_task(watch(site, id, types=[pb.EVENT_TYPE_PROCESS_START]))
        await until(lambda: JobId(id) in site.broker.engine.watched)
        await publish(site, token, batch(3, b"y"))
        await complete(site, token)
    stored = await watch(site, id, types=[pb.EVENT_TYPE_PROCESS_START])
    assert stored == live.result()
    assert not output(stored)
    assert pb.EVENT_TYPE_PROCESS_START in [each.event_type for each in stored]
    assert pb.EVENT_TYPE_FINISHED in [each.event_type for each in stored]


@served
async def test_a_monitor_may_begin_at_a_time(site: Served) -> None:
    id, token = await leased(site)
    await publish(site, token, batch(1, b"x"))
    await complete(site, token)
    everything = await watch(site, id)
    at = everything[-1].timestamp.ToMilliseconds()
    later = await watch(site, id, at=at)
    assert later == [each for each in everything if each.timestamp.ToMilliseconds() >= at]
    assert not await watch(site, id, at=at + 1)


@served
async def test_bad_requests_are_refused_with_the_field_named(site: Served) -> None:
    jobs, events = site.jobs(), site.events()

    calls: dict[str, Awaitable[object]] = {
        "queue": jobs.EnqueueJob(pb.EnqueueJobRequest(queue="a b", job_params=PARAMS)),
        "command": jobs.EnqueueJob(pb.EnqueueJobRequest()),
        "request_id": jobs.EnqueueJob(
            pb.EnqueueJobRequest(request_id="x" * 257, job_params=PARAMS)
        ),
        "page_size": jobs.ListJobs(pb.ListJobsRequest(page_size=1001)),
        "visibility_timeout_seconds": jobs.UpdateJob(
            pb.UpdateJobRequest(task_token="x", visibility_timeout_seconds=43_201)
        ),
        "max_jobs": jobs.DequeueJob(pb.DequeueJobRequest(max_jobs=101)).read(),
        "from_sequence": events.StreamJobEvents(pb.StreamJobEventsRequest(from_sequence=-1)).read(),
        "events.event_data": publish(site, "x", pb.JobEvent(sequence=1)),
    }
    for field, call in calls.items():
        with pytest.raises(grpc.aio.AioRpcError) as error:
            await call
        assert error.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert str(error.value.details()).startswith(f"{field}: ")


@served
async def test_an_unknown_job_cannot_be_watched(site: Served) -> None:
    assert await refused(watch(site, "nobody")) is grpc.StatusCode.NOT_FOUND
