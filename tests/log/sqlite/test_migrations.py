"""How a log comes from an older format to that of today, and from a lower feature level."""

from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import apsw
import pytest

from airunner.log.log import LogRefused
from airunner.log.records import FEATURE_LEVEL
from airunner.log.sqlite.backup import backup
from airunner.log.sqlite.log import SqliteLog
from airunner.log.sqlite.migrations import MIGRATIONS, migrate
from airunner.log.sqlite.repair.check import check
from airunner.log.sqlite.repair.salvage import salvage
from airunner.log.sqlite.schema import FORMAT, Version, connect, read_version
from tests.log.sqlite.sample_logs import age, write
from tests.promises import holds, promise


@pytest.fixture
def log(tmp_path: Path) -> Path:
    write(path := tmp_path / "log")
    return path


def adds(name: str) -> Callable[[apsw.Connection], None]:
    def add(connection: apsw.Connection) -> None:
        connection.execute(f"CREATE TABLE {name}(x)")

    return add


def version_of(path: Path) -> Version:
    with closing(connect(path)) as connection:
        return read_version(connection)


def tables(path: Path) -> set[str]:
    with closing(connect(path)) as connection:
        names = connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")
        return {str(name) for (name,) in names}


def rows(path: Path) -> list[tuple[object, ...]]:
    with closing(connect(path)) as connection:
        return [
            *connection.execute("SELECT * FROM facts"),
            *connection.execute("SELECT * FROM reports"),
        ]


def test_every_format_up_to_that_of_today_has_its_migration() -> None:
    assert len(MIGRATIONS) + 1 == FORMAT


def test_a_log_of_today_is_left_as_it_is(log: Path) -> None:
    with closing(connect(log, write=True)) as connection:
        assert migrate(connection, log) == ()
    assert not list(log.parent.glob("*.backup"))


@holds("log-file/backup-is-one-moment")
def test_each_migration_runs_once_in_order_and_the_old_log_is_kept(log: Path) -> None:
    migrations = (*MIGRATIONS, adds("first"), adds("second"))
    with closing(connect(log, write=True)) as connection:
        (note,) = migrate(connection, log, migrations)
        assert migrate(connection, log, migrations) == ()
    assert version_of(log).format == FORMAT + 2
    assert {"first", "second"} <= tables(log)
    kept = log.with_name(f"log.v{FORMAT}.backup")
    assert str(kept) in note
    assert version_of(kept).format == FORMAT
    assert tables(kept) == tables(log) - {"first", "second"}


def test_a_migration_that_fails_leaves_the_log_in_the_format_before_it(log: Path) -> None:
    def fails(connection: apsw.Connection) -> None:
        adds("half")(connection)
        raise ValueError("no")

    with closing(connect(log, write=True)) as connection, pytest.raises(ValueError, match="no"):
        migrate(connection, log, (*MIGRATIONS, adds("first"), fails))
    assert version_of(log).format == FORMAT + 1
    assert "half" not in tables(log)
    with closing(connect(log, write=True)) as connection:
        migrate(connection, log, (*MIGRATIONS, adds("first"), adds("second")))
    assert version_of(log).format == FORMAT + 2


def test_a_kept_log_is_never_overwritten(log: Path) -> None:
    name = f"log.v{FORMAT}.backup"
    log.with_name(name).write_text("precious")
    with closing(connect(log, write=True)) as connection:
        migrate(connection, log, (*MIGRATIONS, adds("first")))
    assert log.with_name(name).read_text() == "precious"
    assert version_of(log.with_name(f"{name}.2")).format == FORMAT


def test_a_log_of_the_first_format_gets_names_and_keeps_every_row(log: Path) -> None:
    age(log)
    before = rows(log)
    with closing(connect(log, write=True)) as connection:
        (note,) = migrate(connection, log)
    assert "from format 1 to 2; the log as it was before is" in note
    assert rows(log) == rows(kept := log.with_name("log.v1.backup")) == before
    assert "names" in tables(log) - tables(kept)
    assert version_of(kept) == Version(1, 1)


def test_a_log_of_the_first_format_can_be_checked_and_salvaged_as_it_is(
    log: Path, tmp_path: Path
) -> None:
    age(log)
    findings = list[str]()
    assert check(log, findings.append).jobs == 5
    assert not salvage(log, out := tmp_path / "out", findings.append).lost
    assert not findings
    assert version_of(log) == Version(1, 1)
    assert version_of(out) == Version()


# What a later airunner wrote


@promise(
    "log-file/later-log-is-refused",
    "A log of a later format or of a higher feature level is refused, in a sentence that says what to "
    "do. Nothing in it is guessed, and it stays as it is.",
)
def test_a_log_whose_feature_level_is_higher_is_refused_by_every_reader(log: Path) -> None:
    with closing(connect(log, write=True)) as connection:
        migrate(connection, log, level=FEATURE_LEVEL + 1)
    before = rows(log)
    why = r"has feature level 2, and this airunner knows feature levels up to 1: use the version"
    with pytest.raises(LogRefused, match=why):
        SqliteLog.open(log)
    with pytest.raises(LogRefused, match=why):
        check(log, print)
    with pytest.raises(LogRefused, match=why):
        salvage(log, log.with_name("out"), print)
    with pytest.raises(LogRefused, match=why):
        backup(log, log.with_name("out"))
    assert rows(log) == before
    assert not log.with_name("out").exists()


@holds("log-file/later-log-is-refused")
def test_a_log_of_a_later_format_is_refused(log: Path) -> None:
    with closing(connect(log, write=True)) as connection:
        connection.pragma("user_version", FORMAT + 1)
        with pytest.raises(LogRefused, match=r"has format 3, .* formats up to 2: use the version"):
            migrate(connection, log)


def test_a_new_feature_level_is_in_the_log_as_soon_as_it_is_opened(log: Path) -> None:
    with closing(connect(log, write=True)) as connection:
        (note,) = migrate(connection, log, level=FEATURE_LEVEL + 1)
        assert migrate(connection, log, level=FEATURE_LEVEL + 1) == ()
    assert note.startswith("raised the log's feature level from 1 to 2: an older airunner can no")
    assert version_of(log) == Version(FORMAT, FEATURE_LEVEL + 1)
    assert not list(log.parent.glob("*.backup"))


def test_a_version_is_two_numbers_in_one() -> None:
    for version in (Version(1, 1), Version(2, 1), Version(2, 7), Version(65_535, 300)):
        assert Version.of(version.number) == version
    assert (
        Version(2, 1).number == 2
    )  # so the first airunner, which knows no level, names the format
