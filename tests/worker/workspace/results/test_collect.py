"""The choice of a workspace's artifacts and their collection into a sink, on a real disk."""

import asyncio
import hashlib
import os
import socket
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, Final

import pytest

from airunner.model.artifacts import Artifact
from airunner.model.limits import ARTIFACTS_MAX
from airunner.worker.workspace.results.collect import AT_ONCE, NO_FILE, WorkspaceReader, collect
from airunner.worker.workspace.results.errors import ERRORS_MAX
from airunner.worker.workspace.results.patterns import Patterns
from airunner.worker.workspace.sources.snapshot import StagedSnapshot
from airunner.worker.workspace.workspace import Collected, NotStored
from tests.promises import holds, promise
from tests.support.descriptors import deep_tree, open_descriptors
from tests.zoo import SECONDS_MAX

SECRET: Final = b"nobody may read this"


class MemorySink:
    """An artifact sink in memory; implements ArtifactSink."""

    def __init__(self, *, links: bool = True) -> None:
        """Without `links` the sink stores files only, as a server does."""
        self.files: dict[str, bytes] = {}
        self.links: dict[str, str] = {}
        self.folders: set[str] = set()
        self.refused: set[str] = set()  # paths that the sink refuses
        self.meanwhile: Callable[[Artifact], None] = lambda _: None
        self._keeps_links = links

    async def put(self, artifact: Artifact, data: BinaryIO) -> None:
        self.meanwhile(artifact)
        if artifact.path in self.refused:
            raise NotStored(f"{artifact.path} is refused")
        read = data.read(artifact.size)
        assert hashlib.sha256(read).hexdigest() == artifact.sha256
        self.files[artifact.path] = read

    async def folder(self, path: str) -> None:
        self.folders.add(path)

    async def link(self, path: str, target: str) -> bool:
        if self._keeps_links:
            self.links[path] = target
        return self._keeps_links


def bring(
    top: Path,
    *patterns: str,
    sink: MemorySink | None = None,
    staged: StagedSnapshot | None = None,
    at_once: int = AT_ONCE,
) -> Collected:
    async def within() -> Collected:
        descriptor = os.open(top, os.O_RDONLY)
        try:
            async with asyncio.timeout(SECONDS_MAX):
                kept = sink or MemorySink()
                return await collect(descriptor, kept, Patterns(patterns), staged, at_once=at_once)
        finally:
            os.close(descriptor)

    return asyncio.run(within())


def paths(collected: Collected) -> list[str]:
    return [each.path for each in collected.artifacts]


def fill(top: Path, *files: str) -> None:
    """Creates files that contain their own names, and a folder for each name that ends with /."""
    for name in files:
        path = top / name
        if name.endswith("/"):
            path.mkdir(parents=True)
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(name)


def stage(top: Path) -> StagedSnapshot:
    """A snapshot in which all current files are staged."""
    staged = StagedSnapshot()
    for path in top.rglob("*"):
        staged.add(str(path.relative_to(top)), path.lstat())
    return staged


@pytest.fixture
def top(tmp_path: Path) -> Path:
    """A workspace, beside a secret."""
    (tmp_path / "secret").write_bytes(SECRET)
    folder = tmp_path / "workspace"
    folder.mkdir()
    return folder


# By patterns


def test_patterns_that_mean_no_file_are_remarked_upon_and_a_link_is_one(top: Path) -> None:
    fill(top, "made", "empty/")
    (top / "link").symlink_to("made")
    assert bring(top, "nothing").remark == NO_FILE
    assert bring(top, "empty/").remark == NO_FILE
    assert bring(top, "link").remark == ""
    assert bring(top, "link", sink=MemorySink(links=False)).remark == ""
    assert bring(top, staged=stage(top)).remark == ""


TREE: Final = ("a.xml", "src/b.xml", "build/x", "build/tmp/y", "build/tmp/z.xml", "docs/d/e.html")


