"""A file that is written atomically has its name once it is complete, or not at all."""

import os
from contextlib import suppress
from pathlib import Path

import pytest

from airunner.system.atomic import atomic_write, write_all


def write(path: Path, data: bytes, *, replace: bool = True) -> None:
    with atomic_write(str(path), 0o640, replace=replace) as file:
        write_all(file, data)


def test_a_file_has_its_name_and_mode_after_the_block_and_not_before(tmp_path: Path) -> None:
    path = tmp_path / "file"
    with atomic_write(str(path), 0o600) as file:
        write_all(file, b"data")
        assert not path.exists()
        assert [each.parent for each in tmp_path.iterdir()] == [tmp_path]
    assert path.read_bytes() == b"data"
    assert path.stat().st_mode & 0o777 == 0o600
    assert os.listdir(tmp_path) == ["file"]


def test_a_path_and_a_name_in_an_open_folder_mean_the_same_file(tmp_path: Path) -> None:
    write(tmp_path / "file", b"old")
    folder = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with atomic_write("file", 0o600, folder=folder) as file:
            write_all(file, b"new")
    finally:
        os.close(folder)
    assert (tmp_path / "file").read_bytes() == b"new"
    assert os.listdir(tmp_path) == ["file"]


def test_an_error_in_the_block_leaves_the_earlier_file_and_no_other(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write(path, b"old")
    with suppress(RuntimeError), atomic_write(str(path), 0o600) as file:
        write_all(file, b"half")
        raise RuntimeError
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["file"]


def test_a_taken_name_is_an_error_where_nothing_may_be_replaced(tmp_path: Path) -> None:
    write(tmp_path / "file", b"old", replace=False)
    with pytest.raises(FileExistsError):
        write(tmp_path / "file", b"new", replace=False)
    assert (tmp_path / "file").read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["file"]
