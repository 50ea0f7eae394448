"""Jobs on sources, on a real disk: their copies, their results, and the limits of their reach."""

import asyncio
import hashlib
import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from airunner.model.jobs import Instant, Job, JobId, Outcome, Position, Reason
from airunner.model.reports import Remark
from airunner.model.spec import JobSpec
from airunner.model.steps import Step, StepStatus
from airunner.system.descent import FOLDER
from airunner.worker.process import Deadline
from airunner.worker.workspace.folders import FolderWorkspace
from airunner.worker.workspace.sources.source import Source
from airunner.worker.workspace.sources.source_names import LOCK
from airunner.worker.workspace.workspace import Collected, SetupFailed, StepSummary, Summary
from tests.promises import holds, promise
from tests.worker.workspace.workbench import Bench, play

MANY = 3_000  # files, which take a moment


@pytest.fixture
def jobs(tmp_path: Path) -> Path:
    """A root of sources with one source in it."""
    source = tmp_path / "jobs" / "team" / "build"
    (source / "src").mkdir(parents=True)
    (source / "src" / "main.c").write_text("int main;")
    (source / "run.sh").write_text("make\n")
    (source / "run.sh").chmod(0o755)
    (source / "job.json").write_text('{"steps": ["./run.sh"], "artifacts": ["*.o"]}')
    return tmp_path / "jobs"


@pytest.fixture
def source(jobs: Path) -> Path:
    return jobs / "team" / "build"


def contents(folder: Path) -> dict[str, str]:
    """All entries of a folder; links are not followed."""
    found = {}
    for place, folders, files in os.walk(folder):
        for name in (*folders, *files):
            path = Path(place) / name
            kept = path.lstat()
            what = (
                os.readlink(path)
                if path.is_symlink()
                else path.read_text()
                if path.is_file()
                else ""
            )
            found[str(path.relative_to(folder))] = f"{kept.st_mode:o} {kept.st_mtime_ns} {what}"
    return found


def checkout(folder: FolderWorkspace) -> Path:
    return Path(folder.directory())


def said(bench: Bench) -> list[str]:
    return [each.message for each in bench.reports if isinstance(each, Remark)]


def job(source: str) -> Job:
    return Job(
        id=JobId("0190-job"),
        spec=JobSpec(command="true", source=source),
        place=Position(1),
        created_at=Instant(0),
        updated_at=Instant(0),
    )


async def conclude(folder: FolderWorkspace, collected: Collected | None = None) -> None:
    """Writes the summary of a successful attempt."""
    assert folder.results
    summary = Summary(
        job=job("team/build"),
        outcome=Outcome(reason=Reason.EXITED, exit_code=0),
        steps=(StepSummary(command="true", status=StepStatus.SUCCESS, exit_code=0),),
        collected=collected or Collected(),
        started_at=Instant(0),
        ended_at=Instant(1),
    )
    assert await folder.results.conclude(summary) == ()


@promise(
    "sources/results-of-its-own",
    "A `results` of a source that is a link, or that no attempt of airunner has written, is never "
    "moved, replaced or removed: the job fails before anything is copied.",
)
@pytest.mark.parametrize("kind", ["data", "link"])
def test_a_source_with_results_of_its_own_is_refused_and_stays(
    tmp_path: Path, jobs: Path, source: Path, kind: str
) -> None:
    own = source / "results" if kind == "data" else tmp_path / "other disk"
    own.mkdir()
    (own / "measured.csv").write_text("three months of work")
    if kind == "link":
        (source / "results").symlink_to(own)
    before = contents(own)

    async def scene(bench: Bench) -> None:
        folder = bench.make(command="", source="team/build")
        with pytest.raises(SetupFailed, match=r"results/ of the source team/build .*: rename it"):
            await folder.fetch(bench.report, Deadline())
        await folder.remove()
        assert contents(own) == before
        assert sorted(os.listdir(source)) == ["job.json", "results", "run.sh", "src"]
        assert (source / "results").is_symlink() == (kind == "link")

    play(tmp_path, scene, sources=jobs)


