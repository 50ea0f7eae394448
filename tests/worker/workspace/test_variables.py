"""The file AIRUNNER_ENV, and every shape in which a step may leave it."""

import os
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from airunner.model.limits import ENVIRONMENT_BYTES_MAX, ENVIRONMENT_MAX
from airunner.worker.workspace.variables import VariablesFile


def made(folder: Path, given: Mapping[str, str] = {}) -> tuple[VariablesFile, Path]:
    """The file of the next step."""
    file = VariablesFile(str(folder / f"variables-{len(os.listdir(folder))}"), given)
    return file, Path(file.path)


def test_each_step_adds_its_variables_and_finds_the_file_empty(tmp_path: Path) -> None:
    file, path = made(tmp_path)
    path.write_bytes(b'A=1\n\nB=a = "b" $HOME \xc3\xa4\r\nA=2')
    file.take()
    assert file.variables == {"A": "2", "B": 'a = "b" $HOME \u00e4'}
    file, path = made(tmp_path, file.variables)
    assert path.read_bytes() == b""
    path.write_bytes(b"B=\n")
    file.take()
    assert file.variables == {"A": "2", "B": ""}
    file, _ = made(tmp_path, file.variables)
    file.take()
    assert file.variables == {"A": "2", "B": ""}


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"A=1\nB", "line 2 is not NAME=VALUE"),
        (b"export A=1", "line 1: 'export A' is not a variable name"),
        (b"=1", "line 1: '' is not a variable name"),
        (b"AIRUNNER_JOB_ID=x", "line 1: 'AIRUNNER_JOB_ID' is a name of airunner's own"),
        (b"airunner_env=x", "line 1: 'airunner_env' is a name of airunner's own"),
        (b"A=\x1b[2J", "line 1: the value of 'A' has characters that cannot be shown"),
        (b"A=\xc2\x9b", "line 1: the value of 'A' has characters that cannot be shown"),
        (b"A=1\nB=\0", "line 2: the value of 'B' has characters that cannot be shown"),
        (b"A=1\n\xff=2", "line 2 is not UTF-8 text"),
        (b"N" * 1000, "line 1 is not NAME=VALUE"),
        (b"A=" + b"x" * ENVIRONMENT_BYTES_MAX, "the file is larger than ENVIRONMENT_BYTES_MAX"),
        (b"".join(b"A%d=\n" % n for n in range(ENVIRONMENT_MAX + 1)), "more than ENVIRONMENT_MAX"),
    ],
)
def test_a_file_with_a_bad_line_gives_nothing(tmp_path: Path, data: bytes, why: str) -> None:
    file, path = made(tmp_path, {"KEPT": "1"})
    path.write_bytes(data)
    with pytest.raises(ValueError, match=r"^AIRUNNER_ENV: ") as caught:
        file.take()
    assert why in str(caught.value)
    assert len(str(caught.value)) < 200
    assert file.variables == {"KEPT": "1"}


def test_the_variables_of_all_steps_together_have_a_limit(tmp_path: Path) -> None:
    given = dict.fromkeys(("A", "B"), "x" * (ENVIRONMENT_BYTES_MAX // 2 - 10))
    file, path = made(tmp_path, given)
    path.write_text("C=twenty bytes and more")
    with pytest.raises(ValueError, match="more than ENVIRONMENT_BYTES_MAX"):
        file.take()
    assert set(file.variables) == {"A", "B"}


def _link(path: Path) -> None:
    path.symlink_to("/etc/passwd")


def _to_itself(path: Path) -> None:
    path.symlink_to(path)


@pytest.mark.parametrize("make", [_link, _to_itself, os.mkfifo, os.mkdir])
def test_a_file_of_another_kind_is_refused(tmp_path: Path, make: Callable[[Path], None]) -> None:
    file, path = made(tmp_path, {"KEPT": "1"})
    path.unlink()
    make(path)
    with pytest.raises(ValueError, match=r"^AIRUNNER_ENV: the file cannot be read: "):
        file.take()
    assert file.variables == {"KEPT": "1"}


def test_a_file_that_is_gone_gives_nothing_and_one_in_its_place_counts(tmp_path: Path) -> None:
    file, path = made(tmp_path)
    path.unlink()
    file.take()
    assert file.variables == {}
    (tmp_path / "new").write_text("A=1\n")
    (tmp_path / "new").rename(path)
    file.take()
    assert file.variables == {"A": "1"}
