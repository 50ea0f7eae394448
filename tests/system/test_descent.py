"""A walk down into a folder stays below it, at any depth, and if folders are swapped meanwhile."""

import errno
import os
from pathlib import Path

import pytest

from airunner.system.descent import FOLDER, Descent
from tests.support.descriptors import deep_tree, open_descriptors

DEPTH = 1_500  # more folders than descriptors


def descent(folder: Path) -> Descent:
    top = os.open(folder, FOLDER)
    try:
        return Descent(top)
    finally:
        os.close(top)


def climb(way: Descent) -> None:
    while way.depth:
        way.up()


def test_a_way_of_any_depth_leads_back_and_needs_few_descriptors(tmp_path: Path) -> None:
    before = open_descriptors()
    with deep_tree(tmp_path, DEPTH), descent(tmp_path) as way:
        top = os.fstat(way.here).st_ino
        for _ in range(DEPTH):
            way.down("d")
        assert way.depth == DEPTH
        assert open_descriptors() < before + 50
        climb(way)
        assert (way.depth, os.fstat(way.here).st_ino) == (0, top)
        for _ in range(DEPTH):
            way.down("d")
    assert open_descriptors() <= before


@pytest.mark.parametrize("target", ["/etc", "..", "real", "nowhere"])
def test_a_way_leads_through_no_link(tmp_path: Path, target: str) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(target)
    with descent(tmp_path) as way, pytest.raises(OSError) as caught:
        way.down("link")
    assert caught.value.errno in (errno.ELOOP, errno.ENOTDIR)


def test_a_folder_that_is_moved_meanwhile_does_not_lead_out(tmp_path: Path) -> None:
    top, outside = tmp_path / "top", tmp_path / "outside"
    (top / "a").mkdir(parents=True)
    outside.mkdir()
    with descent(top) as way:
        for _ in range(100):
            if way.depth:
                os.mkdir("a", dir_fd=way.here)
            way.down("a")
        for _ in range(50):
            way.up()
        deep = os.readlink(f"/proc/self/fd/{way.here}")
        os.rename(deep, outside / "moved")
        with pytest.raises(OSError, match="was moved") as caught:
            climb(way)
        assert caught.value.errno == errno.ESTALE
