"""How a log comes from an older format to that of today."""

from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import apsw
import pytest

from airunner.log.log import LogRefused
from airunner.log.sqlite.migrations import MIGRATIONS, migrate
from airunner.log.sqlite.schema import FORMAT, connect
from tests.log.sqlite.sample_logs import write
from tests.promises import holds


@pytest.fixture
def log(tmp_path: Path) -> Path:
    write(path := tmp_path / "log")
    return path


def adds(name: str) -> Callable[[apsw.Connection], None]:
    def add(connection: apsw.Connection) -> None:
        connection.execute(f"CREATE TABLE {name}(x)")

    return add


def format_of(path: Path) -> int:
    with closing(connect(path)) as connection:
        return int(connection.pragma("user_version"))


def tables(path: Path) -> set[str]:
    with closing(connect(path)) as connection:
        names = connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")
        return {str(name) for (name,) in names}


def test_every_format_up_to_that_of_today_has_its_migration() -> None:
    assert len(MIGRATIONS) + 1 == FORMAT


def test_a_log_of_today_is_left_as_it_is(log: Path) -> None:
    with closing(connect(log, write=True)) as connection:
        assert migrate(connection, log) == ()
    assert not list(log.parent.glob("*.backup"))


@holds("log-file/backup-is-one-moment")
def test_each_migration_runs_once_in_order_and_the_old_log_is_kept(log: Path) -> None:
    with closing(connect(log, write=True)) as connection:
        (note,) = migrate(connection, log, (adds("first"), adds("second")))
        assert migrate(connection, log, (adds("first"), adds("second"))) == ()
    assert format_of(log) == 3
    assert {"first", "second"} <= tables(log)
    kept = log.with_name("log.v1.backup")
    assert str(kept) in note
    assert format_of(kept) == 1
    assert tables(kept) == tables(log) - {"first", "second"}


def test_a_migration_that_fails_leaves_the_log_in_the_format_before_it(log: Path) -> None:
    def fails(connection: apsw.Connection) -> None:
        adds("half")(connection)
        raise ValueError("no")

    with closing(connect(log, write=True)) as connection, pytest.raises(ValueError, match="no"):
        migrate(connection, log, (adds("first"), fails))
    assert format_of(log) == 2
    assert "half" not in tables(log)
    with closing(connect(log, write=True)) as connection:
        migrate(connection, log, (adds("first"), adds("second")))
    assert format_of(log) == 3


def test_a_kept_log_is_never_overwritten(log: Path) -> None:
    log.with_name("log.v1.backup").write_text("precious")
    with closing(connect(log, write=True)) as connection:
        migrate(connection, log, (adds("first"),))
    assert log.with_name("log.v1.backup").read_text() == "precious"
    assert format_of(log.with_name("log.v1.backup.2")) == 1


def test_a_log_of_a_later_airunner_is_refused(log: Path) -> None:
    with closing(connect(log, write=True)) as connection:
        connection.pragma("user_version", FORMAT + 1)
        with pytest.raises(LogRefused, match=r"has format 2, .* up to 1: use the version"):
            migrate(connection, log)
