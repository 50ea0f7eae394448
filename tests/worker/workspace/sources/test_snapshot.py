"""A snapshot recognizes the staged files, and not the files that a job has changed."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from airunner.worker.workspace.sources.snapshot import StagedSnapshot


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "file").write_text("one")
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to("file")
    return tmp_path


@pytest.fixture
def staged(place: Path) -> StagedSnapshot:
    staged = StagedSnapshot()
    for path in place.iterdir():
        staged.add(path.name, path.lstat())
    return staged


def test_what_is_as_it_was_is_unchanged(place: Path, staged: StagedSnapshot) -> None:
    (place / "folder" / "new").write_text("x")  # which changes the folder's own times
    (place / "file").chmod(0o755)
    (place / "file").read_text()
    assert all(staged.unchanged(path.name, path.lstat()) for path in place.iterdir())


def rewrite(file: Path) -> None:
    file.write_text("two")


def append(file: Path) -> None:
    times = file.stat()
    with file.open("a") as more:
        more.write("x")
    os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))


def replace(file: Path) -> None:
    times = file.stat()
    new = file.with_name("new")
    new.write_text("two")
    os.utime(new, ns=(times.st_atime_ns, times.st_mtime_ns))
    new.rename(file)


def touch(file: Path) -> None:
    os.utime(file, ns=(0, 1))


def link(file: Path) -> None:
    file.unlink()
    file.symlink_to("elsewhere")


@pytest.mark.parametrize("change", [rewrite, append, replace, touch, link])
def test_a_file_that_was_changed_in_any_way_is_told(
    place: Path, staged: StagedSnapshot, change: Callable[[Path], None]
) -> None:
    change(place / "file")
    assert not staged.unchanged("file", (place / "file").lstat())


def test_what_was_not_there_is_new(place: Path, staged: StagedSnapshot) -> None:
    (place / "file").rename(place / "other")
    assert not staged.unchanged("other", (place / "other").lstat())
    assert not staged.unchanged("link/", (place / "link").lstat())
    (place / "link").unlink()
    (place / "link").mkdir()
    assert not staged.unchanged("link", (place / "link").lstat())


def test_a_million_files_take_eight_megabytes(place: Path) -> None:
    staged, state = StagedSnapshot(), (place / "file").lstat()
    for number in range(1_000):
        staged.add(str(number), state)
    assert staged.size == 8 * 1_000
    assert staged.unchanged("999", state)
    assert staged.size == 8 * 1_000
    staged.add("1000", state)
    assert staged.unchanged("1000", state)
    assert not staged.unchanged("1001", state)