@promise(
    "sources/private-copy",
    "A job on a source gets a complete private copy. Neither side can change the other, and the "
    "source stays unchanged apart from its results.",
)
def test_a_job_gets_a_private_copy_and_its_source_stays_as_it_was(
    tmp_path: Path, jobs: Path, source: Path
) -> None:
    before = contents(source)

    async def scene(bench: Bench) -> None:
        folder = await bench.fetch(command="", source="team/build")
        assert contents(checkout(folder)) == before
        assert folder.steps() == (Step(run="./run.sh"),)
        (remark,) = said(bench)
        assert remark.startswith("staged 3 files, 59 B from team/build in ")
        assert LOCK in os.listdir(source)
        for path in (checkout(folder) / "src" / "main.c", checkout(folder) / "run.sh"):
            path.write_text("changed")
        await conclude(folder)
        await folder.release_folders()
        await folder.release_folders()
        await folder.remove()
        bench.folders.close()
        assert os.listdir(bench.root) == []
        (source / "results" / "result.json").unlink()
        (source / "results").rmdir()
        assert contents(source) == before

    play(tmp_path, scene, sources=jobs)


def test_a_worker_without_sources_says_how_it_gets_some(tmp_path: Path) -> None:
    async def scene(bench: Bench) -> None:
        with pytest.raises(SetupFailed, match="start it with --jobs-dir"):
            await bench.fetch(source="team/build")

    play(tmp_path, scene)


@pytest.mark.parametrize(
    "fields",
    [{"command": "make"}, {"script": "make"}, {"steps": (Step(run="make"),)}, {"steps": ()}],
)
def test_what_the_job_says_wins_over_what_its_source_brings(
    tmp_path: Path, jobs: Path, source: Path, fields: Mapping[str, object]
) -> None:
    (source / "job.json").write_text("not JSON, and nobody minds")

    async def scene(bench: Bench) -> None:
        folder = await bench.fetch(
            job="0190-job", attempt=1, source="team/build", **{"command": "", **fields}
        )
        with pytest.raises(SetupFailed, match="nothing to run"):
            folder.steps()

    play(tmp_path, scene, sources=jobs)


@holds("sources/errors-have-a-place")
def test_what_is_wrong_in_a_job_json_is_said_before_anything_is_copied(
    tmp_path: Path, jobs: Path, source: Path
) -> None:
    (source / "job.json").write_text('{\n  "steps": [,]\n}')

    async def scene(bench: Bench) -> None:
        folder = bench.make(command="", source="team/build")
        with pytest.raises(SetupFailed, match=r"job\.json:2:13: this is not JSON"):
            await folder.fetch(bench.report, Deadline())
        assert os.listdir(checkout(folder)) == []
        assert folder.results  # which tell a reader of the refusal
        await folder.remove()
        assert LOCK not in os.listdir(source)

    play(tmp_path, scene, sources=jobs)


def test_a_pattern_that_means_nothing_is_told_before_the_job_runs(
    tmp_path: Path, jobs: Path
) -> None:
    async def scene(bench: Bench) -> None:
        with pytest.raises(SetupFailed, match="artifacts: '# none'"):
            await bench.fetch(source="team/build", artifacts=("# none",))

    play(tmp_path, scene, sources=jobs)


# One job at a time


def test_a_source_that_is_busy_is_left_to_the_job_that_has_it(
    tmp_path: Path, jobs: Path, source: Path
) -> None:
    async def scene(bench: Bench) -> None:
        first = await bench.fetch(job="0190-first", source="team/build")
        assert first.results
        await first.results.write(0, b"mine\n")
        second = bench.make(job="0190-second", source="team/build")
        with pytest.raises(SetupFailed, match="the source is busy with job 0190-first"):
            await second.fetch(bench.report, Deadline())
        assert second.results is None
        await second.remove()
        await conclude(first)
        assert (source / "results" / "step_0.log").read_text() == "mine\n"
        await first.release_folders()
        await bench.fetch(job="0190-third", source="team/build")

    play(tmp_path, scene, sources=jobs)


