"""A source is a folder below the worker's root, and no other file or folder is opened."""

import os
from pathlib import Path

import pytest

from airunner.worker.workspace.sources.source_folder import open_source
from airunner.worker.workspace.workspace import SetupFailed
from tests.promises import holds, promise
from tests.support.descriptors import open_descriptors


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A root with a folder in it, and another folder beside it."""
    (tmp_path / "jobs" / "team" / "job").mkdir(parents=True)
    (tmp_path / "jobs" / "file").touch()
    (tmp_path / "outside" / "job").mkdir(parents=True)
    (tmp_path / "jobs-too").mkdir()
    return tmp_path / "jobs"


def inode(root: Path, source: str) -> int:
    descriptor = open_source(root, source)
    try:
        return os.fstat(descriptor).st_ino
    finally:
        os.close(descriptor)


@pytest.mark.parametrize("source", ["team", "team/job"])
def test_a_source_is_a_folder_at_any_depth_below_the_root(root: Path, source: str) -> None:
    assert inode(root, source) == (root / source).stat().st_ino


@pytest.mark.parametrize("target", ["team/job", "./team/../team/job", "ABSOLUTE"])
def test_a_link_that_stays_inside_leads_there(root: Path, target: str) -> None:
    (root / "link").symlink_to(target.replace("ABSOLUTE", str(root / "team" / "job")))
    assert inode(root, "link") == (root / "team" / "job").stat().st_ino


def test_the_root_itself_may_be_behind_a_link(root: Path, tmp_path: Path) -> None:
    (tmp_path / "mount").symlink_to(root)
    assert inode(tmp_path / "mount", "team/job") == (root / "team" / "job").stat().st_ino


@promise(
    "sources/nothing-outside-the-root",
    "A worker opens nothing outside the root of sources. Paths, links and concurrent swaps cannot "
    "lead it out; links are copied and never followed.",
)
@pytest.mark.parametrize(
    "target", ["..", "../outside", "../outside/job", "../jobs-too", "/", "/etc", "."]
)
@pytest.mark.parametrize("source", ["link", "team/link", "link/job"])
def test_a_link_that_leads_out_is_refused_at_any_level(
    root: Path, source: str, target: str
) -> None:
    place = root / source.removesuffix("/job")
    place.symlink_to(root / target)
    (root / "job").symlink_to("../outside/job")
    with pytest.raises(SetupFailed, match=r"leads out|there is no source"):
        open_source(root, source)


@holds("sources/nothing-outside-the-root")
@pytest.mark.parametrize("source", ["..", "../outside/job", "/etc", "team/../../outside", "."])
def test_a_path_that_leads_out_by_itself_is_refused_though_it_got_past_the_checks(
    root: Path, source: str
) -> None:
    with pytest.raises(SetupFailed, match="leads out"):
        open_source(root, source)


def test_what_is_not_there_or_no_folder_is_told_so(root: Path, tmp_path: Path) -> None:
    (root / "circle").symlink_to("circle")
    for source, said in (
        ("nowhere", "there is no source nowhere in the worker's folder of sources"),
        ("file", "the source file is not a folder"),
        ("file/below", "the source file/below is not a folder"),
        ("circle", "the source circle leads nowhere"),
    ):
        with pytest.raises(SetupFailed, match=said):
            open_source(root, source)
    with pytest.raises(SetupFailed, match="there is no source team"):
        open_source(tmp_path / "nowhere", "team")


def test_nothing_stays_open_after_a_refusal(root: Path) -> None:
    before = open_descriptors()
    for source in ("nowhere", "file", "../outside"):
        with pytest.raises(SetupFailed):
            open_source(root, source)
    inode(root, "team/job")
    assert open_descriptors() <= before
