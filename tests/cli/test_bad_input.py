"""Bad input of any kind is one sentence that says what to do, never an error of airunner's own."""

import os
import subprocess
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path

import pytest
from typer.main import get_command

from airunner.cli.main import _COMMANDS, build_app, run
from airunner.cli.processes.key_pair import make_keys
from airunner.cli.render.streams import NOTE_CHARS_MAX
from tests.cli.conftest import AIRUNNER, PATIENCE, Shell
from tests.cli.test_internal_errors import NOBODY

# Arguments of each command with which it ends before it starts or connects to anything.
BASE = {
    "submit": ("--ca-cert", "none.pem", "--", "true"),
    "run": ("none.yaml",),
    "cancel": ("id", "--ca-cert", "none.pem"),
    "list": ("--ca-cert", "none.pem"),
    "queues": ("--ca-cert", "none.pem"),
    "up": ("--log-format", "xml"),
    "server": (),
    "worker": ("--queue", "two words"),
    "bench": ("no-scenario",),
    "certs": ("--name", "no host"),
    "keys": (),
    "token": (),
    "log check": ("none.db",),
    "log backup": ("none.db", "copy.db"),
    "log salvage": ("none.db", "copy.db"),
}
WATCHED = ("id", "--ca-cert", "none.pem")
VALUES = (
    *("", "-1", "nan", "inf", "\u0663"),
    *("9" * 30, "9" * 4299, "9" * 4299 + "d", "9" * 5000, "9" * 4299 + "GiB"),
    *("J\udcf6rg", "A=\udcff", "\x9b31m\u202e", "~nobody-of-this-name/x", "a" * 5000),
    *("loop", "folder", "/dev/full", "host:99999", "host:" + "9" * 5000, "[::1"),
)
CLIENTS = (
    *(["list"], ["show", "id"], ["monitor", "id"], ["logs", "id"], ["logs", "--all", "--follow"]),
    *(["artifacts", "id"], ["artifacts", "get", "id"], ["verify", "id"], ["cancel", "id"]),
    *(["retry", "id"], ["queues"], ["submit", "--script", "true"]),
)


class Line:
    """Runs command lines in this process, in a folder and a home of the test's own."""

    def __init__(self, home: Path, captured: pytest.CaptureFixture[str]) -> None:
        self.home = home
        self._captured = captured

    def run(self, *words: str) -> tuple[int, str]:
        """The exit code, and the only line on standard error."""
        self._captured.readouterr()
        code = run(list(words))
        lines = self._captured.readouterr().err.splitlines()
        assert len(lines) == 1, (words, lines)
        assert lines[0].startswith("airunner: ")
        return code, lines[0].removeprefix("airunner: ")


@pytest.fixture
def line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Line:
    for name in list(os.environ):
        if name.startswith(("AIRUNNER_", "XDG_", "JWT_")) or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "folder").mkdir()
    (tmp_path / "loop").symlink_to("loop")
    monkeypatch.chdir(tmp_path)
    return Line(tmp_path, capfd)


def options() -> Iterator[tuple[str, str]]:
    """Every command with each of its options that takes a value."""
    group = get_command(build_app({*chain(*_COMMANDS.values())}))
    for name, command in group.commands.items():  # type: ignore[attr-defined]  # a group
        for sub, each in getattr(command, "commands", {"": command}).items():
            for option in each.params:
                if option.param_type_name == "option" and not option.is_flag:
                    yield f"{name} {sub}".strip(), option.opts[0]


@pytest.mark.parametrize(("command", "option"), list(options()))
def test_no_value_of_an_option_is_an_internal_error(line: Line, command: str, option: str) -> None:
    for value in VALUES:
        before = [] if option == "--queue" and command == "worker" else [f"{option}={value}"]
        try:
            run([*command.split(), *before, *BASE.get(command, WATCHED)])
        finally:
            said = line._captured.readouterr().err
        assert "internal error" not in said, (command, option, value[:40], said[:400])
        assert "Traceback" not in said
        assert len(said) < NOTE_CHARS_MAX + 100