@holds("sources/one-job-at-a-time")
def test_a_frozen_attempt_leaves_nothing_in_the_results_of_the_next(
    tmp_path: Path, jobs: Path, source: Path
) -> None:
    async def scene(bench: Bench) -> None:
        frozen = await bench.fetch(attempt=1, source="team/build")
        assert frozen.results
        await frozen.results.write(0, b"old\n")
        living = await bench.fetch(attempt=2, source="team/build")
        assert living.results
        await frozen.results.write(0, b"older\n")
        await frozen.results.write(1, b"oldest\n")
        await living.results.write(0, b"new\n")
        await conclude(living)
        await frozen.remove()
        assert sorted(os.listdir(source / "results")) == ["result.json", "step_0.log"]
        assert (source / "results" / "step_0.log").read_text() == "new\n"
        with pytest.raises(SetupFailed, match="busy"):
            await bench.fetch(job="0190-other", source="team/build")
        await living.remove()
        assert LOCK not in os.listdir(source)

    play(tmp_path, scene, sources=jobs)


@promise(
    "sources/cancelled-copy-stops",
    "A cancelled copy stops between two pieces, and its source is free.",
)
def test_a_fetch_that_is_cancelled_copies_no_more_and_frees_its_source(
    tmp_path: Path, jobs: Path, source: Path
) -> None:
    for number in range(MANY):
        (source / str(number)).touch()

    async def scene(bench: Bench) -> None:
        folder = bench.make(source="team/build")
        async with asyncio.TaskGroup() as tasks:
            fetching = tasks.create_task(folder.fetch(bench.report, Deadline()))
            while not os.listdir(checkout(folder)):  # noqa: ASYNC110  # a disk sets no event
                await asyncio.sleep(0)
            fetching.cancel()
            await asyncio.wait([fetching])
        copied = len(os.listdir(checkout(folder)))
        assert copied < MANY
        await folder.release_folders()
        assert len(os.listdir(checkout(folder))) == copied
        await folder.remove()
        assert not folder.path.exists()
        assert LOCK not in os.listdir(source)

    play(tmp_path, scene, sources=jobs)


def test_a_copy_that_takes_its_time_says_how_far_it_is(
    tmp_path: Path, jobs: Path, source: Path
) -> None:
    async def scene(bench: Bench) -> None:
        (tmp_path / "copy").mkdir()
        target = os.open(tmp_path / "copy", FOLDER)
        slow = Source(
            jobs,
            job("team/build"),
            bench.folders.clock,
            must_be_writable=True,
            progress_seconds=0.0,
        )
        await slow.open()
        await slow.stage(target, bench.report)
        await slow.release()
        os.close(target)
        first, *_, last = said(bench)
        assert first == "staging team/build: 0 files, 0 B so far"
        assert last.startswith("staged 3 files, ")

    play(tmp_path, scene)
    assert sorted(os.listdir(tmp_path / "copy")) == sorted(os.listdir(source))


def test_a_source_that_nobody_may_write_to_will_do_if_the_results_go_elsewhere(
    tmp_path: Path,
) -> None:
    """/sys is read-only for every user, root included."""

    async def scene(bench: Bench) -> None:
        for written in (True, False):
            source = Source(
                Path("/sys"), job("kernel"), bench.folders.clock, must_be_writable=written
            )
            if written:
                with pytest.raises(
                    SetupFailed, match=r"cannot write into the source kernel: .* its results"
                ):
                    await source.open()
            else:
                assert os.listdir(await source.open())
            await source.release()

    play(tmp_path, scene)


# Results and artifacts


async def make(bench: Bench, folder: FolderWorkspace, script: str) -> Collected:
    """Runs a job's script, and collects its artifacts."""
    end, output = await bench.fixture.run("sh", "-ec", script, directory=folder.directory())
    assert (end.code, output) == (0, b"")
    assert folder.results
    return await folder.collect(folder.results.sink)