@promise(
    "results/artifacts-follow-patterns",
    "Artifacts are the files that .gitignore patterns select, or the new and changed files of a "
    "source. Each artifact is stored whole with the reported digest, or is an error.",
)
@pytest.mark.parametrize(
    ("patterns", "meant"),
    [
        (("*.xml",), ["a.xml", "build/tmp/z.xml", "src/b.xml"]),
        (("/*.xml",), ["a.xml"]),
        (("build/",), ["build/tmp/y", "build/tmp/z.xml", "build/x"]),
        (("build/", "!build/tmp"), ["build/x"]),
        (("build", "!*.xml"), ["build/tmp/y", "build/x"]),
        (("!*.xml", "*.xml"), ["a.xml", "build/tmp/z.xml", "src/b.xml"]),
        (("docs/**/*.html", "a.xml"), ["a.xml", "docs/d/e.html"]),
        (("tmp/",), ["build/tmp/y", "build/tmp/z.xml"]),
        (("/tmp",), []),
        (("src/b.xml",), ["src/b.xml"]),
        (("**",), sorted(TREE)),
        (("nothing",), []),
    ],
)
def test_patterns_mean_what_they_mean_in_a_gitignore(
    top: Path, patterns: tuple[str, ...], meant: list[str]
) -> None:
    fill(top, *TREE)
    sink = MemorySink()
    collected = bring(top, *patterns, sink=sink)
    assert paths(collected) == meant
    assert sink.files == {path: path.encode() for path in meant}
    assert collected.errors == ()


