"""The connection settings of client commands: server address, token and CA certificate.

Each setting is taken from the first source that has it:

    1. the flag                --server  --token, --token-file  --ca-cert
    2. the environment         AIRUNNER_SERVER  AIRUNNER_TOKEN, AIRUNNER_TOKEN_FILE  AIRUNNER_CA_CERT
    3. the user's config file  config.toml in the platform's folder for configuration
    4. `airunner up`           server.toml, written when `up` starts; read only if no other source
                               names a server, so that its token is never sent to another server
"""

import os
import tomllib
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Final

from platformdirs import user_config_path, user_data_path

from airunner.cli.exit_codes import CommandFailed
from airunner.system.text_files import decode_text, read_file

if TYPE_CHECKING:
    from airunner.wire.client.endpoint import Endpoint

DEFAULT_SERVER: Final = "localhost:8080"
JOBS_FILE: Final = "jobs.db"  # the log of a server that runs without --store
_KEYS: Final = ("server", "token_file", "ca_cert")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The settings of one source, or several merged; None: not set."""

    server: str | None = None
    token: str | None = None
    token_file: Path | None = None
    ca_cert: Path | None = None
    own: bool = False  # the server is that of `airunner up`, which is never behind a proxy

    def over(self, other: "Settings") -> "Settings":
        """These settings, completed from `other`. The token and the token file are one setting."""
        merged = Settings(
            server=self.server or other.server,
            token=self.token,
            token_file=self.token_file,
            ca_cert=self.ca_cert or other.ca_cert,
            own=self.own or other.own,
        )
        if merged.token or merged.token_file:
            return merged
        return replace(merged, token=other.token, token_file=other.token_file)

    def endpoint(self) -> "Endpoint":
        """The endpoint to connect to. Raises InvalidRequest if the server is not HOST:PORT."""
        from airunner.wire.client.endpoint import Endpoint
        from airunner.wire.client.proxy import DIRECT, find_route

        server = self.server or DEFAULT_SERVER
        return Endpoint(
            server=server,
            route=DIRECT if self.own else find_route(server, os.environ),
            token=self.token or "",
            token_file=self.token_file,
            ca_cert=self.ca_cert,
        )


def config_file() -> Path:
    return user_config_path("airunner") / "config.toml"


def data_folder() -> Path:
    """The folder for a server's jobs if it runs without --store."""
    return user_data_path("airunner")


def embedded_folder() -> Path:
    """The folder of `airunner up`: its certificates, keys, tokens, jobs and server.toml."""
    return data_folder() / "embedded"


def settings(
    server: str | None, token: str | None, token_file: Path | None, ca_cert: Path | None
) -> Settings:
    """The settings of the flags, completed from the other sources."""
    if token and token_file:
        raise CommandFailed("give --token or --token-file, not both", 2)
    flags = Settings(server=server, token=token, token_file=token_file, ca_cert=ca_cert)
    merged = flags.over(_environment()).over(read_settings(config_file()))
    if merged.server is None:
        embedded = read_settings(embedded_folder() / "server.toml")
        merged = merged.over(replace(embedded, own=embedded.server is not None))
    return merged


def _environment() -> Settings:
    token_file, ca_cert = os.environ.get("AIRUNNER_TOKEN_FILE"), os.environ.get("AIRUNNER_CA_CERT")
    token = os.environ.get("AIRUNNER_TOKEN") or None
    return Settings(
        server=os.environ.get("AIRUNNER_SERVER") or None,
        token=token,
        token_file=Path(token_file) if token_file and not token else None,
        ca_cert=Path(ca_cert) if ca_cert else None,
    )


def read_settings(path: Path) -> Settings:
    """The settings in a config file; no settings if the file does not exist."""
    try:
        text = decode_text(read_file(path))
    except FileNotFoundError:
        return Settings()
    except OSError as error:
        raise CommandFailed(f"cannot read {path}: {error.strerror}") from None
    except ValueError as error:
        raise CommandFailed(f"{path} {error}") from None
    try:
        values = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # ValueError: also a number of 4,300 digits
        raise CommandFailed(f"{path} is not TOML: {error}") from None
    for key, value in values.items():
        if key not in _KEYS:
            near = get_close_matches(key, _KEYS, 1)
            hint = f"did you mean {near[0]}?" if near else f"it may have {', '.join(_KEYS)}"
            raise CommandFailed(f"{path} has no key {key!r}: {hint}")
        if not isinstance(value, str):
            raise CommandFailed(f"{path}: {key} must be text in quotes")
    return Settings(
        server=values.get("server"),
        token_file=_path(values.get("token_file"), path.parent),
        ca_cert=_path(values.get("ca_cert"), path.parent),
    )


def _path(text: str | None, folder: Path) -> Path | None:
    if text and "\0" in text:
        raise CommandFailed(f"{folder / 'config.toml'}: {text!r} is not a path")
    return folder / expand_home(text) if text else None


def expand_home(path: str) -> Path:
    """The path with the home folder of a user instead of `~` or `~NAME`. Raises CommandFailed."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        raise CommandFailed(
            f"the home folder of {path!r} is not known: write the whole path"
        ) from None
