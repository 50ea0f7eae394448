"""Compatibility with commit ea7f2a1: its golden log, spools and results work with any later code.

The data are a log, the folder of a killed worker, and folders of results; make.py describes them.
Later code may add fields. It may also refuse specs of new jobs that the golden log holds, but
replay, lists, leases and repeated requests must accept the old jobs for ever.
"""

import asyncio
import json
import subprocess
from collections import Counter
from collections.abc import Iterator
from contextlib import aclosing
from hashlib import sha256
from itertools import chain
from pathlib import Path

import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from airunner.log.records import decode_fact, decode_report, encode_fact, encode_report
from airunner.model.errors import DataLoss, IdempotencyConflict
from airunner.model.job_query import JobQuery
from airunner.model.jobs import JobId, JobState, Position, TaskToken
from airunner.model.spec import JobSpec
from airunner.wire.client.artifacts_client import ArtifactsClient
from airunner.wire.client.endpoint import dial
from airunner.wire.client.jobs_client import JobsClient
from airunner.wire.codec.jobs import decode_job
from airunner.wire.codec.outcomes import encode_outcome
from airunner.wire.job.v1 import job_pb2 as pb
from airunner.wire.job.v1.job_pb2_grpc import JobEventsServiceStub, JobServiceStub
from tests.golden.core import replayed, requests
from tests.golden.data import (
    LOG,
    Json,
    differences,
    expected,
    plain,
    records,
    stream_facts,
    tree,
    unpack,
)
from tests.golden.site import (
    SOURCES,
    WORK,
    GoldenSite,
    destination,
    ends,
    followed,
    pages,
    refused,
    served,
    spools,
    told_of,
)
from tests.support.installation import AIRUNNER

KINDS = {str(kind) for kind in (*range(1, 11), *range(32, 52))}  # of records, for ever


FETCHED = ("a", "b\u00fcild/out put", "large", "same bytes as a", "\u009b")


@pytest.fixture(scope="module")
def golden() -> dict[str, Json]:
    return expected()


@pytest.fixture(scope="module")
def quiet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GoldenSite]:
    """A server on the golden log, shared by tests that change nothing."""
    it = GoldenSite(tmp_path_factory.mktemp("quiet") / "site")
    try:
        it.start_server()
        yield it
    finally:
        it.close()


@pytest.fixture(scope="module")
def busy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GoldenSite]:
    """A server on the golden log, shared by tests that each work with jobs of their own."""
    it = GoldenSite(tmp_path_factory.mktemp("busy") / "site")
    try:
        it.start_server()
        yield it
    finally:
        it.close()


@pytest.fixture
def own(tmp_path: Path) -> Iterator[GoldenSite]:
    """A server on the golden log for one test."""
    it = GoldenSite(tmp_path / "site")
    try:
        it.start_server()
        yield it
    finally:
        it.close()


