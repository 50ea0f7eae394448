"""The lock of an open file, and the check of its name."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from airunner.system.lock import is_named, try_lock


@contextmanager
def opened(path: Path, flags: int = os.O_RDWR | os.O_CREAT) -> Iterator[int]:
    file = os.open(path, flags, 0o600)
    try:
        yield file
    finally:
        os.close(file)


def test_a_lock_has_one_holder_until_its_file_is_closed(tmp_path: Path) -> None:
    with opened(tmp_path / "lock") as one:
        assert try_lock(one)
        with opened(tmp_path / "lock") as other:
            assert not try_lock(other)
            assert not try_lock(other, shared=True)
    with opened(tmp_path / "lock") as next_one:
        assert try_lock(next_one)


def test_a_shared_lock_has_several_holders_and_excludes_an_exclusive_lock(tmp_path: Path) -> None:
    with opened(tmp_path / "lock") as one, opened(tmp_path / "lock") as other:
        assert try_lock(one, shared=True)
        assert try_lock(other, shared=True)
        assert not try_lock(other)


def test_a_folder_can_be_locked(tmp_path: Path) -> None:
    with (
        opened(tmp_path, os.O_RDONLY | os.O_DIRECTORY) as one,
        opened(tmp_path, os.O_RDONLY | os.O_DIRECTORY) as other,
    ):
        assert try_lock(one)
        assert not try_lock(other)


def test_the_lock_of_a_killed_process_is_free(tmp_path: Path) -> None:
    program = (
        "import os, sys; from airunner.system.lock import try_lock; "
        "print(try_lock(os.open(sys.argv[1], os.O_RDWR | os.O_CREAT)), flush=True); input()"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "lock")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout
        assert holder.stdout.readline() == b"True\n"
        with opened(tmp_path / "lock") as file:
            assert not try_lock(file)
            holder.kill()
            holder.wait()
            assert try_lock(file)


def test_a_file_that_cannot_be_locked_is_an_error() -> None:
    with pytest.raises(OSError, match="Bad file descriptor"):
        try_lock(1 << 20)


def test_a_name_refers_to_a_file_until_the_file_is_removed_or_replaced(tmp_path: Path) -> None:
    path = tmp_path / "name"
    with opened(path) as file, opened(tmp_path, os.O_RDONLY | os.O_DIRECTORY) as folder:
        assert is_named(str(path), file)
        assert is_named("name", file, folder=folder)
        path.rename(tmp_path / "moved")
        assert not is_named(str(path), file)
        path.symlink_to("moved")
        assert not is_named("name", file, folder=folder)
        path.unlink()
        path.touch()
        assert not is_named("name", file, folder=folder)