@pytest.mark.parametrize("words", CLIENTS, ids=" ".join)
@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"abc\ndef\n", "has 2 lines: a token is a single line"),
        ("abc".encode("utf-16"), "is UTF-16 text: save it as UTF-8"),
        ("abc".encode("utf-16-le"), "is UTF-16 text: save it as UTF-8"),
        ("abc".encode("utf-32"), "is UTF-32 text: save it as UTF-8"),
        (b"a\x80c", "is not UTF-8 text at byte 2"),
        (b"a\0bc", "has characters that no token has"),
        ("ä".encode(), "has characters that no token has"),
        (b"a" * 8193, "is larger than 8192 bytes"),
    ],
    ids=["lines", "utf-16", "utf-16-le", "utf-32", "binary", "nul", "letters", "long"],
)
def test_a_file_without_a_token_is_told_before_anything_is_sent(
    line: Line, words: Sequence[str], data: bytes, sentence: str
) -> None:
    (line.home / "token").write_bytes(data)
    code, said = line.run(*words, *NOBODY, "--token-file", "token")
    assert code == 125
    assert said.startswith("--token-file: token ")
    assert sentence in said


@pytest.mark.parametrize(
    "data", [b"\xef\xbb\xbfabc", b"\xef\xbb\xbfabc\r\n", b"abc\r\n", b"\nabc \n"]
)
def test_a_token_from_another_system_is_the_same_token(line: Line, data: bytes) -> None:
    (line.home / "token").write_bytes(data)
    assert "no server answers" in line.run("list", *NOBODY, "--token-file", "token")[1]