def check(log: Path) -> str:
    """Output of `airunner log check`, which must succeed."""
    done = subprocess.run(
        [*AIRUNNER, "log", "check", str(log)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


# The log


def test_every_record_is_read_and_encoded_to_the_same_bytes(
    golden: dict[str, Json], tmp_path: Path
) -> None:
    facts, reports = records(tmp_path)
    assert [encode_fact(decode_fact(each)) for each in facts] == facts
    assert [encode_report(decode_report(each)) for each in reports] == reports
    kinds = Counter(str(record[1]) for record in chain(facts, reports))
    assert kinds == golden["kinds"]
    assert kinds.keys() == KINDS


def test_log_is_replayed_to_the_same_jobs_streams_and_seals(
    golden: dict[str, Json], tmp_path: Path
) -> None:
    unpack("server", tmp_path)
    found = asyncio.run(replayed(tmp_path / LOG))
    assert (found["place"], found["now"]) == (golden["place"], golden["now"])
    assert list(found["jobs"]) == list(golden["jobs"])
    assert not list(differences(golden["jobs"], found["jobs"]))
    assert {each["job"]["state"] for each in found["jobs"].values()} == set(JobState)
    for each in found["jobs"].values():
        over = JobState(each["job"]["state"]).final
        assert (each["stream"]["verdict"] in ("whole", "unproven")) == over


def test_log_as_a_kill_left_it_is_sound(golden: dict[str, Json], tmp_path: Path) -> None:
    unpack("server", tmp_path)
    before = tree(tmp_path)
    assert "artifacts" in check(tmp_path / LOG)
    assert before[LOG] == tree(tmp_path)[LOG]


# Served


def test_server_tells_every_job_its_stream_and_its_artifacts(
    golden: dict[str, Json], quiet: GoldenSite
) -> None:
    async def main() -> None:
        it = destination(quiet)
        async with JobsClient(it) as jobs, ArtifactsClient(it) as artifacts:
            found = {id: await served(jobs, artifacts, JobId(id)) for id in golden["jobs"]}
        for id, each in found.items():
            known = golden["jobs"][id]
            known = {**known, "job": told_of(known["job"])}
            assert not list(differences(known, each, id))

    asyncio.run(main())


def test_server_lists_all_jobs_and_every_line_in_its_order(
    golden: dict[str, Json], quiet: GoldenSite
) -> None:
    async def main() -> None:
        async with JobsClient(destination(quiet)) as jobs:
            every = [job.id async for job in pages(jobs, JobQuery())]
            assert every == golden["list"]
            for queue, line in golden["lines"].items():
                waiting = JobQuery(queue=queue, state=JobState.SCHEDULED)
                assert [job.id async for job in pages(jobs, waiting)] == line
            ahead = {id: number for number, id in enumerate(reversed(golden["lines"]["odd"]))}
            for id, number in ahead.items():
                _, waits = await jobs.get(JobId(id))
                assert waits is not None
                assert waits.ahead == number

    asyncio.run(main())


def test_request_that_is_sent_again_is_answered_with_its_old_job(
    golden: dict[str, Json], quiet: GoldenSite
) -> None:
    """Later checks of new jobs come after the look-up of the key, which is its submitter's own.

    Callers of a server without tokens are `anonymous`; requests() has the other submitters.
    """

    async def main() -> None:
        async with JobsClient(destination(quiet)) as jobs:
            count = 0
            for id in golden["list"]:
                job, _ = await jobs.get(JobId(id))
                if not job.request or job.retry_of or job.submitter != "anonymous":
                    continue
                count += 1
                again = await jobs.enqueue(job.spec, request=job.request)
                assert (again.id, again.state) == (job.id, job.state)
                with pytest.raises(IdempotencyConflict):
                    await jobs.enqueue(JobSpec(command="another"), request=job.request)
            assert count == 30
            assert [job.id async for job in pages(jobs, JobQuery())] == golden["list"]

    asyncio.run(main())


def test_each_submitters_request_ids_stand_for_the_submitters_old_jobs(
    golden: dict[str, Json], tmp_path: Path
) -> None:
    unpack("server", tmp_path)
    found = asyncio.run(requests(tmp_path / LOG))
    jobs = [golden["jobs"][id]["job"] for id in golden["list"]]
    asked = [each for each in jobs if each["request"]]
    assert len({each["submitter"] for each in asked}) > 70
    assert found == {each["id"]: each["id"] for each in asked}


def test_follower_of_all_jobs_goes_on_from_a_place_in_the_old_log(
    golden: dict[str, Json], quiet: GoldenSite
) -> None:
    """It misses and repeats nothing, though the log may have another name since."""

    async def main() -> None:
        async with JobsClient(destination(quiet)) as jobs:
            for known in golden["follow"]:
                told = await followed(jobs, known["after"], golden["place"], known["log"])
                assert sorted(told) == sorted(known["told"])
            middle = golden["follow"][1]
            async with aclosing(
                jobs.watch_all(after=Position(middle["after"]), log=middle["log"])
            ) as stream:
                heard = await anext(stream)
            assert not heard.events
            assert heard.position == middle["after"]
            told = await followed(jobs, heard.position, golden["place"], heard.log)
            assert sorted(told) == sorted(middle["told"])
            with pytest.raises(DataLoss):
                await followed(jobs, middle["after"], golden["place"], "another log")

    asyncio.run(main())


def test_commands_show_old_jobs(golden: dict[str, Json], quiet: GoldenSite, tmp_path: Path) -> None:
    listed = quiet.run("list", "--json", check=True).stdout.splitlines()
    assert [json.loads(line)["id"] for line in listed] == golden["list"]
    quiet.run("list", check=True)
    jobs = [each for each in golden["jobs"].values() if each["stream"]["verdict"] == "whole"]
    noisy = max(jobs, key=lambda each: each["stream"]["count"])
    shelved = max(jobs, key=lambda each: len(each["artifacts"]))
    for each in (noisy, shelved):
        job, stream = each["job"], each["stream"]
        shown = quiet.show(job["id"])
        assert (shown["state"], shown["queue"]) == (job["state"], job["spec"]["queue"])
        logs = quiet.run("logs", job["id"], check=True).stdout
        assert sha256(logs).hexdigest() == stream["output"]
        verdict = json.loads(quiet.run("verify", job["id"], "--json", check=True).stdout)
        assert verdict["verdict"] == "whole"
        assert verdict["seal"]["digest"] == stream["link"]
    id, output = shelved["job"]["id"], tmp_path / "got"
    quiet.run("artifacts", "get", id, *FETCHED, "--output", str(output), check=True)
    known = {each["path"]: each["sha256"] for each in shelved["artifacts"]}
    assert tree(output) == {path: known[path] for path in FETCHED}


# Work goes on


def test_server_removes_files_that_no_fact_names_at_its_start_and_keeps_the_others(
    golden: dict[str, Json], own: GoldenSite
) -> None:
    assert own.server
    assert own.server.stop() == 0
    folder = own.folder / f"{LOG}-artifacts"
    jobs = {path.name for path in folder.iterdir()} - {"partial", "trash"}
    assert jobs == {id for id, each in golden["jobs"].items() if each["artifacts"]}
    for id in jobs:
        assert [path.name for path in (folder / id).iterdir()] == [
            str(golden["jobs"][id]["job"]["attempt"])
        ]
    assert not list((folder / "partial").iterdir())
    assert "sound" in check(own.folder / LOG)


def test_leases_that_were_held_are_held_still(golden: dict[str, Json], busy: GoldenSite) -> None:
    """Holders send reports again from the first, one new report, and a completion or a release."""
    back, *tokens = golden["tokens"].items()

    async def main() -> None:
        async with dial(destination(busy)) as channel:
            stub, events = JobServiceStub(channel), JobEventsServiceStub(channel)
            for id, token in tokens:
                sent = golden["jobs"][id]["job"]["sent"]
                said = [
                    pb.JobEvent(
                        sequence=number,
                        timestamp=Timestamp(seconds=golden["now"] // 1_000),
                        output=pb.OutputEvent(output=b"goes on\n"),
                    )
                    for number in range(1, sent + 2)
                ]
                request = pb.PublishJobEventsRequest(task_token=token, events=said)
                assert (await events.PublishJobEvents(iter([request]))).last_sequence == sent + 1
                result = pb.JobResult(success=True)
                await stub.CompleteJob(pb.CompleteJobRequest(task_token=token, job_result=result))
        async with JobsClient(destination(busy)) as jobs:
            await jobs.release(TaskToken(back[1]))
            assert (await jobs.get(JobId(back[0])))[0].state is JobState.SCHEDULED
            for id, _ in tokens:
                known, (job, _) = golden["jobs"][id]["job"], await jobs.get(JobId(id))
                cancelled = known["cancel_requested_at"] is not None
                assert job.state is (JobState.CANCELLED if cancelled else JobState.COMPLETED)
                assert (job.attempt, job.failures) == (known["attempt"], known["failures"])
                assert job.sequence == known["sequence"] + 2  # the new report, and the end
                assert (await proven(jobs, id))["verdict"] == "whole"

    asyncio.run(main())


def test_completion_is_accepted_again_and_a_different_completion_is_refused(
    golden: dict[str, Json], busy: GoldenSite
) -> None:
    async def main() -> None:
        async with dial(destination(busy)) as channel, JobsClient(destination(busy)) as jobs:
            stub = JobServiceStub(channel)
            for id, token in golden["ended_tokens"].items():
                job, _ = await jobs.get(JobId(id))
                assert job.outcome
                end = pb.CompleteJobRequest(task_token=token)
                end.job_result.CopyFrom(encode_outcome(job.outcome))
                await stub.CompleteJob(end)
                end.job_result.error_message += " and more"
                with pytest.raises(grpc.aio.AioRpcError) as caught:
                    await stub.CompleteJob(end)
                assert caught.value.code() is grpc.StatusCode.FAILED_PRECONDITION
                assert not list(differences(told_of(golden["jobs"][id]["job"]), plain(job)))

    asyncio.run(main())


def test_odd_jobs_are_leased_as_they_were_asked_for_and_end(
    golden: dict[str, Json], busy: GoldenSite
) -> None:
    async def main() -> None:
        line = golden["lines"]["odd"][::-1]
        async with dial(destination(busy)) as channel:
            stub = JobServiceStub(channel)
            request = pb.DequeueJobRequest(queue="odd", max_jobs=100)
            leased = [each async for each in stub.DequeueJob(request)]
            assert [each.job.job_id for each in leased] == line
            for each in leased:
                known = golden["jobs"][each.job.job_id]["job"]["spec"]
                assert not list(differences(known, plain(decode_job(each.job).spec)))
                result = pb.JobResult(success=True)
                await stub.CompleteJob(
                    pb.CompleteJobRequest(task_token=each.task_token, job_result=result)
                )
        async with JobsClient(destination(busy)) as jobs:
            for id in line:
                assert (await proven(jobs, id))["verdict"] == "whole"

    asyncio.run(main())


def test_worker_takes_over_the_spools_of_a_killed_worker_and_runs_queued_jobs(
    golden: dict[str, Json], own: GoldenSite
) -> None:
    heir = own.take_over()
    over = [JobId(id) for id in golden["over"]]
    assert {each["job"] for each in golden["spools"].values()} < set(over)
    found = asyncio.run(ends(own, over))
    assert not list(differences(golden["over"], found))
    for each in golden["spools"].values():
        heir.said("spool_delivered", job=each["job"], attempt=1, lost=each["lost"])
    assert heir.stop() == 0
    assert not spools(own.folder)
    assert {path.name for path in (own.folder / WORK).iterdir()} == {"refused"}
    assert len(refused(own.folder)) == 1
    sources = own.folder / SOURCES
    ids = {name: each["job"] for name, each in golden["spools"].items()}
    for name in ("ended", "running"):
        assert {path.name for path in (sources / name).iterdir()} == {"data", "results"}
        result = json.loads((sources / name / "results" / "result.json").read_bytes())
        assert (result["jobId"], result["status"]) == (ids[f"{name} source"], "success")

    async def main() -> None:
        async with JobsClient(destination(own)) as jobs:
            for id in over:
                told = await proven(jobs, id)
                assert told["verdict"] == "whole"

    asyncio.run(main())
    assert own.server
    assert own.server.stop() == 0
    assert "sound" in check(own.folder / LOG)


async def proven(jobs: JobsClient, id: str) -> Json:
    """Digests of a job's stream, and the verdict on its links and its seal."""
    async with aclosing(jobs.watch(JobId(id), stop_at_tail=True)) as entries:
        return stream_facts([entry async for entry in entries])


# Folders of results


def test_new_run_has_old_results_aside_until_its_own_are_there(tmp_path: Path) -> None:
    unpack("results", tmp_path)
    results = tmp_path / "results"
    before = tree(results)
    assert json.loads((results / "result.json").read_bytes())["status"] == "success"
    aside = f"cat {tmp_path}/.results-*/result.json"
    job = {"steps": [f"cp -R {tmp_path}/.results-* {tmp_path}/saved", aside, "exit 3"]}
    (tmp_path / "job.json").write_text(json.dumps(job))
    command = [*AIRUNNER, "run", "job.json", "--workspaces-dir", str(tmp_path / "spare")]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, check=False)
    assert done.returncode == 3
    assert tree(tmp_path / "saved") == before
    assert done.stdout == (tmp_path / "saved" / "result.json").read_bytes()
    assert not list(tmp_path.glob(".results-*"))
    names = {"result.json", *(f"step_{index}.log" for index in range(3))}
    assert {path.name for path in results.iterdir()} == names
    assert json.loads((results / "result.json").read_bytes())["status"] == "failed"
