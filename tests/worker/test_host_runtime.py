"""The runtime of attempts on this host: opened whole, and closed whole."""

import asyncio
from pathlib import Path

import pytest
import structlog

from airunner.worker.host_runtime import WorkspaceOptions, WorkspacesUnusable, open_runtime
from airunner.worker.process import Command, LaunchFailed, Process, SupervisorStatistics
from tests.support.memory_spools import MemoryDiskSpools

LOG = structlog.wrap_logger(structlog.testing.CapturingLogger())


class IdleLauncher:
    """A Launcher of a system that has no room for a command."""

    def __init__(self) -> None:
        self.closed = False

    async def launch(self, command: Command) -> Process:
        raise LaunchFailed("no room")

    async def ended(self) -> None:
        await asyncio.Event().wait()

    def statistics(self) -> SupervisorStatistics:
        return SupervisorStatistics()

    async def close(self) -> None:
        self.closed = True


def options(folder: Path) -> WorkspaceOptions:
    return WorkspaceOptions(folder=folder, keep=False, allow_local_repositories=False)


def test_a_runtime_has_the_parts_that_it_was_opened_with_and_closes_them(tmp_path: Path) -> None:
    async def scene() -> None:
        launcher, spools = IdleLauncher(), MemoryDiskSpools()
        async with open_runtime(
            launcher, options(tmp_path / "work"), environment={}, log=LOG, spools=spools
        ) as runtime:
            assert runtime.launcher is launcher
            assert runtime.spools is spools
            assert list((tmp_path / "work").iterdir())  # the folder of this process
            closed = [launcher.closed, spools.closed]
        assert closed == [False, False]
        assert [launcher.closed, spools.closed] == [True, True]
        assert not list((tmp_path / "work").iterdir())

    asyncio.run(scene())


def test_a_runtime_without_a_folder_for_workspaces_says_so_and_closes_its_parts(
    tmp_path: Path,
) -> None:
    file = tmp_path / "a file"
    file.touch()

    async def scene() -> None:
        launcher, spools = IdleLauncher(), MemoryDiskSpools()
        runtime = open_runtime(
            launcher, options(file / "work"), environment={}, log=LOG, spools=spools
        )
        with pytest.raises(WorkspacesUnusable, match=f"cannot make workspaces in {file}/work: Not"):
            async with runtime:
                pass
        assert launcher.closed
        assert spools.closed

    asyncio.run(scene())