def test_what_a_job_made_or_changed_is_brought_back_and_nothing_else(
    tmp_path: Path, jobs: Path, source: Path
) -> None:
    async def scene(bench: Bench) -> None:
        folder = await bench.fetch(source="team/build")
        script = "mkdir out empty; echo new > out/new; echo more >> src/main.c; rm run.sh"
        collected = await make(bench, folder, script)
        assert collected.errors == ()
        artifacts = {each.path: each.sha256 for each in collected.artifacts}
        assert artifacts == {
            "out/new": hashlib.sha256(b"new\n").hexdigest(),
            "src/main.c": hashlib.sha256(b"int main;more\n").hexdigest(),
        }
        results = source / "results"
        assert sorted(os.listdir(results)) == ["empty", "out", "src"]
        assert (results / "src" / "main.c").read_text() == "int main;more\n"
        assert (source / "src" / "main.c").read_text() == "int main;"

    play(tmp_path, scene, sources=jobs)


@pytest.mark.parametrize(
    ("artifacts", "paths"),
    [((), ["a.o"]), (("run.sh", "b.*"), ["b.x", "run.sh"])],
)
def test_patterns_are_those_of_the_job_or_else_those_that_its_source_brings(
    tmp_path: Path, jobs: Path, artifacts: tuple[str, ...], paths: list[str]
) -> None:
    async def scene(bench: Bench) -> None:
        folder = await bench.fetch(command="", source="team/build", artifacts=artifacts)
        collected = await make(bench, folder, "touch a.o b.x")
        assert [each.path for each in collected.artifacts] == paths

    play(tmp_path, scene, sources=jobs)


def test_the_next_run_leaves_nothing_of_the_one_before(
    tmp_path: Path, jobs: Path, source: Path
) -> None:
    async def scene(bench: Bench) -> None:
        for name in ("one", "two"):
            folder = await bench.fetch(source="team/build")
            await conclude(folder, await make(bench, folder, f"touch {name}"))
            await folder.remove()
        assert sorted(os.listdir(source / "results")) == ["result.json", "two"]
        assert sorted(os.listdir(source)) == ["job.json", "results", "run.sh", "src"]

    play(tmp_path, scene, sources=jobs)


def test_results_can_be_left_elsewhere_of_any_job(tmp_path: Path, jobs: Path, source: Path) -> None:
    before = contents(source)

    async def scene(bench: Bench) -> None:
        for fields in ({"source": "team/build"}, {"artifacts": ("new",)}):
            folder = await bench.fetch(**fields)
            collected = await make(bench, folder, "touch new old")
            assert "new" in [each.path for each in collected.artifacts]
            assert "new" in os.listdir(tmp_path / "here" / "results")
            await conclude(folder, collected)
            await folder.remove()
        assert contents(source) == before

    play(tmp_path, scene, sources=jobs, results=tmp_path / "here" / "results")


def test_results_that_cannot_be_made_fail_the_set_up(tmp_path: Path, jobs: Path) -> None:
    (tmp_path / "here").write_text("a file")

    async def scene(bench: Bench) -> None:
        with pytest.raises(SetupFailed, match=r"cannot make results in .*here"):
            await bench.fetch(source="team/build")

    play(tmp_path, scene, sources=jobs, results=tmp_path / "here" / "results")


