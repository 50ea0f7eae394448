"""A copy of a source is complete and shares nothing with it, and no outside file is touched."""

import os
import socket
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Event

import pytest

from airunner.model.limits import MIB
from airunner.system.descent import FOLDER
from airunner.worker.workspace.sources.copy import LEFT_OUT_NAMED, CopyStats, SourceCopy, Stopped
from airunner.worker.workspace.sources.snapshot import StagedSnapshot
from airunner.worker.workspace.workspace import SetupFailed
from tests.promises import holds
from tests.support.descriptors import deep_tree, deepest, open_descriptors

NOBODY = 65_534
DEPTH = 1_500
SHARED_MEMORY = Path("/dev/shm")  # another file system


@pytest.fixture
def source(tmp_path: Path) -> Path:
    (tmp_path / "source").mkdir()
    return tmp_path / "source"


@pytest.fixture
def target(tmp_path: Path) -> Path:
    (tmp_path / "target").mkdir()
    return tmp_path / "target"


def stage(
    source: Path,
    target: Path,
    *,
    staged: StagedSnapshot | None = None,
    progress: Callable[[CopyStats], None] = lambda _tally: None,
    stop: Event | None = None,
) -> CopyStats:
    before = open_descriptors()
    there, here = os.open(source, FOLDER), os.open(target, FOLDER)
    try:
        return SourceCopy(
            there, here, staged or StagedSnapshot(), progress, stop or Event(), pace=0.0
        ).run()
    finally:
        os.close(there)
        os.close(here)
        assert open_descriptors() <= before


@holds("sources/private-copy")
def test_everything_is_there_as_it_was(source: Path, target: Path) -> None:
    (source / "src" / "deep").mkdir(parents=True)
    (source / "empty").mkdir()
    (source / "src" / "deep" / "data").write_bytes(os.urandom(3 * MIB + 17))
    (source / "run.sh").write_text("#!/bin/sh\n")
    (source / "run.sh").chmod(0o755)
    (source / "nothing").touch()
    for path in (source / "run.sh", source / "src" / "deep", source / "src"):
        os.utime(path, ns=(1_000_000_001, 2_000_000_002))
    tally = stage(source, target)
    data = source / "src" / "deep" / "data"
    assert (tally.files, tally.size) == (3, 3 * MIB + 17 + 10)
    assert (target / "src" / "deep" / "data").read_bytes() == data.read_bytes()
    assert sorted(os.listdir(target)) == sorted(os.listdir(source))
    for name in ("run.sh", "src/deep", "src"):
        made = (target / name).stat()
        assert made.st_mtime_ns == 2_000_000_002
        assert made.st_mode == (source / name).stat().st_mode


def test_what_was_staged_is_known_again(source: Path, target: Path) -> None:
    (source / "folder").mkdir()
    for name in ("one", "folder/two"):
        (source / name).write_text(name)
    (source / "link").symlink_to("one")
    staged = StagedSnapshot()
    stage(source, target, staged=staged)
    paths = ("one", "folder", "folder/two", "link")
    assert all(staged.unchanged(path, (target / path).lstat()) for path in paths)
    (target / "folder" / "two").write_text("other")
    (target / "folder" / "three").write_text("new")
    for path in ("folder/two", "folder/three"):
        assert not staged.unchanged(path, (target / path).lstat())


@holds("sources/private-copy")
def test_a_copy_and_its_source_do_not_change_with_each_other(source: Path, target: Path) -> None:
    (source / "big").write_bytes(bytes(MIB))
    (source / "small").write_text("small")
    os.link(source / "small", source / "other name")
    stage(source, target)
    assert {path.stat().st_nlink for path in target.iterdir()} == {1}
    for name in ("big", "small"):
        with (target / name).open("r+b") as file:
            file.write(b"changed")
    (target / "other name").unlink()
    assert (source / "big").read_bytes() == bytes(MIB)
    assert (source / "small").read_text() == (source / "other name").read_text() == "small"


def test_its_owner_may_write_whatever_was_read_only_and_nothing_runs_as_another(
    source: Path, target: Path
) -> None:
    (source / "folder").mkdir()
    for path in (source / "folder" / "file", source / "program"):
        path.write_text("x")
    (source / "folder" / "file").chmod(0o444)
    (source / "program").chmod(0o4755)
    (source / "folder").chmod(0o555)
    stage(source, target)
    assert stat.S_IMODE((target / "folder").stat().st_mode) == 0o755
    assert stat.S_IMODE((target / "folder" / "file").stat().st_mode) == 0o644
    assert stat.S_IMODE((target / "program").stat().st_mode) == 0o755


