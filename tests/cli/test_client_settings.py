"""The sources of connection settings, and their order."""

from pathlib import Path

import pytest

from airunner.cli import client_settings as module
from airunner.cli.client_settings import (
    Settings,
    config_file,
    embedded_folder,
    read_settings,
    settings,
)
from airunner.cli.exit_codes import CommandFailed

VARIABLES = ("AIRUNNER_SERVER", "AIRUNNER_TOKEN", "AIRUNNER_TOKEN_FILE", "AIRUNNER_CA_CERT")


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home directory of the test, without the caller's variables."""
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    for name in ("XDG_CONFIG_HOME", "XDG_DATA_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def embed() -> None:
    write(
        embedded_folder() / "server.toml",
        'server = "localhost:1"\nca_cert = "ca.pem"\ntoken_file = "token"\n',
    )


def test_nothing_said_is_the_default_server_and_no_token() -> None:
    endpoint = settings(None, None, None, None).endpoint()
    assert endpoint.server == module.DEFAULT_SERVER == "localhost:8080"
    assert endpoint.metadata() == ()


def test_a_flag_wins_over_the_environment_which_wins_over_the_config_file(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    write(config_file(), 'server = "file:1"\nca_cert = "ca.pem"\n')
    assert settings(None, None, None, None).server == "file:1"
    monkeypatch.setenv("AIRUNNER_SERVER", "environment:1")
    assert settings(None, None, None, None).server == "environment:1"
    said = settings("flag:1", None, None, None)
    assert (said.server, said.ca_cert) == ("flag:1", config_file().parent / "ca.pem")


def test_a_token_that_is_a_flag_replaces_a_token_file_of_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AIRUNNER_TOKEN_FILE", "/elsewhere")
    said = settings(None, "secret", None, None)
    assert (said.token, said.token_file) == ("secret", None)


def test_a_token_file_that_is_a_flag_replaces_a_token_of_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AIRUNNER_TOKEN", "other")
    said = settings(None, None, Path("mine"), None)
    assert (said.token, said.token_file) == (None, Path("mine"))


def test_the_embedded_server_is_found_when_no_server_is_named() -> None:
    embed()
    said = settings(None, None, None, None)
    folder = embedded_folder()
    assert said == Settings(
        server="localhost:1",
        ca_cert=folder / "ca.pem",
        token_file=folder / "token",
        own=True,
    )


def test_the_embedded_servers_token_is_sent_to_no_other() -> None:
    embed()
    assert settings("other:1", None, None, None) == Settings(server="other:1")


def test_token_and_token_file_together_are_refused() -> None:
    with pytest.raises(CommandFailed, match="not both"):
        settings(None, "secret", Path("file"), None)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ('sever = "x:1"', "has no key 'sever': did you mean server?"),
        ('zzz = "x"', "it may have server, token_file, ca_cert"),
        ("server = 8080", "server must be text in quotes"),
        ("server", "is not TOML"),
    ],
)
def test_a_mistake_in_the_config_file_is_one_sentence(text: str, sentence: str) -> None:
    with pytest.raises(CommandFailed) as caught:
        read_settings(write(config_file(), text))
    assert sentence in str(caught.value)
