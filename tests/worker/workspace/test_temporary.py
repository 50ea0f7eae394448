"""The folder for temporary files, and the link that makes its path short."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from airunner.worker.workspace.temporary import TemporaryFolder

MANAGER = "import multiprocessing as m; print(m.Manager().list([1]))"


def workspace(folder: Path) -> str:
    (folder / "tmp").mkdir(parents=True)
    return str(folder)


def test_a_short_path_is_that_of_the_folder() -> None:
    temporary = TemporaryFolder("/w/job", link=True)
    assert temporary.path == "/w/job/tmp"
    temporary.remove_link()


def test_a_long_path_is_a_link_beside_the_workspace_while_it_is_needed(tmp_path: Path) -> None:
    parent = tmp_path / "worker"
    temporary = TemporaryFolder(workspace(parent / ("x" * 60)), link=True)
    assert len(temporary.path) == len(str(parent)) + 9
    assert os.path.realpath(temporary.path) == str(parent / ("x" * 60) / "tmp")
    temporary.remove_link()
    assert os.listdir(parent) == ["x" * 60]
    temporary.remove_link()  # the job may have removed it


def test_a_kept_workspace_has_no_link(tmp_path: Path) -> None:
    temporary = TemporaryFolder(workspace(tmp_path / ("x" * 60)), link=False)
    assert temporary.path.endswith("x/tmp")


def test_programs_that_make_sockets_below_the_folder_work(tmp_path: Path) -> None:
    short = Path("/tmp") / f"airunner-{os.getpid()}"  # the path of pytest is too long
    short.mkdir(mode=0o700)
    try:
        folder = workspace(short / "worker-12345678" / ("x" * 47))
        with socket.socket(socket.AF_UNIX) as each, pytest.raises(OSError, match="too long"):
            each.bind(f"{folder}/tmp/{'s' * 60}")
        temporary = TemporaryFolder(folder, link=True)
        done = subprocess.run(
            [sys.executable, "-c", MANAGER],
            env={"TMPDIR": temporary.path, "PATH": os.environ["PATH"]},
            capture_output=True,
            check=False,
        )
        assert (done.returncode, done.stdout) == (0, b"[1]\n"), done.stderr
        temporary.remove_link()
    finally:
        subprocess.run(["rm", "-r", str(short)], check=True)