@holds("sources/nothing-outside-the-root")
@pytest.mark.parametrize("link", ["../outside/secret", "../outside", "nowhere", "inside"])
def test_links_are_copied_and_never_followed(
    tmp_path: Path, source: Path, target: Path, link: str
) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "secret").write_text("secret")
    (source / "inside").mkdir()
    (source / "link").symlink_to(link)
    os.utime(source / "link", ns=(1, 2), follow_symlinks=False)
    stage(source, target)
    assert os.readlink(target / "link") == link
    assert (target / "link").lstat().st_mtime_ns == 2
    assert sorted(os.listdir(target)) == ["inside", "link"]


def test_an_absolute_link_leads_where_it_led(tmp_path: Path, source: Path, target: Path) -> None:
    (source / "link").symlink_to(tmp_path)
    stage(source, target)
    assert os.readlink(target / "link") == str(tmp_path)


def test_pipes_and_sockets_are_left_out_and_named(
    source: Path, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.mkfifo(source / "pipe")
    with socket.socket(socket.AF_UNIX) as listening:
        monkeypatch.chdir(source)  # a socket's path is short
        listening.bind("socket")
        (source / "file").touch()
        tally = stage(source, target)
    assert os.listdir(target) == ["file"]
    assert sorted(tally.examples) == ["pipe (a named pipe)", "socket (a socket)"]
    assert (tally.files, tally.left_out) == (1, 2)


def test_not_all_of_many_that_are_left_out_are_named(source: Path, target: Path) -> None:
    for number in range(LEFT_OUT_NAMED + 5):
        os.mkfifo(source / str(number))
    tally = stage(source, target)
    assert (len(tally.examples), tally.left_out) == (LEFT_OUT_NAMED, LEFT_OUT_NAMED + 5)


def test_what_airunner_keeps_at_the_top_is_left_out_and_below_it_is_not(
    source: Path, target: Path
) -> None:
    for folder in (source, source / "below"):
        (folder / "results").mkdir(parents=True)
        (folder / ".results-0011aabb").mkdir()
        for name in (".airunner-lock", ".airunner-lock-1", "results/old", "kept"):
            (folder / name).touch()
    stage(source, target)
    assert sorted(os.listdir(target)) == ["below", "kept"]
    assert len(os.listdir(target / "below")) == 5
    (target / "below" / "results" / "old").unlink()


@pytest.mark.skipif(not SHARED_MEMORY.is_dir(), reason="there is one file system here")
@pytest.mark.parametrize("size", [3 * MIB + 17, 20 * MIB])
def test_a_copy_from_another_file_system_is_whole(target: Path, size: int) -> None:
    with TemporaryDirectory(dir=SHARED_MEMORY) as folder:
        data = os.urandom(size)
        (Path(folder) / "data").write_bytes(data)
        tally = stage(Path(folder), target)
    assert (target / "data").read_bytes() == data
    assert tally.size == size


@holds("sources/private-copy")
@pytest.mark.parametrize("name", [b"\xff\xfe", b"a\nb", b"-rf", b" ", "…".encode(), b"x" * 255])
def test_any_name_is_copied(source: Path, target: Path, name: bytes) -> None:
    (source / os.fsdecode(name)).mkdir()
    (source / os.fsdecode(name) / os.fsdecode(name)).write_bytes(name)
    stage(source, target)
    assert os.listdir(os.fsencode(target)) == [name]
    below = target / os.fsdecode(name)
    assert [each.read_bytes() for each in below.iterdir()] == [name]


def test_holes_stay_holes(source: Path, target: Path) -> None:
    with (source / "sparse").open("wb") as file:
        file.seek(64 * MIB)
        file.write(b"data")
        file.truncate(128 * MIB)
    stage(source, target)
    made = (target / "sparse").stat()
    assert made.st_size == 128 * MIB
    assert made.st_blocks * 512 < MIB
    with (target / "sparse").open("rb") as copy:
        copy.seek(64 * MIB)
        assert copy.read(6) == b"data\0\0"


@holds("sources/private-copy")
def test_a_tree_may_be_deeper_than_there_are_descriptors(source: Path, target: Path) -> None:
    with deep_tree(source, DEPTH, target):
        bottom = deepest(source, DEPTH)
        os.close(os.open("file", os.O_WRONLY | os.O_CREAT, dir_fd=bottom))
        os.close(bottom)
        assert stage(source, target).files == 1
        bottom = deepest(target, DEPTH)
        assert os.listdir(bottom) == ["file"]
        os.close(bottom)


@contextmanager
def nobody() -> Iterator[None]:
    """Runs as a user without root's rights."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.mark.parametrize("name", ["secret", "locked"])
def test_what_cannot_be_read_is_named(source: Path, target: Path, name: str) -> None:
    (source / "a").mkdir()
    (source / "a" / "secret").write_text("x")
    (source / "a" / "locked").mkdir()
    (source / "a" / name).chmod(0)
    target.chmod(0o777)
    said = f"cannot copy a/{name} from the source: Permission denied"
    there, here = os.open(source, FOLDER), os.open(target, FOLDER)
    staging = SourceCopy(there, here, StagedSnapshot(), lambda _tally: None, Event())
    with nobody(), pytest.raises(SetupFailed, match=said):
        staging.run()
    os.close(there)
    os.close(here)


def test_workspaces_within_the_source_are_not_copied_into_themselves(source: Path) -> None:
    (source / "work" / "checkout").mkdir(parents=True)
    with pytest.raises(SetupFailed, match="--workspaces-dir"):
        stage(source, source / "work" / "checkout")


def test_copying_tells_how_far_it_is_and_stops_between_two_files(
    source: Path, target: Path
) -> None:
    for number in range(10):
        (source / str(number)).write_text("x")
    stop, told = Event(), list[int]()

    def progress(tally: CopyStats) -> None:
        told.append(tally.files)
        if tally.files == 3:
            stop.set()

    with pytest.raises(Stopped):
        stage(source, target, progress=progress, stop=stop)
    assert told == [0, 1, 2, 3]
    assert len(os.listdir(target)) == 4


@holds("sources/cancelled-copy-stops")
def test_copying_stops_within_a_large_file(source: Path, target: Path) -> None:
    with (source / "large").open("wb") as file:
        for _ in range(64):
            file.write(os.urandom(MIB))
    stop = Event()

    def progress(tally: CopyStats) -> None:
        if tally.size:
            stop.set()

    with pytest.raises(Stopped):
        stage(source, target, progress=progress, stop=stop)
    assert (target / "large").stat().st_size < 64 * MIB


# Changes of the source during the copy


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    folder = tmp_path / "outside"
    folder.mkdir()
    (folder / "secret").write_text("secret")
    return folder


def into_link(path: Path, outside: Path) -> None:
    path.symlink_to(outside / "secret")


def into_folder_link(path: Path, outside: Path) -> None:
    path.symlink_to(outside)


def into_pipe(path: Path, _outside: Path) -> None:
    os.mkfifo(path)


def into_folder(path: Path, _outside: Path) -> None:
    path.mkdir()


@holds("sources/nothing-outside-the-root")
@pytest.mark.parametrize("swap", [into_link, into_folder_link, into_pipe, into_folder])
@pytest.mark.parametrize("name", ["file", "folder"])
def test_what_is_swapped_meanwhile_leads_nowhere_and_holds_nobody_up(
    source: Path, target: Path, outside: Path, name: str, swap: Callable[[Path, Path], None]
) -> None:
    (source / "file").touch()
    (source / "folder").mkdir()
    before = outside.stat()
    old = (source / name).stat().st_ino

    def progress(_tally: CopyStats) -> None:
        if (source / name).lstat().st_ino == old:
            (source / name).rename(source.parent / "old")
            swap(source / name, outside)

    if swap is into_folder and name == "folder":
        stage(source, target, progress=progress)
    else:
        with pytest.raises(SetupFailed, match=f"cannot copy {name} .* it changed while"):
            stage(source, target, progress=progress)
        assert not (target / name).exists()
    assert outside.stat().st_mtime_ns == before.st_mtime_ns


@pytest.mark.parametrize("name", ["file", "folder", "link"])
def test_what_is_removed_meanwhile_is_left_out(source: Path, target: Path, name: str) -> None:
    (source / "file").touch()
    (source / "folder").mkdir()
    (source / "link").symlink_to("file")

    def progress(_tally: CopyStats) -> None:
        with suppress(FileNotFoundError):
            (source / name).rename(source.parent / "old")

    stage(source, target, progress=progress)
    assert sorted(os.listdir(target)) == sorted({"file", "folder", "link"} - {name})


def test_a_file_that_grows_meanwhile_ends(source: Path, target: Path) -> None:
    (source / "log").write_bytes(bytes(16 * MIB))

    def progress(_tally: CopyStats) -> None:
        with (source / "log").open("ab") as log:
            log.write(bytes(MIB))

    with (source / "log").open("rb"):
        tally = stage(source, target, progress=progress)
    assert tally.size == (target / "log").stat().st_size == 17 * MIB


def test_a_file_that_is_cut_short_meanwhile_is_copied_as_far_as_it_goes(
    source: Path, target: Path
) -> None:
    (source / "log").write_bytes(b"x" * (32 * MIB))

    def progress(tally: CopyStats) -> None:
        if tally.size:
            os.truncate(source / "log", 1)

    stage(source, target, progress=progress)
    made = (target / "log").read_bytes()
    assert made == b"x" * len(made)
    assert len(made) < 32 * MIB
