"""The room on the disk of a log."""

import os
from pathlib import Path

import pytest

from airunner.log.disk_space import FreeSpaceCheck
from airunner.model.errors import LimitReached


def free(folder: Path) -> int:
    disk = os.statvfs(folder)
    return disk.f_bavail * disk.f_frsize


def test_there_is_room_while_enough_is_free(tmp_path: Path) -> None:
    FreeSpaceCheck(tmp_path, free(tmp_path) // 2).check()


def test_where_too_little_is_free_the_folder_and_both_figures_are_said(tmp_path: Path) -> None:
    wanted = 2 * free(tmp_path)
    with pytest.raises(LimitReached) as refusal:
        FreeSpaceCheck(tmp_path, wanted).check()
    said = str(refusal.value)
    assert f"MiB are free at {tmp_path}" in said
    assert f"FREE_BYTES_MIN ({wanted / 2**20:,.0f} MiB)" in said


def test_what_is_on_its_way_counts_as_taken(tmp_path: Path) -> None:
    room = FreeSpaceCheck(tmp_path, free(tmp_path) // 2)
    with pytest.raises(LimitReached, match="are spoken for"):
        room.check(free(tmp_path) * 3 // 4)


def test_without_a_least_there_is_always_room(tmp_path: Path) -> None:
    FreeSpaceCheck(tmp_path, 0).check()