# Hostile jobs


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A folder beside the sources that no job may read, write or delete."""
    folder = tmp_path / "outside"
    (folder / "checkout" / "src").mkdir(parents=True)
    for path in (folder / "secret", folder / "checkout" / "secret"):
        path.write_text("secret")
        path.chmod(0o400)
    (folder / "checkout").chmod(0o500)
    return folder


@holds("sources/nothing-outside-the-root")
@pytest.mark.parametrize(
    "harm",
    [
        "rm -r src; ln -s OUTSIDE src",
        "ln -s OUTSIDE/secret secret; ln -s OUTSIDE here",
        "cd ..; mv checkout was; ln -s OUTSIDE/checkout checkout",
        "cd ..; here=$PWD; cd ..; mv $here $here-was; ln -s OUTSIDE $here",
        "cd ..; rm -r checkout; ln -s OUTSIDE/checkout checkout",
        "rm -r ../home; ln -s OUTSIDE ../home",
    ],
)
@pytest.mark.parametrize("patterns", [(), ("*",), ("src/", "secret", "here/")])
def test_links_that_a_job_leaves_lead_nobody_out(
    tmp_path: Path, jobs: Path, source: Path, outside: Path, harm: str, patterns: tuple[str, ...]
) -> None:
    before = contents(outside)

    async def scene(bench: Bench) -> None:
        folder = await bench.fetch(source="team/build", artifacts=patterns)
        collected = await make(bench, folder, harm.replace("OUTSIDE", str(outside)))
        assert "secret" not in [each.path.rpartition("/")[2] for each in collected.artifacts]
        for place, _, names in os.walk(source):
            for name in names:
                path = Path(place) / name
                assert path.is_symlink() or path.read_text() != "secret"
        await folder.remove()

    play(tmp_path, scene, sources=jobs)
    assert contents(outside) == before


def test_earlier_results_that_are_a_link_are_not_followed(
    tmp_path: Path, jobs: Path, source: Path, outside: Path
) -> None:
    (source / ".results-00112233").symlink_to(outside)
    before = contents(outside)

    async def scene(bench: Bench) -> None:
        folder = await bench.fetch(source="team/build")
        await conclude(folder, await make(bench, folder, "touch new"))
        await folder.remove()
        assert sorted(os.listdir(source / "results")) == ["new", "result.json"]
        assert not (source / "results").is_symlink()

    play(tmp_path, scene, sources=jobs)
    assert contents(outside) == before


@pytest.mark.parametrize("link", ["team/out", "out", "out/checkout"])
def test_a_source_that_leads_out_is_not_even_looked_into(
    tmp_path: Path, jobs: Path, outside: Path, link: str
) -> None:
    (jobs / link.removesuffix("/checkout")).symlink_to(outside)
    before = contents(outside)

    async def scene(bench: Bench) -> None:
        folder = bench.make(command="", source=link)
        with pytest.raises(SetupFailed, match="leads out of the worker's folder of sources"):
            await folder.fetch(bench.report, Deadline())
        assert os.listdir(checkout(folder)) == []
        await folder.remove()

    play(tmp_path, scene, sources=jobs)
    assert contents(outside) == before


# Scripts


def read(path: str) -> str:
    return Path(path).read_text()


@pytest.mark.parametrize(
    "text", ["echo one", "#" * 1_000_000 + "\necho one"], ids=["short", "long"]
)
def test_a_workspace_that_only_had_scripts_in_it_serves_again(tmp_path: Path, text: str) -> None:
    async def scene(bench: Bench) -> None:
        first = bench.make()
        inode = os.stat(first.home).st_ino
        paths = [await first.script(text), await first.script(text)]
        for path in paths:
            assert read(path) == text
            assert os.stat(path).st_mode & 0o777 == 0o600
        assert await bench.fixture.run("sh", paths[0], directory=first.directory())
        await first.remove()
        second = bench.make()
        assert os.stat(second.home).st_ino == inode
        assert sorted(os.listdir(second.path)) == ["checkout", "home", "tmp"]
        assert read(await second.script("two")) == "two"

    play(tmp_path, scene)


@pytest.mark.parametrize(
    "touch", ["touch file", "touch file; rm file", "touch ../x; rm ../x", "rm $0"]
)
@pytest.mark.parametrize("before", [True, False], ids=["before the last script", "after it"])
def test_what_a_job_touched_between_scripts_is_not_forgotten(
    tmp_path: Path, touch: str, before: bool
) -> None:
    async def scene(bench: Bench) -> None:
        folder = bench.make()
        path = await folder.script(touch)
        await bench.fixture.run("sh", path, directory=folder.directory())
        if before:
            await folder.script("true")
        await folder.remove()
        assert os.listdir(folder.path.parent) == []

    play(tmp_path, scene)
