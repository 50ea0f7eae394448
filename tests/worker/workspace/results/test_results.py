"""The results folder, on a real disk."""

import asyncio
import errno
import hashlib
import json
import os
import re
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from msgspec import structs

from airunner.model.artifacts import Artifact
from airunner.model.jobs import Instant, Job, JobId, Outcome, Position, Reason
from airunner.model.limits import RESULTS_PENDING_BYTES_MAX, RESULTS_STALL_SECONDS_MAX
from airunner.model.spec import JobSpec
from airunner.model.steps import StepStatus
from airunner.worker.workspace.results.earlier import RESULT_BEGINS, NotReplaceable
from airunner.worker.workspace.results.manifest import manifest
from airunner.worker.workspace.results.results import FolderResults
from airunner.worker.workspace.sources.source_names import is_reserved
from airunner.worker.workspace.workspace import (
    ArtifactSink,
    Collected,
    NotStored,
    StepSummary,
    Summary,
)
from tests.promises import holds, promise
from tests.support.loop import virtually
from tests.worker.workspace.results.sink_contract import Kept, Scene, SinkContract, artifact
from tests.zoo import SECONDS_MAX

JOB = Job(
    id=JobId("0190-job"),
    spec=JobSpec(command="make", name="nightly"),
    place=Position(1),
    created_at=Instant(0),
    updated_at=Instant(0),
)
NOTHING = Collected()
DONE = Outcome(reason=Reason.EXITED, exit_code=0)
BEGAN = Instant(1_932_800_400_250)


def summary(
    *steps: StepSummary, outcome: Outcome = DONE, collected: Collected = NOTHING, job: Job = JOB
) -> Summary:
    return Summary(
        job=job,
        outcome=outcome,
        steps=steps,
        collected=collected,
        started_at=BEGAN,
        ended_at=Instant(BEGAN + 1_250),
    )


def ran(code: int = 0, name: str = "") -> StepSummary:
    status = StepStatus.FAILED if code else StepStatus.SUCCESS
    ended = Instant(BEGAN + 900)
    return StepSummary(
        command="make", name=name, status=status, exit_code=code, started_at=BEGAN, ended_at=ended
    )


SKIPPED = StepSummary(command="rest", status=StepStatus.SKIPPED)


@asynccontextmanager
async def opened(parent: Path, name: str = "results") -> AsyncIterator[FolderResults]:
    folder = os.open(parent, os.O_RDONLY)
    results = FolderResults(folder, name)
    os.close(folder)
    try:
        await results.make()
        yield results
    finally:
        results.close()


def play(scene: Callable[[], Awaitable[None]]) -> None:
    async def within() -> None:
        async with asyncio.timeout(SECONDS_MAX):
            await scene()

    asyncio.run(within())


def told(parent: Path) -> dict[str, object]:
    found: dict[str, object] = json.loads((parent / "results/result.json").read_bytes())
    return found


def names(folder: Path) -> set[str]:
    return {each.name for each in folder.iterdir()}


def kept_in(folder: Path) -> Kept:
    """The content and mode of each file in a folder, except links."""
    found = {}
    for path in folder.rglob("*"):
        if path.is_file() and not path.is_symlink():
            executable = bool(path.stat().st_mode & stat.S_IXUSR)
            found[str(path.relative_to(folder))] = (path.read_bytes(), executable)
    return found


class TestFolderSink(SinkContract):
    def play(self, folder: Path, scene: Scene) -> None:
        async def within() -> None:
            parent = folder / "parent"
            parent.mkdir()
            async with opened(parent) as results:

                async def tell() -> Kept:
                    await results._thread.run(lambda: None)  # what was cancelled is over
                    return kept_in(parent / "results")

                await scene(results.sink, tell)

        play(within)


# The artifact sink of the folder


async def put(sink: ArtifactSink, path: str, data: bytes, folder: Path) -> None:
    source = folder / "data"
    source.write_bytes(data)
    with source.open("rb") as file:
        await sink.put(artifact(path, data), file)


