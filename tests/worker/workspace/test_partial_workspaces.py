"""Workspaces that cannot be made whole: nothing of them stays on the disk."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from tests.worker.workspace.workbench import Bench, play

PATH_BYTES_MAX: Final = 4_095  # of path_resolution(7), without its NUL
FILES: Final = 18  # fewer than 20: the worker then asks for no free files beforehand
MOUNT: Final = f'mount -t tmpfs -o size=4m,nr_inodes={FILES} tmpfs "$0" && exec "$@"'
# Leaves one more free file each time, until a workspace with its link can be made. Prints the free
# files before and after each failure, and the names in the folder of workspaces after it.
WORKSPACES: Final = """
import os
import sys
from pathlib import Path

import structlog

from airunner.model.jobs import Instant, Job, JobId, Position
from airunner.model.spec import JobSpec
from airunner.worker.workspace.folders import FolderWorkspaces
from airunner.worker.workspace.workspace import NoRoom

root = Path(sys.argv[1])
log = structlog.wrap_logger(None, processors=[])
folders = FolderWorkspaces(root, None, None, environment={}, log=log)
parent = folders._locked.folder()
job = Job(
    id=JobId("job"), spec=JobSpec(command="true"), place=Position(1),
    created_at=Instant(0), updated_at=Instant(0),
)
fillers = []
while os.statvfs(root).f_favail:
    fillers.append(root / f"filler-{len(fillers)}")
    fillers[-1].touch()
while True:
    free = os.statvfs(root).f_favail
    try:
        folders.make(job)
        break
    except NoRoom:
        print(free, os.statvfs(root).f_favail, *os.listdir(parent))
    fillers.pop().unlink()
"""


def _allowed(command: list[str]) -> bool:
    return subprocess.run([*command, "true"], capture_output=True, check=False).returncode == 0


def test_a_workspace_that_finds_no_room_half_way_leaves_nothing(tmp_path: Path) -> None:
    root = tmp_path / ("long" * 20)  # so that a link to the folder for temporary files is made
    root.mkdir()
    namespaces = next(filter(_allowed, (["unshare", "-m"], ["unshare", "-rm"])), None)
    if namespaces is None:
        pytest.skip("no mount namespace can be made here")
    command = [*namespaces, "sh", "-c", MOUNT, str(root), sys.executable, "-c", WORKSPACES]
    done = subprocess.run([*command, str(root)], stdout=subprocess.PIPE, text=True, check=True)
    assert done.stdout.splitlines() == [f"{free} {free}" for free in range(5)]


@pytest.mark.parametrize("keep", [False, True])
def test_a_workspace_whose_path_is_too_long_leaves_nothing(tmp_path: Path, keep: bool) -> None:
    """Room for the path of the workspace, and none for the paths within."""
    own = 0 if keep else len("/worker-12345678")
    size = PATH_BYTES_MAX - len("/check-12345678") - own - len("/work") - 3
    folder = tmp_path
    while (missing := size - len(os.fsencode(folder))) > 1:
        folder /= "x" * (missing - 1 if missing <= 200 else min(200, missing - 3))
    folder.mkdir(parents=True)

    async def scene(bench: Bench) -> None:
        for _ in range(3):
            assert not bench.folders.has_room()
        left = [each for top in os.listdir(bench.root) for each in _names(bench.root / top, keep)]
        assert left == []

    play(folder, scene, keep=keep)


def _names(top: Path, keep: bool) -> list[str]:
    return [top.name] if keep else os.listdir(top)