@pytest.mark.parametrize(
    ("pattern", "why"),
    [
        ("!", "is not a pattern"),
        ("a\\", "is not a pattern"),
        ("[z-a]", "is not a pattern"),
        ("[[:alpha:]]", "is not a pattern"),
        ("# notes", "matches no file"),
        ("a[", "matches no file"),
        ("/", "matches no file"),
        ("./dist", "remove the leading ./"),
        ("!./dist", "remove the leading ./"),
        ("!build", "excludes from an empty selection"),
    ],
)
def test_a_pattern_that_means_nothing_is_said_to(pattern: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        Patterns((pattern,))


def test_without_patterns_and_without_a_source_nothing_is_an_artifact(top: Path) -> None:
    fill(top, *TREE)
    assert bring(top) == Collected()


def test_an_artifact_is_known_by_size_digest_and_whether_it_is_a_program(top: Path) -> None:
    data = os.urandom(3_000_000)
    (top / "data").write_bytes(data)
    fill(top, "run")
    (top / "run").chmod(0o755)
    digest = hashlib.sha256(data).hexdigest()
    first, second = bring(top, "*").artifacts
    assert first == Artifact(path="data", size=3_000_000, sha256=digest)
    assert (second.path, second.executable) == ("run", True)


@pytest.mark.parametrize(
    ("patterns", "meant"),
    [
        (("*",), [".github/flow", ".gitignore", "sub/x"]),
        (("**/*",), [".github/flow", ".gitignore", "sub/x"]),
        ((".github",), [".github/flow"]),
        (("*", "!.git"), [".github/flow", ".gitignore", "sub/x"]),
        ((".git/HEAD",), [".git/HEAD"]),
        (("/.git/",), [".git/HEAD", ".git/objects/o"]),
        (("sub/.git",), ["sub/.git"]),
    ],
)
def test_git_folders_are_artifacts_only_if_a_pattern_is_about_them(
    top: Path, patterns: tuple[str, ...], meant: list[str]
) -> None:
    fill(top, ".git/HEAD", ".git/objects/o", ".gitignore", ".github/flow", "sub/.git", "sub/x")
    assert paths(bring(top, *patterns)) == meant


# By a snapshot of a staged source


@holds("results/artifacts-follow-patterns")
def test_of_a_source_what_is_new_or_changed_is_an_artifact_and_nothing_else(top: Path) -> None:
    fill(top, "same", "changed", "deleted", "replaced", "dir/same", "dir/changed", "job.json")
    (top / "link").symlink_to("same")
    (top / "turned").symlink_to("same")
    staged = stage(top)
    with (top / "changed").open("a") as file:
        file.write("more")
    (top / "deleted").unlink()
    (top / "replaced").rename(top / "moved")
    fill(top, "replaced", "new/file", "dir/new", "linked/x")
    os.utime(top / "dir/changed", ns=(0, 0))
    (top / "turned").unlink()
    (top / "turned").symlink_to("elsewhere")
    sink = MemorySink()
    meant = ["changed", "dir/changed", "dir/new", "linked/x", "moved", "new/file", "replaced"]
    assert paths(bring(top, sink=sink, staged=staged)) == meant
    assert sink.links == {"turned": "elsewhere"}
    assert sink.folders == set()


def test_a_file_that_was_changed_at_once_and_kept_its_size_is_changed(top: Path) -> None:
    fill(top, *(f"file-{n}" for n in range(200)))
    staged = stage(top)
    for n in range(200):
        with (top / f"file-{n}").open("r+") as file:
            file.write("X")
    assert len(bring(top, staged=staged).artifacts) == 200


def test_folders_that_are_new_and_empty_come_along(top: Path) -> None:
    fill(top, "was/empty/", "was/full/x", "job.json")
    staged = stage(top)
    (top / "was/full/x").unlink()
    fill(top, "new/a/b/", "full/x")
    sink = MemorySink()
    assert paths(bring(top, sink=sink, staged=staged)) == ["full/x"]
    assert sink.folders == {"new/a/b"}
    sink = MemorySink()
    assert paths(bring(top, "new/", "was/", sink=sink, staged=staged)) == []
    assert sink.folders == {"new/a/b", "was/empty", "was/full"}


def test_what_a_job_made_in_a_folder_of_results_of_its_own_is_not_lost(top: Path) -> None:
    fill(top, "data", "job.json")
    staged = stage(top)
    fill(top, "results/report.xml")
    assert paths(bring(top, staged=staged)) == ["results/report.xml"]


def test_patterns_reach_what_was_staged_but_not_the_list_of_steps(top: Path) -> None:
    fill(top, "a.json", "job.json", "sub/job.json", "results/b.json")
    staged = stage(top)
    meant = ["a.json", "results/b.json", "sub/job.json"]
    assert paths(bring(top, "*.json", staged=staged)) == meant
    fill(top, "job.json")
    assert paths(bring(top, "*.json", staged=stage(top))) == meant
    (top / "job.json").write_text("new steps")
    assert "job.json" in paths(bring(top, "*.json", staged=staged))
    assert "job.json" in paths(bring(top, "*.json"))


# Links


@holds("results/stay-inside")
def test_links_are_kept_as_links_and_never_followed(top: Path) -> None:
    fill(top, "dir/file")
    (top / "out.xml").symlink_to("../secret")
    (top / "build").symlink_to(top.parent)
    (top / "dir/up").symlink_to("../..")
    (top / "dir/loop").symlink_to("loop")
    sink = MemorySink()
    assert paths(bring(top, "**", sink=sink)) == ["dir/file"]
    assert sink.links == {
        "out.xml": "../secret",
        "build": str(top.parent),
        "dir/up": "../..",
        "dir/loop": "loop",
    }


@holds("results/stay-inside")
def test_a_shelf_without_links_gets_the_files_that_they_lead_to_within_the_workspace(
    top: Path,
) -> None:
    fill(top, "v1/lib.so", "other/")
    (top / "lib.so").symlink_to("v1/lib.so")
    (top / "far.so").symlink_to("latest/lib.so")
    (top / "latest").symlink_to("v1")
    (top / "full.so").symlink_to(top / "v1/lib.so")
    (top / "out.so").symlink_to("../secret")
    (top / "outside.so").symlink_to(top.parent / "secret")
    (top / "around.so").symlink_to("../workspace/v1/lib.so")
    (top / "dangling.so").symlink_to("nowhere")
    (top / "loop.so").symlink_to("loop.so")
    (top / "folder.so").symlink_to("other")
    sink = MemorySink(links=False)
    collected = bring(top, "*.so", sink=sink)
    assert set(sink.files) == {"v1/lib.so", "lib.so", "far.so", "full.so", "around.so"}
    assert set(sink.files.values()) == {b"v1/lib.so"}
    assert collected.errors == ()


def test_a_link_that_a_pattern_names_and_that_leads_to_no_file_is_an_error(top: Path) -> None:
    (top / "report").symlink_to("../secret")
    sink = MemorySink(links=False)
    collected = bring(top, "/report", sink=sink)
    assert collected.artifacts == ()
    (error,) = collected.errors
    assert error == "artifact 'report' is a link that leads to no file of the workspace"


def test_no_descriptor_is_left_of_a_file_that_became_a_folder_or_that_nobody_waited_for(
    top: Path,
) -> None:
    (top / "file").write_bytes(b"x")
    (top / "folder").mkdir()
    before = open_descriptors()
    reader = WorkspaceReader(os.open(top, os.O_RDONLY), Patterns(()), None)
    data = reader.open("file", "file")
    with pytest.raises(NotStored):
        reader.open("folder", "folder")
    reader.close()
    assert data.closed
    assert open_descriptors() <= before


@holds("results/stay-inside")
def test_a_file_or_a_folder_that_becomes_a_link_meanwhile_is_not_followed(top: Path) -> None:
    fill(top, "a", "b", "d/secret", "e/x")
    sink = MemorySink()

    def swap(artifact: Artifact) -> None:
        if artifact.path == "a":
            (top / "b").unlink()
            (top / "b").symlink_to("../secret")
            (top / "d").rename(top / "f")
            (top / "d").symlink_to("..")

    sink.meanwhile = swap
    collected = bring(top, "**", sink=sink, at_once=1)
    assert SECRET not in sink.files.values()
    assert paths(collected) == ["a", "e/x"]
    assert [error.split()[1] for error in collected.errors] == ["'b'", "'d/secret'"]


# Entries that are no files or cannot be stored


@promise(
    "results/leftovers-delay-nobody",
    "Nothing that a job leaves can delay a worker: pipes, growing files, names that are not text, "
    "endless paths, more files than the limit.",
)
def test_pipes_sockets_and_devices_are_left_out_and_hold_nobody_up(top: Path) -> None:
    fill(top, "file")
    os.mkfifo(top / "pipe")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(os.path.relpath(top / "socket"))
        assert bring(top, "*").errors == ()
        assert paths(bring(top, "*")) == ["file"]
        assert paths(bring(top, staged=StagedSnapshot())) == ["file"]
        (error,) = bring(top, "pipe").errors
        assert error == "artifact 'pipe' is neither a file nor a link"


@holds("results/leftovers-delay-nobody")
def test_a_file_that_becomes_a_pipe_meanwhile_holds_nobody_up(top: Path) -> None:
    fill(top, "a", "b")
    sink = MemorySink()

    def swap(artifact: Artifact) -> None:
        (top / "b").unlink()
        os.mkfifo(top / "b")

    sink.meanwhile = swap
    collected = bring(top, "*", sink=sink, at_once=1)
    assert paths(collected) == ["a"]
    assert collected.errors == ("artifact 'b' is no longer a file",)


@holds("results/leftovers-delay-nobody")
def test_a_file_that_grows_all_the_time_is_as_large_as_it_was_when_it_was_opened(
    top: Path,
) -> None:
    path, over = top / "growing", threading.Event()
    path.write_bytes(b"x" * 5_000_000)

    def grow() -> None:
        with path.open("ab", buffering=0) as file:
            while not over.is_set() and file.tell() < 200_000_000:
                file.write(b"x" * 10_000)

    writer = threading.Thread(target=grow)
    writer.start()
    try:
        (artifact,) = bring(top, "*").artifacts
    finally:
        over.set()
        writer.join()
    assert 5_000_000 <= artifact.size <= path.stat().st_size
    assert artifact.sha256 == hashlib.sha256(b"x" * artifact.size).hexdigest()


@holds("results/artifacts-follow-patterns")
def test_what_a_shelf_does_not_take_is_an_error_and_the_others_are_kept(top: Path) -> None:
    fill(top, "a", "b", "c")
    sink = MemorySink()
    sink.refused.add("b")
    collected = bring(top, "*", sink=sink)
    assert paths(collected) == ["a", "c"]
    assert collected.errors == ("b is refused",)


def test_a_few_files_are_on_their_way_at_a_time(top: Path) -> None:
    fill(top, *map(str, range(20)))
    under_way: set[str] = set()
    most = 0

    class SlowSink(MemorySink):
        async def put(self, artifact: Artifact, data: BinaryIO) -> None:
            nonlocal most
            under_way.add(artifact.path)
            most = max(most, len(under_way))
            for _ in range(100):  # turns of the loop
                await asyncio.sleep(0)
            await super().put(artifact, data)
            under_way.remove(artifact.path)

    assert len(bring(top, "*", sink=SlowSink(), at_once=3).artifacts) == 20
    assert 1 < most <= 3


@holds("results/leftovers-delay-nobody")
def test_a_name_that_is_not_utf_8_is_an_error_that_can_be_read(top: Path) -> None:
    (top / os.fsdecode(b"caf\xe9")).write_text("x")
    fill(top, "fine", "line\nbreak")
    collected = bring(top, "*")
    assert paths(collected) == ["fine", "line\nbreak"]
    assert collected.errors == (r"artifact 'caf\xe9' has a name that is not UTF-8",)


@holds("results/leftovers-delay-nobody")
def test_a_path_that_is_too_long_is_an_error_and_ends_nothing(top: Path) -> None:
    fill(top, "a", "z")
    with deep_tree(top, 2_500):
        (top / ("d/" * 1_000) / "x").write_text("deep")
        collected = bring(top, "*")
    assert paths(collected) == ["a", "d/" * 1_000 + "x", "z"]
    (error,) = collected.errors
    assert "ARTIFACT_PATH_BYTES_MAX (4096 bytes)" in error


@holds("results/leftovers-delay-nobody")
def test_more_files_than_may_be_are_an_error_and_the_first_are_kept(top: Path) -> None:
    for number in range(ARTIFACTS_MAX + 5):
        (top / f"{number:05}").touch()
    sink = MemorySink()
    collected = bring(top, "*", sink=sink)
    assert len(collected.artifacts) == len(sink.files) == ARTIFACTS_MAX
    (error,) = collected.errors
    assert error.startswith("there are more than ARTIFACTS_MAX (10000) artifacts: '10000' and ")


def test_of_many_errors_the_first_are_told_and_the_others_counted(top: Path) -> None:
    fill(top, *(f"{number:03}" for number in range(ERRORS_MAX + 7)))
    sink = MemorySink()
    sink.refused.update(os.listdir(top))
    errors = bring(top, "*", sink=sink).errors
    assert errors[0] == "000 is refused"
    assert errors[ERRORS_MAX:] == ("7 more artifacts could not be stored",)


def test_a_harvest_that_is_cancelled_stops_soon_and_closes_all_that_it_opened(top: Path) -> None:
    fill(top, *(f"{number}" for number in range(10)))
    with (top / "big").open("wb") as file:
        file.truncate(1 << 40)  # would take an hour to read

    async def within() -> None:
        descriptor = os.open(top, os.O_RDONLY)
        before = open_files(top)
        sink, began = MemorySink(), asyncio.Event()
        sink.meanwhile = lambda artifact: began.set() if artifact.path == "9" else None
        async with asyncio.timeout(SECONDS_MAX), asyncio.TaskGroup() as tasks:
            bringing = tasks.create_task(collect(descriptor, sink, Patterns(["*"])))
            await began.wait()
            bringing.cancel()
        for thread in [each for each in threading.enumerate() if each.name == "collect"]:
            thread.join(SECONDS_MAX)
        assert open_files(top) == before
        os.close(descriptor)

    asyncio.run(within())


def open_files(below: Path) -> Mapping[str, str]:
    found = {}
    for name in os.listdir("/proc/self/fd"):
        with suppress(OSError):
            target = os.readlink(f"/proc/self/fd/{name}")
            if target.startswith(str(below)):
                found[name] = target
    return found