def test_links_stay_links_and_empty_folders_are_there(tmp_path: Path) -> None:
    async def scene() -> None:
        async with opened(tmp_path) as results:
            assert await results.sink.link("bin/latest", "../v1/\udcff")
            assert await results.sink.link("bin/latest", "/nowhere")
            await results.sink.folder("a/b/c")

    play(scene)
    assert os.readlink(tmp_path / "results/bin/latest") == "/nowhere"
    assert (tmp_path / "results/a/b/c").is_dir()


def test_a_file_with_holes_keeps_them(tmp_path: Path) -> None:
    source, size = tmp_path / "disk.img", 64 * 1024 * 1024 + 1
    with source.open("wb") as file:
        file.truncate(size)
        file.seek(size // 2)
        file.write(b"data")
    data = source.read_bytes()

    async def scene() -> None:
        async with opened(tmp_path / "source") as results:
            with source.open("rb") as file:
                await results.sink.put(artifact("disk.img", data), file)

    (tmp_path / "source").mkdir()
    play(scene)
    kept = tmp_path / "source/results/disk.img"
    assert kept.read_bytes() == data
    assert kept.stat().st_blocks * 512 < size // 2


@pytest.mark.parametrize("name", ["result.json", "step_0.log", "step_17.log", "step_1.log/x"])
def test_no_artifact_takes_a_name_of_ours(tmp_path: Path, name: str) -> None:
    async def scene() -> None:
        async with opened(tmp_path) as results:
            with pytest.raises(NotStored, match="airunner uses this name"):
                await put(results.sink, name, b"mine", tmp_path)
            with pytest.raises(NotStored, match="airunner uses this name"):
                await results.sink.link(name, "x")
            with pytest.raises(NotStored, match="airunner uses this name"):
                await results.sink.folder(name)
            await put(results.sink, f"below/{name}", b"fine", tmp_path)

    play(scene)
    assert kept_in(tmp_path / "results") == {f"below/{name}": (b"fine", False)}


@promise(
    "results/stay-inside",
    "A worker reads nothing outside the workspace and writes or removes nothing outside the "
    "results. Links that a job or another user places there, at any time, change nothing.",
)
def test_nothing_is_written_through_a_link_that_somebody_put_into_the_folder(
    tmp_path: Path,
) -> None:
    outside, parent = tmp_path / "outside", tmp_path / "parent"
    outside.mkdir()
    parent.mkdir()
    (outside / "file").write_bytes(b"theirs")

    async def scene() -> None:
        async with opened(parent) as results:
            inside = parent / "results"
            (inside / "x").symlink_to(outside)
            (inside / "y").symlink_to(outside / "file")
            (inside / "step_0.log").symlink_to(outside / "file")
            (inside / "result.json").symlink_to(outside / "file")
            for path in ("x/file", "x/new"):
                with pytest.raises(NotStored, match=f"{path}.*ot a directory|{path}.*symbolic"):
                    await put(results.sink, path, b"ours", tmp_path)
            with pytest.raises(NotStored, match="x/link"):
                await results.sink.link("x/link", "target")
            with pytest.raises(NotStored, match="x/folder"):
                await results.sink.folder("x/folder")
            await put(results.sink, "y", b"ours", tmp_path)
            await results.write(0, b"ours")
            (error,) = await results.conclude(summary(ran()))
            assert "step_0.log in results ends early" in error

    play(scene)
    assert names(outside) == {"file"}
    assert (outside / "file").read_bytes() == b"theirs"
    assert (parent / "results/y").read_bytes() == b"ours"
    assert told(parent)["jobId"] == JOB.id


# The folder


@promise(
    "results/folder-belongs-to-one-attempt",
    "A results folder belongs to one attempt. Earlier contents are moved aside, and removed once "
    "there is a new result. A frozen worker that wakes writes into the folder that was moved "
    "aside, and removes nothing.",
)
def test_what_was_there_before_is_kept_until_there_is_a_new_result(tmp_path: Path) -> None:
    (tmp_path / "results").mkdir()
    (tmp_path / "results/old").write_bytes(b"old")
    (tmp_path / "results/result.json").write_bytes(RESULT_BEGINS)

    async def scene() -> None:
        async with opened(tmp_path) as results:
            assert names(tmp_path / "results") == set()
            (aside,) = names(tmp_path) - {"results"}
            assert is_reserved(aside)
            assert (tmp_path / aside / "old").read_bytes() == b"old"
            assert await results.conclude(summary()) == ()
            assert names(tmp_path) == {"results"}
            assert names(tmp_path / "results") == {"result.json"}

    play(scene)


@holds("results/folder-belongs-to-one-attempt")
def test_results_that_a_dead_attempt_left_aside_go_with_the_next_result(tmp_path: Path) -> None:
    async def scene() -> None:
        for _ in range(3):
            async with opened(tmp_path):  # dies before its end
                pass
        (tmp_path / ".results-mine").write_bytes(b"another's")
        assert len(names(tmp_path)) == 4
        async with opened(tmp_path) as results:
            await results.conclude(summary())

    play(scene)
    assert names(tmp_path) == {"results", ".results-mine"}


def test_results_of_other_names_in_one_folder_are_left_alone(tmp_path: Path) -> None:
    async def scene() -> None:
        for name in ("one", "results"):
            async with opened(tmp_path, name):
                pass
        async with opened(tmp_path, "one"), opened(tmp_path) as results:
            assert len(names(tmp_path)) == 4
            await results.conclude(summary())

    play(scene)
    (aside,) = names(tmp_path) - {"results", "one"}
    assert aside.startswith(".one-")


def make_entry(place: Path, kind: str, outside: Path) -> None:
    match kind:
        case "file":
            place.write_bytes(b"x")
        case "pipe":
            os.mkfifo(place)
        case "link to results":
            (outside / "step_0.log").touch()
            place.symlink_to(outside)
        case "link to nothing":
            place.symlink_to(outside / "new")
        case _:
            place.mkdir()
            (place / "measured.csv").write_bytes(b"x")
            if kind == "data with a result.json":
                (place / "step_0.log").touch()
                (place / "result.json").write_text('{"accuracy": 0.9}')
            elif kind == "data with a folder result.json":
                (place / "result.json").mkdir()


@holds("results/stay-inside")
@pytest.mark.parametrize(
    ("kind", "why"),
    [
        ("file", "is no folder"),
        ("pipe", "is no folder"),
        ("link to results", "is a link"),
        ("link to nothing", "is a link"),
        ("data", "has no results of airunner"),
        ("data with a result.json", "has no results of airunner"),
        ("data with a folder result.json", "cannot be read: Is a directory"),
    ],
)
def test_an_entry_that_is_no_results_of_an_attempt_is_refused_and_stays(
    tmp_path: Path, kind: str, why: str
) -> None:
    outside, parent = tmp_path / "outside", tmp_path / "parent"
    outside.mkdir()
    parent.mkdir()
    make_entry(parent / "results", kind, outside)
    before = sorted(map(str, tmp_path.rglob("*")))

    async def scene() -> None:
        with pytest.raises(NotReplaceable, match=why):
            async with opened(parent):
                pass

    play(scene)
    assert sorted(map(str, tmp_path.rglob("*"))) == before


def test_a_folder_that_may_be_of_another_program_is_kept_beside_the_new_results(
    tmp_path: Path,
) -> None:
    data = tmp_path / "results"
    (data / "models").mkdir(parents=True)
    (data / "models/weights.bin").write_bytes(b"mine")
    (data / "step_0.log").touch()

    async def scene() -> None:
        async with opened(tmp_path) as results:
            await results.conclude(summary())

    play(scene)
    (kept,) = names(tmp_path) - {"results"}
    assert kept.startswith("results.earlier-")
    assert (tmp_path / kept / "models/weights.bin").read_bytes() == b"mine"


@holds("results/stay-inside")
def test_removing_old_results_follows_no_link_and_goes_to_any_depth(tmp_path: Path) -> None:
    outside, parent = tmp_path / "outside", tmp_path / "parent"
    outside.mkdir()
    (outside / "file").write_bytes(b"theirs")
    (parent / "results").mkdir(parents=True)
    (parent / "results/link").symlink_to(outside)
    (parent / "results/result.json").write_bytes(RESULT_BEGINS)
    at = os.open(parent / "results", os.O_RDONLY)
    for _ in range(3_000):
        os.mkdir("d", dir_fd=at)
        below = os.open("d", os.O_RDONLY, dir_fd=at)
        os.close(at)
        at = below
    os.symlink(outside, "link", dir_fd=at)
    os.mkdir("read-only", mode=0o500, dir_fd=at)
    os.close(at)

    async def scene() -> None:
        async with opened(parent) as results:
            await results.conclude(summary())

    play(scene)
    assert names(parent) == {"results"}
    assert names(outside) == {"file"}


@holds("results/folder-belongs-to-one-attempt")
def test_an_attempt_that_was_frozen_writes_into_the_folder_that_was_moved_aside(
    tmp_path: Path,
) -> None:
    async def scene() -> None:
        async with opened(tmp_path) as zombie:
            await zombie.write(0, b"zombie\n")
            async with opened(tmp_path) as heir:
                await heir.write(0, b"heir\n")
                await zombie.write(0, b"zombie\n")
                await put(zombie.sink, "file", b"zombie", tmp_path)
                (tmp_path / "data").unlink()
                failed = Outcome(reason=Reason.EXITED, exit_code=1)
                assert await zombie.conclude(summary(ran(1), outcome=failed)) == ()
                assert names(tmp_path / "results") == {"step_0.log"}
                (aside,) = names(tmp_path) - {"results"}
                logged = (tmp_path / aside / "step_0.log").read_bytes()
                assert logged == b"zombie\nzombie\n"
                assert await heir.conclude(summary(ran())) == ()
                assert await zombie.conclude(summary(ran())) != ()  # its folder is gone

    play(scene)
    assert names(tmp_path) == {"results"}
    assert told(tmp_path)["status"] == "success"
    assert (tmp_path / "results/step_0.log").read_bytes() == b"heir\n"


def test_results_that_cannot_be_made_are_an_error(tmp_path: Path) -> None:
    async def scene() -> None:
        parent = tmp_path / "parent"
        parent.mkdir()
        folder = os.open(parent, os.O_RDONLY)
        results = FolderResults(folder)
        os.close(folder)
        parent.rmdir()
        with pytest.raises(OSError, match="No such file"):
            await results.make()
        results.close()

    play(scene)


# Logs


@promise(
    "results/lines-while-the-job-runs",
    "A line is readable in the results folder while the job runs. A drive that is full, or accepts "
    "nothing for a minute, costs the logs in that folder and the success of the job, and delays no "
    "worker.",
)
def test_a_line_can_be_read_while_the_job_runs(tmp_path: Path) -> None:
    """The reader is `tail -F`, in a process of its own."""
    path = tmp_path / "results/step_1.log"

    async def scene() -> None:
        async with opened(tmp_path) as results:
            await results.write(1, b"")
            reader = await asyncio.create_subprocess_exec(
                "tail", "-n", "+1", "-F", str(path), stdout=-1, stderr=-3
            )
            assert reader.stdout
            for line in (b"one\n", b"two\n", b"three\n"):
                await results.write(1, line)
                assert await reader.stdout.readline() == line
            reader.kill()
            await reader.wait()

    play(scene)


def test_each_step_that_ran_has_a_log_and_no_other(tmp_path: Path) -> None:
    async def scene() -> None:
        async with opened(tmp_path) as results:
            await results.write(0, b"a")
            await results.write(1, b"b\n")
            await results.write(0, b"c\xff")
            await results.conclude(summary(ran(), ran(), ran(1), SKIPPED))

    play(scene)
    assert kept_in(tmp_path / "results") == {
        "step_0.log": (b"ac\xff", False),
        "step_1.log": (b"b\n", False),
        "step_2.log": (b"", False),
        "result.json": ((tmp_path / "results/result.json").read_bytes(), False),
    }
    steps = told(tmp_path)["steps"]
    assert isinstance(steps, list)
    assert [each["log"] for each in steps] == ["step_0.log", "step_1.log", "step_2.log", None]


@promise(
    "results/result-is-whole-and-last",
    "`result.json` is whole, and is the last file that an attempt writes. All logs and artifacts "
    "are there before it, and a killed worker leaves a whole `result.json` or none.",
)
def test_the_logs_are_whole_when_the_result_is_there(tmp_path: Path) -> None:
    piece = os.urandom(64 * 1024)

    async def scene() -> None:
        async with opened(tmp_path) as results:
            for number in range(400):
                await results.write(number % 3, piece)
                assert results._logs._bytes <= RESULTS_PENDING_BYTES_MAX
            assert await results.conclude(summary(ran(), ran(), ran())) == ()
            sizes = [(tmp_path / f"results/step_{n}.log").stat().st_size for n in range(3)]
            assert sum(sizes) == 400 * len(piece)

    play(scene)


def test_a_log_that_cannot_be_written_ends_there_and_is_told_once(tmp_path: Path) -> None:
    async def scene() -> None:
        async with opened(tmp_path) as results:
            os.mkfifo(tmp_path / "results/step_0.log")
            (tmp_path / "results/step_2.log").mkdir()
            for index in (0, 0, 1, 2, 1):
                await results.write(index, b"x")
            (error,) = await results.conclude(summary(ran(), ran(), ran()))
            assert error.startswith("step_0.log in results ends early: ")
            assert error.endswith(", and so do 1 more")

    play(scene)
    assert (tmp_path / "results/step_1.log").read_bytes() == b"xx"
    assert told(tmp_path)["errors"] == [told(tmp_path)["error"]]
    assert told(tmp_path)["status"] == "failed"


@holds("results/lines-while-the-job-runs")
def test_a_drive_that_hangs_costs_the_logs_and_holds_the_job_up_for_a_minute_at_most(
    tmp_path: Path,
) -> None:
    """In virtual time, with a thread that hangs."""
    hangs, made = threading.Event(), []

    async def make() -> None:
        folder = os.open(tmp_path, os.O_RDONLY)
        made.append(FolderResults(folder))
        os.close(folder)
        await made[0].make()

    @virtually
    async def use() -> None:
        (results,) = made
        clock = asyncio.get_running_loop().time
        results._thread.submit(hangs.wait)
        for _ in range(100):
            await results.write(0, b"x" * 64 * 1024)
        assert clock() == RESULTS_STALL_SECONDS_MAX
        said = await results.conclude(summary(ran()))
        assert said == ("result.json could not be written: the folder accepted no bytes for 60 s",)
        assert clock() == 2 * RESULTS_STALL_SECONDS_MAX

    play(make)
    try:
        use()
    finally:
        hangs.set()
        made[0].close()
    assert not (tmp_path / "results/result.json").exists()


class Awaited(tuple[StepSummary, ...]):
    """Steps that an iteration waits for until the test releases them."""

    wanted, may = threading.Event(), threading.Event()

    def __iter__(self) -> Iterator[StepSummary]:
        self.wanted.set()
        self.may.wait()
        return super().__iter__()


@holds("results/result-is-whole-and-last")
def test_a_result_that_was_told_to_be_missing_does_not_come_later(tmp_path: Path) -> None:
    """In virtual time, with a thread that hangs while it writes the result."""
    made, steps = [], Awaited((ran(),))

    async def make() -> None:
        folder = os.open(tmp_path, os.O_RDONLY)
        made.append(FolderResults(folder))
        os.close(folder)
        await made[0].make()

    @virtually
    async def use() -> None:
        async with asyncio.TaskGroup() as tasks:
            concluding = tasks.create_task(made[0].conclude(replace(summary(), steps=steps)))
            await asyncio.sleep(0)  # it has asked the thread
            steps.wanted.wait()
        (error,) = concluding.result()
        assert error.startswith("result.json could not be written")

    play(make)
    (results,) = made
    try:
        use()
    finally:
        steps.may.set()
        results.close()
        assert results._thread._thread
        results._thread._thread.join()
    assert os.listdir(tmp_path / "results") == []


@holds("results/lines-while-the-job-runs")
def test_a_full_disk_costs_the_log_and_is_told(tmp_path: Path) -> None:
    """The process limit on the size of files (RLIMIT_FSIZE) stands in for a full disk."""
    script = """
import asyncio, os, resource, signal, sys
from pathlib import Path
from tests.worker.workspace.results.test_results import opened, ran, summary
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
async def main():
    async with opened(Path(sys.argv[1])) as results:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, resource.RLIM_INFINITY))
        for _ in range(10):
            await results.write(0, b"x" * 30_000)
        await results.write(1, b"small")
        print(await results.conclude(summary(ran(), ran())))
asyncio.run(main())
"""
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True, check=True
    )
    assert done.stdout == f"('step_0.log in results ends early: {os.strerror(errno.EFBIG)}',)\n"
    assert (tmp_path / "results/step_0.log").read_bytes() == b"x" * 100_000
    assert (tmp_path / "results/step_1.log").read_bytes() == b"small"