def test_a_token_in_a_flag_or_a_variable_is_checked_too(
    line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "no token has" in line.run("list", *NOBODY, "--token", "\udcff")[1]
    monkeypatch.setenv("AIRUNNER_TOKEN", "abc\ndef")
    assert "has 2 lines" in line.run("list", *NOBODY)[1]


@pytest.mark.parametrize(
    "words",
    [
        *(["show", "J\udcf6rg"], ["monitor", "J\udcf6rg"], ["logs", "J\udcf6rg"]),
        *(["artifacts", "J\udcf6rg"], ["verify", "J\udcf6rg"], ["cancel", "J\udcf6rg"]),
        *(["retry", "J\udcf6rg"], ["retry", "id", "--request-id", "J\udcf6rg"]),
        *(["logs", "--all", "--follow", "--queue", "J\udcf6rg"], ["list", "--queue", "J\udcf6rg"]),
        *(["submit", "--request-id", "J\udcf6rg", "--step", "x"], ["submit", "--step", "J\udcf6"]),
        *(["submit", "--script", "x", "--name", "J\udcf6rg"], ["submit", "--script", "J\udcf6rg"]),
        *(["submit", "--script", "x", "--env", "A=J\udcf6"], ["list", "--server", "J\udcf6rg:1"]),
        ["submit", "--script", "x", "J\udcf6rg"],
    ],
    ids=lambda words: ascii(" ".join(words)),
)
def test_an_argument_in_another_encoding_is_told(line: Line, words: list[str]) -> None:
    code, said = line.run(*words, *(() if "--server" in words else NOBODY))
    assert code == 125
    assert "UTF-8" in said or "J\\udcf6rg" in said


def test_a_subject_in_another_encoding_gets_no_token(line: Line) -> None:
    make_keys(line.home / "keys")
    for words in (["--subject", "J\udcf6rg"], ["--subject", "x", "--audience", "\udcff"]):
        code, said = line.run("token", *words, "--signing-key-file", "keys/signing.pem")
        assert code == 2
        assert said.endswith("has bytes in it that are not UTF-8: write it in UTF-8")


def test_a_token_of_a_thousand_years_that_no_server_takes_is_not_made(line: Line) -> None:
    make_keys(line.home / "keys")
    words = ("token", "--subject", "x", "--signing-key-file", "keys/signing.pem", "--ttl")
    assert line.run(*words, "9999999d") == (125, "ttl: must end before the year 10000")


@pytest.mark.parametrize("words", [["submit", ".", "--", "true"], ["run", "."], ["submit", "./x"]])
def test_a_current_folder_that_is_gone_is_told(
    line: Line, monkeypatch: pytest.MonkeyPatch, words: list[str]
) -> None:
    monkeypatch.chdir(line.home / "folder")
    (line.home / "folder").rmdir()
    code, said = line.run(*words)
    assert (code, said) == (
        125,
        "the current folder was removed: change to a folder that exists",
    )
    monkeypatch.chdir(line.home)


@pytest.mark.parametrize("command", ["list", "version"])
def test_a_command_that_needs_no_folder_works_in_one_that_is_gone(
    embedded: Shell, command: str
) -> None:
    script = 'mkdir gone; cd gone; rmdir "$PWD"; exec "$@"'
    done = embedded.run_in_sh(script, command)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("config", "sentence"),
    [
        (b"server = " + b"9" * 5000, "is not TOML: "),
        (b"x = " + b"[" * 100_000, "is not TOML: "),
        (b"server =", "is not TOML: "),
        ('server = "x"'.encode("utf-16"), "is UTF-16 text: save it as UTF-8"),
        (b"\xff", "is not UTF-8 text at byte 1"),
        (b"server = 5", "server must be text in quotes"),
        (b'token_file = "a\\u0000b"', "'a\\x00b' is not a path"),
        (b'token_file = "~nobody-of-this-name/x"', "is not known: write the whole path"),
        (b'\xef\xbb\xbfserver = "127.0.0.1:1"\r\n', "no server answers at 127.0.0.1:1"),
    ],
)
def test_a_broken_config_file_is_told_with_its_name(
    line: Line, config: bytes, sentence: str
) -> None:
    path = line.home / ".config/airunner/config.toml"
    path.parent.mkdir(parents=True)
    path.write_bytes(config)
    code, said = line.run("list")
    assert code == 125
    assert sentence in said


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["submit", "a" * 5000, "--", "x"], "there is no folder "),
        (["submit", "--config", "folder"], "cannot read the job file folder: Is a directory"),
        (["submit", "--config", "/dev/zero"], "is not a job file: it is larger than"),
        (["run", "a" * 5000], "File name too long"),
        (["run", "loop"], "cannot read the job file loop: Too many levels"),
        (["submit", "loop", "--", "x"], "there is no folder "),
        (["submit", "./loop/x", "--", "x"], "there is no folder "),
        (["certs", "--dir", "loop"], "cannot make the folder loop: File exists"),
        (["keys", "--dir", "a" * 5000], "File name too long"),
        (["list", "--ca-cert", "folder"], "--ca-cert: cannot read folder: Is a directory"),
        (["list", "--ca-cert", "/dev/zero"], "is larger than"),
        (["list", "--token-file", "/dev/zero"], "is larger than"),
        (["worker", "--jobs-dir", "a" * 5000], "File name too long"),
        (["token", "--subject", "x", "--signing-key-file", "utf16"], "is UTF-16 text"),
        (["submit", "--timeout", "9" * 4299 + "d", "--", "x"], "9…' is too large a number"),
        (["submit", "--output-bytes-max", "9" * 5000, "--", "x"], "9…' is too large a number"),
        (["submit", "--attempts-max", "9" * 4299, "--", "x"], "the number is not within 1 to"),
        (["monitor", "id", "--from-sequence", "9" * 30], "'--from-sequence'"),
    ],
    ids=lambda value: ascii(value)[:40],
)
def test_a_bad_path_or_number_is_told(line: Line, words: list[str], sentence: str) -> None:
    (line.home / "utf16").write_bytes("key".encode("utf-16"))
    code, said = line.run(*words, *(() if "--" in words or words[0] in BASE else NOBODY))
    assert code in (2, 125)
    assert sentence in said


def test_a_very_long_word_is_not_quoted_whole(line: Line) -> None:
    _, said = line.run("submit", "x" * 200_000, "y")
    assert len(said) < NOTE_CHARS_MAX + 100
    assert " bytes cut] ... " in said
    assert said.endswith("xxx -- y`")


def test_a_server_and_a_worker_of_a_user_with_a_foreign_name_start(shell: Shell) -> None:
    up = subprocess.Popen(
        [AIRUNNER, "up", "--listen", "127.0.0.1:0"],
        env={**shell.environment, "USER": os.fsdecode(b"J\xf6rg")},
        cwd=shell.home,
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    try:
        assert up.stderr
        assert any(b"ready at" in said for said in up.stderr)
    finally:
        up.terminate()
        up.communicate(timeout=PATIENCE)
