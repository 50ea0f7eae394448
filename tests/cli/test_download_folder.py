"""Writing downloaded artifacts below a folder, and nowhere else."""

import os
import stat
from hashlib import sha256
from pathlib import Path

import pytest

from airunner.cli.download_folder import DownloadFolder
from airunner.cli.exit_codes import CommandFailed
from airunner.model.artifacts import Artifact
from tests.promises import holds


def artifact(path: str, *, executable: bool = False) -> Artifact:
    return Artifact(path=path, size=5, sha256="0" * 64, executable=executable)


def fetch(top: Path, path: str, *, replace: bool = False, executable: bool = False) -> None:
    wanted = artifact(path, executable=executable)
    with DownloadFolder(top, replace=replace) as folder:
        folder.check([wanted])
        with folder.create(wanted) as file:
            file.write(b"fresh")


def below(top: Path) -> set[str]:
    return {str(path.relative_to(top)) for path in top.rglob("*") if not path.is_dir()}


def test_a_file_is_there_under_its_path_and_folders_are_made_for_it(tmp_path: Path) -> None:
    fetch(tmp_path / "new" / "out", "dist/lib/app.whl")
    assert (tmp_path / "new/out/dist/lib/app.whl").read_bytes() == b"fresh"
    assert below(tmp_path) == {"new/out/dist/lib/app.whl"}


def test_what_can_be_executed_still_can(tmp_path: Path) -> None:
    fetch(tmp_path, "run.sh", executable=True)
    fetch(tmp_path, "notes.txt")
    modes = [(tmp_path / name).stat().st_mode & stat.S_IXUSR for name in ("run.sh", "notes.txt")]
    assert modes == [stat.S_IXUSR, 0]


def test_until_it_is_whole_a_file_is_not_there(tmp_path: Path) -> None:
    with DownloadFolder(tmp_path, replace=False) as folder, folder.create(artifact("app")) as file:
        file.write(b"fre")
        assert not (tmp_path / "app").exists()


@pytest.mark.parametrize("replace", [False, True])
def test_what_breaks_off_leaves_nothing(tmp_path: Path, replace: bool) -> None:
    (tmp_path / "kept").write_text("old")

    def broken() -> None:
        with (
            DownloadFolder(tmp_path, replace=replace) as folder,
            folder.create(artifact("new")) as file,
        ):
            file.write(b"fre")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        broken()
    assert below(tmp_path) == {"kept"}


def test_a_file_that_is_there_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "app").write_text("old")
    with pytest.raises(CommandFailed, match=r"app exists already: .* --force"):
        fetch(tmp_path, "app")
    assert (tmp_path / "app").read_text() == "old"


@holds("results/fetch-is-whole-or-nothing")
def test_a_file_that_came_meanwhile_is_not_replaced_either(tmp_path: Path) -> None:
    def raced() -> None:
        with (
            DownloadFolder(tmp_path, replace=False) as folder,
            folder.create(artifact("app")) as file,
        ):
            file.write(b"fresh")
            (tmp_path / "app").write_text("old")

    with pytest.raises(CommandFailed, match="exists already"):
        raced()
    assert (tmp_path / "app").read_text() == "old"
    assert below(tmp_path) == {"app"}


def test_a_file_with_the_same_bytes_is_there_and_anything_else_is_not(tmp_path: Path) -> None:
    digest = sha256(b"fresh").hexdigest()
    (tmp_path / "same").write_bytes(b"fresh")
    (tmp_path / "other").write_bytes(b"stale")
    (tmp_path / "longer").write_bytes(b"fresh and longer")
    (tmp_path / "link").symlink_to("same")
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    names = ("same", "other", "longer", "link", "folder", "pipe", "nowhere")
    wanted = [Artifact(path=name, size=5, sha256=digest) for name in names]
    with DownloadFolder(tmp_path, replace=False) as folder:
        assert [each.path for each in folder.missing(wanted)] == list(names[1:])


def test_how_many_are_in_the_way_is_said(tmp_path: Path) -> None:
    for name in "abc":
        (tmp_path / name).write_text("old")
    with (
        DownloadFolder(tmp_path, replace=False) as folder,
        pytest.raises(CommandFailed, match=r"/a and 2 more files exist already"),
    ):
        folder.check([artifact(name) for name in "abcd"])


def test_a_file_is_replaced_if_that_is_asked_for(tmp_path: Path) -> None:
    (tmp_path / "app").write_text("old and longer")
    fetch(tmp_path, "app", replace=True)
    assert (tmp_path / "app").read_bytes() == b"fresh"


@holds("results/fetch-is-whole-or-nothing")
@pytest.mark.parametrize("replace", [False, True])
def test_nothing_is_written_through_a_link_to_a_folder(tmp_path: Path, replace: bool) -> None:
    outside, top = tmp_path / "outside", tmp_path / "top"
    outside.mkdir()
    top.mkdir()
    (top / "dist").symlink_to(outside)
    with pytest.raises(CommandFailed, match="a folder above it is a link or a file"):
        fetch(top, "dist/app", replace=replace)
    assert below(outside) == set()


@holds("results/fetch-is-whole-or-nothing")
def test_a_link_in_the_place_of_a_file_is_replaced_and_not_followed(tmp_path: Path) -> None:
    (tmp_path / "outside").write_text("old")
    top = tmp_path / "top"
    top.mkdir()
    (top / "app").symlink_to("../outside")
    with pytest.raises(CommandFailed, match="exists already"):
        fetch(top, "app")
    fetch(top, "app", replace=True)
    assert (tmp_path / "outside").read_text() == "old"
    assert not (top / "app").is_symlink()


def test_a_folder_in_the_place_of_a_file_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "app").mkdir()
    with pytest.raises(CommandFailed, match="a folder has its name"):
        fetch(tmp_path, "app", replace=True)
    assert below(tmp_path) == set()


def test_a_file_in_the_place_of_the_folder_is_told(tmp_path: Path) -> None:
    (tmp_path / "top").write_text("old")
    with pytest.raises(CommandFailed, match=r"cannot use the folder .*top: "):
        fetch(tmp_path / "top", "app")


@pytest.mark.parametrize("depth", [40, 400])
def test_a_path_may_be_deep(tmp_path: Path, depth: int) -> None:
    path = "d/" * depth + "file"
    fetch(tmp_path, path)
    assert os.path.getsize(tmp_path / path) == 5