# result.json


@holds("results/result-is-whole-and-last")
def test_the_result_says_what_came_of_the_job_and_of_each_step(tmp_path: Path) -> None:
    digest = hashlib.sha256(b"").hexdigest()
    files = (Artifact(path="out/☃", size=0, sha256=digest),)
    wrong = "artifact 'x' cannot be read"
    error = f"in step 2 of 3 (make); {wrong}"
    failed = Outcome(reason=Reason.EXITED, exit_code=2, error=error)
    collected = Collected(artifacts=files, errors=(wrong,))

    async def scene() -> None:
        async with opened(tmp_path) as results:
            await results.write(0, b"x")
            steps = (ran(name="build"), ran(2), SKIPPED)
            await results.conclude(summary(*steps, outcome=failed, collected=collected))

    play(scene)
    assert told(tmp_path) == {
        "jobId": "0190-job",
        "name": "nightly",
        "status": "failed",
        "timing": {
            "start": "2031-04-01T09:00:00.250Z",
            "end": "2031-04-01T09:00:01.500Z",
            "durationMs": 1250,
        },
        "steps": [
            {
                "index": 0,
                "command": "make",
                "name": "build",
                "status": "success",
                "exitCode": 0,
                "durationMs": 900,
                "log": "step_0.log",
            },
            {
                "index": 1,
                "command": "make",
                "status": "failed",
                "exitCode": 2,
                "durationMs": 900,
                "log": "step_1.log",
            },
            {
                "index": 2,
                "command": "rest",
                "status": "skipped",
                "exitCode": None,
                "durationMs": 0,
                "log": None,
            },
        ],
        "artifacts": [{"path": "out/☃", "size": 0, "sha256": digest}],
        "errors": ["artifact 'x' cannot be read"],
        "error": "exited with 2 in step 2 of 3 (make); artifact 'x' cannot be read",
    }


