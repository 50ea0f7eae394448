"""A log has a name of its own, and knows how far its former names still hold."""

import asyncio
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import TypeVar

import pytest

from airunner.log.log import LogDamaged
from airunner.log.sqlite.backup import backup
from airunner.log.sqlite.log import SqliteLog
from airunner.log.sqlite.repair.check import check
from airunner.log.sqlite.repair.salvage import salvage
from airunner.log.sqlite.schema import connect
from airunner.model.jobs import JobId, Position
from airunner.store.engine import replayed
from tests.log.log_contract import Writer
from tests.log.sqlite.sample_logs import age, write
from tests.promises import holds, promise

T = TypeVar("T")
END = Position(30)  # of what write() writes


@pytest.fixture
def path(tmp_path: Path) -> Path:
    written = write(path := tmp_path / "log")
    assert written.events[-1].place == END
    return path


def opened(path: Path, ask: Callable[[SqliteLog], T]) -> T:
    async def story() -> T:
        log = SqliteLog.open(path)
        try:
            return ask(log)
        finally:
            await log.close()

    return asyncio.run(story())


def name_of(path: Path) -> str:
    return opened(path, lambda log: log.name)


def knows(path: Path, name: str, position: int) -> bool:
    return opened(path, lambda log: log.knows(name, Position(position)))


async def go_on(path: Path) -> None:
    """One more job in a log."""
    log = SqliteLog.open(path)
    writer = Writer(log)
    writer.engine = replayed([event async for event in log.read()])
    await writer.run(JobId("more"))
    await log.close()


@promise(
    "log-file/names-tell-logs-apart",
    "Two logs never have one name, so a follower of all jobs never continues in another log. A backup "
    "has a name of its own and continues the followers that were within it; a migrated log answers to "
    "its old name for the positions before the migration.",
)
def test_no_two_logs_have_one_name_and_each_keeps_its_own(tmp_path: Path) -> None:
    names = {name: name_of(tmp_path / name) for name in ("one", "two")}
    assert names["one"] != names["two"]
    assert names == {name: name_of(tmp_path / name) for name in names}
    assert all(len(name) == 16 for name in names.values())
    assert knows(tmp_path / "one", names["one"], 7)
    assert not knows(tmp_path / "one", names["two"], 0)
    assert not knows(tmp_path / "one", "file", 0)


@holds("log-file/names-tell-logs-apart")
def test_a_migrated_log_answers_to_its_old_name_up_to_the_migration(path: Path) -> None:
    age(path)
    name = name_of(path)
    assert name != "file"
    for position, known in ((0, True), (END, True), (END + 1, False)):
        assert knows(path, "file", position) is known
        assert knows(path, name, position)
    assert name_of(path) == name

    asyncio.run(go_on(path))
    assert not knows(path, "file", END + 1)


def test_a_migrated_log_without_events_has_its_old_name_for_its_beginning(tmp_path: Path) -> None:
    write(path := tmp_path / "log", ())
    age(path)
    assert knows(path, "file", 0)
    assert not knows(path, "file", 1)


@holds("log-file/names-tell-logs-apart")
def test_a_backup_goes_its_own_way_and_knows_what_it_was_taken_from(
    path: Path, tmp_path: Path
) -> None:
    name = name_of(path)
    backup(path, out := tmp_path / "out")
    assert name_of(path) == name
    assert name_of(out) != name
    assert knows(out, name, END)
    assert not knows(out, name, END + 1)
    assert not knows(path, name_of(out), 0)
    backup(out, again := tmp_path / "again")
    assert len({name, name_of(out), name_of(again)}) == 3
    assert knows(again, name, END)
    assert knows(again, name_of(out), END)
    assert not knows(again, name, END + 1)
    assert not list(tmp_path.glob(".*"))


def test_a_backup_of_a_log_that_was_migrated_knows_its_old_name_too(
    path: Path, tmp_path: Path
) -> None:
    age(path)
    name_of(path)
    backup(path, out := tmp_path / "out")
    assert knows(out, "file", END)
    assert not knows(out, "file", END + 1)


@holds("log-file/names-tell-logs-apart")
def test_a_salvaged_log_is_another_log(path: Path, tmp_path: Path) -> None:
    name = name_of(path)
    salvage(path, out := tmp_path / "out", print)
    assert name_of(out) != name
    assert not knows(out, name, 0)


@pytest.mark.parametrize(
    ("change", "finding"),
    [
        ("UPDATE names SET name = 'another'", "name 1 of the log is damaged"),
        ("UPDATE names SET since = 1", "name 1 of the log is damaged"),
        ("UPDATE names SET number = 2", "name 1 of the log is damaged"),
        ("DELETE FROM names", "the log has no name"),
    ],
)
def test_a_name_that_was_changed_is_not_believed(path: Path, change: str, finding: str) -> None:
    with closing(connect(path, write=True)) as connection:
        connection.execute(change)
    findings = list[str]()
    assert check(path, findings.append).findings == 1
    assert findings == [f"the log's names cannot be read: {finding}"]
    with pytest.raises(LogDamaged, match=finding):
        name_of(path)
