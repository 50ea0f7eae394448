"""The SQLite log keeps the contract of every log, and its own promises about disks."""

import asyncio
from pathlib import Path
from typing import ClassVar

import pytest

from airunner.log.log import Log
from airunner.log.sqlite import SqliteLog
from tests.core.log_contract import LogContract


class TestSqliteLog(LogContract):
    loop: ClassVar[type[asyncio.AbstractEventLoop]] = asyncio.SelectorEventLoop

    @pytest.fixture(autouse=True)
    def in_a_folder(self, tmp_path: Path) -> None:
        self.folder = tmp_path
        self.logs: list[SqliteLog] = []

    def make(self) -> Log:
        self.logs.append(log := SqliteLog.open(self.folder / f"{len(self.logs)}.db"))
        return log

    async def end(self) -> None:
        for log in self.logs:
            await log.close()