@pytest.mark.parametrize(
    ("outcome", "error"),
    [
        (Outcome(reason=Reason.SIGNALED, exit_code=137, signal=9), "ended by signal 9 in step 1"),
        (Outcome(reason=Reason.TIMEOUT, exit_code=143), "timed out in step 1"),
        (Outcome(reason=Reason.CANCELLED, exit_code=143), "cancelled in step 1"),
    ],
)
def test_the_result_says_how_a_step_ended_the_job(outcome: Outcome, error: str) -> None:
    ended = structs.replace(outcome, error="in step 1")
    assert json.loads(manifest(summary(outcome=ended), lambda _: True, ()))["error"] == error


def test_the_page_on_jobs_shows_a_result_as_it_is() -> None:
    page = (Path(__file__).parents[4] / "docs/jobs.md").read_text(encoding="utf-8")
    (text,) = re.findall(r"^```json\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    shown = json.loads(text)
    steps = [
        StepSummary(
            command=each["command"],
            name=each["name"],
            status=StepStatus(each["status"]),
            exit_code=each["exitCode"],
            started_at=BEGAN,
            ended_at=Instant(BEGAN + each["durationMs"]),
        )
        for each in shown["steps"]
    ]
    said = summary(
        *steps,
        job=structs.replace(JOB, id=shown["jobId"]),
        outcome=Outcome(
            reason=Reason.EXITED, exit_code=2, error=shown["error"].removeprefix("exited with 2 ")
        ),
        collected=Collected(artifacts=tuple(Artifact(**each) for each in shown["artifacts"])),
    )
    said = replace(said, ended_at=Instant(BEGAN + shown["timing"]["durationMs"]))
    assert manifest(said, lambda _: True, ()).decode() == text


@pytest.mark.parametrize(
    ("outcome", "status"),
    [
        (DONE, "success"),
        (Outcome(reason=Reason.EXITED, exit_code=1), "failed"),
        (Outcome(reason=Reason.SIGNALED, exit_code=137, signal=9), "failed"),
        (Outcome(reason=Reason.TIMEOUT, exit_code=143), "timeout"),
        (Outcome(reason=Reason.CANCELLED, exit_code=0), "cancelled"),
        (Outcome(reason=Reason.SETUP_FAILED, error="no"), "failed"),
        (Outcome(reason=Reason.ARTIFACTS_FAILED, exit_code=0, error="no"), "failed"),
    ],
)
def test_a_job_without_steps_and_a_name_has_a_result_too(
    tmp_path: Path, outcome: Outcome, status: str
) -> None:
    nameless = structs.replace(JOB, spec=JobSpec(command="true"))

    async def scene() -> None:
        async with opened(tmp_path) as results:
            assert await results.conclude(summary(outcome=outcome, job=nameless)) == ()

    play(scene)
    assert told(tmp_path) == {
        "jobId": "0190-job",
        "status": status,
        "timing": told(tmp_path)["timing"],
        "steps": [],
        "artifacts": [],
        "error": outcome.error or None,
    }


CONCLUDES_FOR_EVER = """
import asyncio, os, sys
from pathlib import Path
from tests.worker.workspace.results.test_results import opened, ran, summary
async def main():
    while True:
        async with opened(Path(sys.argv[1])) as results:
            await results.write(0, b"x" * 100_000)
            os.write(1, b".")
            await results.conclude(summary(*[ran()] * 200))
asyncio.run(main())
"""


@holds("results/result-is-whole-and-last")
def test_a_worker_that_is_killed_leaves_a_whole_result_or_none(tmp_path: Path) -> None:
    for kill in range(6):
        worker = subprocess.Popen(
            [sys.executable, "-c", CONCLUDES_FOR_EVER, str(tmp_path)], stdout=subprocess.PIPE
        )
        assert worker.stdout
        worker.stdout.read(2 + 3 * kill)
        worker.send_signal(signal.SIGKILL)
        worker.wait()
        worker.stdout.close()
        for folder in filter(is_reserved, names(tmp_path)):
            result = tmp_path / folder / "result.json"
            if result.exists():
                assert len(json.loads(result.read_bytes())["steps"]) == 200
                assert (tmp_path / folder / "step_0.log").read_bytes() == b"x" * 100_000

    async def scene() -> None:
        async with opened(tmp_path) as results:
            await results.conclude(summary())

    play(scene)
    assert names(tmp_path) == {"results"}
    assert names(tmp_path / "results") == {"result.json"}


def test_an_attempt_that_ends_without_a_result_leaves_its_logs_for_people(tmp_path: Path) -> None:
    async def scene() -> None:
        async with opened(tmp_path) as results:
            await results.write(0, b"so far")
            await results._thread.run(lambda: None)

    play(scene)
    assert kept_in(tmp_path / "results") == {"step_0.log": (b"so far", False)}
