"""A server that checks tokens, with one worker, for the tests of a module."""

import os
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.support.installation import Process

PATIENCE = 120.0  # seconds to wait for an event before the test fails
AIRUNNER = str(Path(sys.executable).with_name("airunner"))


class Shell:
    """Runs `airunner` with its own home directory, and ends all processes that it started."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.environment = {"PATH": os.environ["PATH"], "HOME": str(home), "LANG": "C.UTF-8"}
        self._started: list[subprocess.Popen[bytes]] = []

    def run(
        self, *words: str, environment: Mapping[str, str] = {}
    ) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [AIRUNNER, *words],
            env={**self.environment, **environment},
            cwd=self.home,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )

    def run_in_sh(self, script: str, *words: str) -> "subprocess.CompletedProcess[str]":
        """Runs a line of shell with the command line as "$@"."""
        return subprocess.run(
            ["sh", "-c", script, "sh", AIRUNNER, *words],
            env=self.environment,
            cwd=self.home,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )

    def start(self, *words: str, environment: Mapping[str, str] = {}) -> "subprocess.Popen[bytes]":
        """Starts a command in its own session, so without a terminal."""
        process = subprocess.Popen(
            [AIRUNNER, *words],
            env={**self.environment, **environment},
            cwd=self.home,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        self._started.append(process)
        return process

    @property
    def server(self) -> str:
        """The address of the server of `airunner up`."""
        return str(self._embedded["server"])

    @property
    def trust(self) -> tuple[str, ...]:
        """The flags that connect to that server by another address."""
        said = self._embedded
        return ("--ca-cert", str(said["ca_cert"]), "--token-file", str(said["token_file"]))

    @property
    def _embedded(self) -> Mapping[str, object]:
        path = self.home / ".local/share/airunner/embedded/server.toml"
        return tomllib.loads(path.read_text())

    def submit(self, *words: str) -> str:
        done = self.run("submit", "--detach", *words)
        assert done.returncode == 0, done.stderr
        return done.stdout.split()[-1]

    def close(self) -> None:
        for process in reversed(self._started):
            if process.poll() is None:
                process.terminate()
            process.wait(PATIENCE)
            for stream in (process.stdout, process.stderr):
                if stream:
                    stream.close()


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    """A shell without any server."""
    it = Shell(tmp_path)
    yield it
    it.close()


@pytest.fixture(scope="module")
def embedded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    """A shell beside a running `airunner up`; commands with the same home find its server."""
    it = Shell(tmp_path_factory.mktemp("home"))
    # A pipe with a log that nobody reads is full after some hundred jobs, and holds the server up.
    up = Process(it.start("up", "--listen", "127.0.0.1:0", "--slots", "4"))
    up.heard("ready at")
    yield it
    up.stop()
    it.close()
