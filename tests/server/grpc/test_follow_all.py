"""Following all jobs, through a real server."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import replace
from functools import wraps
from pathlib import Path

import pytest

from airunner.log.memory import MemoryLog
from airunner.log.sqlite.log import SqliteLog
from airunner.model.errors import (
    DataLoss,
    InvalidRequest,
    Refused,
    ShuttingDown,
    Unauthenticated,
    Unreachable,
)
from airunner.model.job_events import JobEvent, JobFinished, event_kind
from airunner.model.jobs import JobId, JobRequest, Millis, Outcome, Position, Reason, WorkerId
from airunner.model.reports import Remark
from airunner.model.spec import JobSpec
from airunner.server.client_calls import ClientCalls
from airunner.server.grpc.events import PLACES_UNSAID_MAX
from airunner.server.policy import Role
from airunner.server.worker_calls import WorkerCalls
from airunner.wire.client.follow import follow_all
from airunner.wire.client.jobs_client import EventBatch, JobsClient
from airunner.wire.job.v1 import job_pb2 as pb
from tests.log.sqlite.sample_logs import age
from tests.promises import holds
from tests.server.grpc.server_fixture import Keys, Served, guarded, serving, until

DONE = Outcome(reason=Reason.EXITED, exit_code=0)


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


async def run_job(site: Served, queue: str = "default", remarks: int = 0) -> JobId:
    """A job from its enqueueing to its end."""
    spec = JobSpec(command="make", queue=queue, environment={"SECRET": "hush"})
    job = await ClientCalls(site.broker).enqueue(JobRequest(spec=spec))
    (granted,) = await WorkerCalls(site.broker).lease(
        [queue], worker=WorkerId("w"), span=Millis(60_000)
    )
    for first in range(1, remarks + 1, 1_000):
        numbers = range(first, min(first + 1_000, remarks + 1))
        await WorkerCalls(site.broker).publish(
            granted.token, [(number, Remark("!")) for number in numbers]
        )
    await WorkerCalls(site.broker).complete(granted.token, DONE)
    return job.id


class Ear:
    """What one who follows all jobs has heard."""

    def __init__(self, stream: AsyncGenerator[EventBatch, None]) -> None:
        self._stream = stream
        self.entries: list[tuple[JobId, JobEvent]] = []
        self.begun = 0

    async def hear(self) -> EventBatch:
        heard = await anext(self._stream)
        self.entries += heard.events
        self.begun += heard.restarted
        return heard

    async def until_ended(self, *ids: JobId) -> None:
        left = set(ids)
        while left := left - {
            id for id, each in self.entries if isinstance(each.body, JobFinished)
        }:
            await self.hear()

    def kinds(self, id: JobId) -> list[str]:
        return [event_kind(each.body) for of, each in self.entries if of == id]

    async def close(self) -> None:
        await self._stream.aclose()


@served
async def test_all_jobs_are_told_of_from_now_on(site: Served) -> None:
    async with JobsClient(site.endpoint()) as jobs:
        before = await run_job(site)
        ear = Ear(jobs.watch_all())
        heard = await ear.hear()
        assert (heard.events, heard.restarted, heard.position) == ([], True, site.broker.tail)
        ids = [await run_job(site, queue) for queue in ("one", "two")]
        await ear.until_ended(*ids)
        assert ear.kinds(before) == []
        assert [ear.kinds(id) for id in ids] == [["enqueued", "leased", "finished"]] * 2
        await ear.close()


@served
async def test_all_jobs_are_told_of_from_a_place_on(site: Served) -> None:
    async with JobsClient(site.endpoint()) as jobs:
        ear = Ear(jobs.watch_all())
        heard = await ear.hear()
        id = await run_job(site)
        for _ in range(2):
            again = Ear(jobs.watch_all(after=heard.position, log=heard.log))
            assert not (await again.hear()).restarted
            await again.until_ended(id)
            assert again.kinds(id) == ["enqueued", "leased", "finished"]
            await again.close()
        await ear.close()


@served
async def test_only_the_jobs_of_a_queue_are_told_of_or_only_some_kinds(site: Served) -> None:
    async with JobsClient(site.endpoint()) as jobs:
        ear, ends = Ear(jobs.watch_all(queue="b")), Ear(jobs.watch_all(kinds=["finished"]))
        for each in (ear, ends):
            await each.hear()
        ids = [await run_job(site, queue) for queue in "aba"]
        await ear.until_ended(ids[1])
        await ends.until_ended(*ids)
        assert {id for id, _ in ear.entries} == {ids[1]}
        assert [(id, event_kind(each.body)) for id, each in ends.entries] == [
            (id, "finished") for id in ids
        ]
        for each in (ear, ends):
            await each.close()


@served
async def test_who_filters_much_out_is_told_how_far_the_log_has_come(site: Served) -> None:
    async with JobsClient(site.endpoint()) as jobs:
        ear = Ear(jobs.watch_all(queue="quiet"))
        begin = (await ear.hear()).position
        await run_job(site, remarks=PLACES_UNSAID_MAX)
        heard = await ear.hear()
        assert (ear.entries, heard.restarted) == ([], False)
        assert PLACES_UNSAID_MAX <= heard.position - begin <= PLACES_UNSAID_MAX + 1_000
        await ear.close()


@served
async def test_a_stream_has_no_value_of_an_environment(site: Served) -> None:
    call = site.events().StreamEvents(pb.StreamEventsRequest())
    said = list[bytes]()
    async for response in call:
        if not said:
            id = await run_job(site)
        said.append(response.SerializeToString())
        if any(each.event.HasField("finished") for each in response.events):
            break
    call.cancel()
    assert id.encode() in b"".join(said)
    assert b"hush" not in b"".join(said)


@served
async def test_what_cannot_be_followed_is_refused(site: Served) -> None:
    await run_job(site)
    async with JobsClient(site.endpoint()) as jobs:
        place = (await anext(jobs.watch_all())).position
        for refusal, stream in (
            (DataLoss, jobs.watch_all(after=Position(place + 1))),
            (DataLoss, jobs.watch_all(after=place, log="another")),
            (InvalidRequest, jobs.watch_all(after=Position(-1))),
            (InvalidRequest, jobs.watch_all(queue="no queue")),
            (InvalidRequest, jobs.watch_all(kinds=["unspecified"])),
        ):
            with pytest.raises(refusal):
                await anext(stream)


@served
async def test_a_server_that_stops_sends_away_who_follows_all_jobs(site: Served) -> None:
    async with JobsClient(site.endpoint()) as jobs, asyncio.TaskGroup() as tasks:
        stream = jobs.watch_all()
        await anext(stream)
        parked = tasks.create_task(refused(stream))
        site.broker.stop()
        assert isinstance(await parked, ShuttingDown | Unreachable)


async def refused(stream: AsyncGenerator[EventBatch, None]) -> Refused:
    with pytest.raises(Refused) as refusal:
        await anext(stream)
    return refusal.value


def test_a_stream_of_all_jobs_is_for_who_may_look_while_its_token_is_good(
    site_keys: Keys,
) -> None:
    async def main() -> None:
        async with serving(site_keys, gate=guarded(site_keys)) as site:
            for role in Role:
                async with JobsClient(site.endpoint(role)) as jobs:
                    assert (await anext(jobs.watch_all())).restarted
            async with JobsClient(site.with_token("")) as jobs:
                with pytest.raises(Unauthenticated):
                    await anext(jobs.watch_all())
            token = site_keys.token(Role.VIEWER, seconds=2)
            async with JobsClient(site.with_token(token)) as jobs:
                with pytest.raises(Unauthenticated, match="has expired"):
                    _ = [each async for each in jobs.watch_all()]

    asyncio.run(main())


def test_a_follower_of_all_jobs_goes_on_over_a_restart_and_misses_nothing(site_keys: Keys) -> None:
    async def main() -> None:
        log, lost = MemoryLog(), list[Refused]()
        async with serving(site_keys, log=log) as site:
            port = site.server.port
            jobs = JobsClient(site.endpoint())
            ear = Ear(follow_all(jobs, lost=lost.append))
            await ear.hear()
            ids = [await run_job(site)]
            await ear.until_ended(ids[0])
        async with serving(site_keys, log=log, listen=f"127.0.0.1:{port}") as site:
            ids += [await run_job(site), await run_job(site)]
            await ear.until_ended(*ids)
            assert [ear.kinds(id) for id in ids] == [["enqueued", "leased", "finished"]] * 3
            assert (ear.begun, len(lost)) == (1, 1)
            await ear.close()
            await jobs.close()

    asyncio.run(main())


@holds("logs/follower-misses-nothing")
def test_a_follower_of_all_jobs_begins_anew_where_the_log_is_another(site_keys: Keys) -> None:
    async def main() -> None:
        lost = list[Refused]()
        async with serving(site_keys) as site:
            port = site.server.port
            jobs = JobsClient(site.endpoint())
            ear = Ear(follow_all(jobs, lost=lost.append))
            await ear.hear()
        async with serving(site_keys, listen=f"127.0.0.1:{port}") as site:
            await run_job(site)  # so that there may be a place of the same number
            while ear.begun < 2:
                await ear.hear()
            id = await run_job(site)
            await ear.until_ended(id)
            assert ear.kinds(id) == ["enqueued", "leased", "finished"]
            assert isinstance(lost[-1], DataLoss)
            await ear.close()
            await jobs.close()

    asyncio.run(main())


@holds("logs/follower-misses-nothing", "log-file/names-tell-logs-apart")
def test_a_follower_of_all_jobs_crosses_the_upgrade_of_a_log_to_a_name_of_its_own(
    site_keys: Keys, tmp_path: Path
) -> None:
    async def main() -> None:
        log = SqliteLog.open(path := tmp_path / "log")
        async with serving(site_keys, log=log) as site:
            first, end = await run_job(site), site.broker.tail
        await log.close()
        age(path)
        log = SqliteLog.open(path)
        async with serving(site_keys, log=log) as site, JobsClient(site.endpoint()) as jobs:
            for place, missed in ((end - 2, ["leased", "finished"]), (end, [])):
                ear = Ear(jobs.watch_all(after=Position(place), log="file"))
                heard = await ear.hear()
                assert (heard.position, heard.log, heard.restarted) == (place, log.name, False)
                id = await run_job(site)
                await ear.until_ended(id)
                assert ear.kinds(first) == missed
                assert ear.kinds(id) == ["enqueued", "leased", "finished"]
                await ear.close()
            with pytest.raises(DataLoss, match=f"has no place {end + 1}: it has lost it, or is an"):
                await anext(jobs.watch_all(after=Position(end + 1), log="file"))
            ear = Ear(jobs.watch_all(after=Position(end + 1), log=log.name))
            assert not (await ear.hear()).restarted
            await ear.close()
        await log.close()

    asyncio.run(main())


def test_a_follower_of_all_jobs_gives_up_where_nobody_ever_answered(site_keys: Keys) -> None:
    async def main() -> None:
        async with serving(site_keys) as site:
            endpoint = site.endpoint()
        async with JobsClient(endpoint) as jobs:
            with pytest.raises(Unreachable):
                await anext(follow_all(jobs))

    asyncio.run(main())


def test_a_follower_of_all_jobs_reads_its_token_again(site_keys: Keys, tmp_path: Path) -> None:
    async def main() -> None:
        file = tmp_path / "token"
        file.write_text(site_keys.token(Role.VIEWER, seconds=2))

        def renew(refusal: Refused) -> None:
            assert isinstance(refusal, Unauthenticated)
            file.write_text(site_keys.token(Role.VIEWER))

        async with serving(site_keys, gate=guarded(site_keys)) as site:
            endpoint = replace(site.with_token(""), token_file=file)
            async with JobsClient(endpoint) as jobs, asyncio.TaskGroup() as tasks:
                ear = Ear(follow_all(jobs, lost=renew))
                await ear.hear()
                hearing = tasks.create_task(ear.hear())
                await until(hearing.done)  # its second stream has begun
                id = await run_job(site)
                await ear.until_ended(id)
                assert ear.begun == 1
                await ear.close()

    asyncio.run(main())
