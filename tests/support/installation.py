"""A real server and real workers, as processes of their own, for tests from end to end."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import IO

from airunner.cli.processes.certificates import make_certificates

PATIENCE = 120.0  # seconds until an expected event counts as missing

AIRUNNER = (str(Path(sys.executable).with_name("airunner")),)


class Process:
    """A running `airunner` command with a reader of its standard error."""

    def __init__(self, popen: "subprocess.Popen[bytes]") -> None:
        self.popen = popen
        self.journal: list[str] = []
        self._news = threading.Condition()
        self._over = False
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    @property
    def pid(self) -> int:
        return self.popen.pid

    def signal(self, number: int) -> None:
        self.popen.send_signal(number)

    def wait(self, seconds: float = PATIENCE) -> int:
        code = self.popen.wait(seconds)
        self._reader.join(seconds)
        return code

    def stop(self) -> int:
        """Ends the command with SIGTERM; kills it and raises if it has not ended after 20 s."""
        if self.popen.poll() is None:
            self.signal(signal.SIGTERM)
            self.signal(signal.SIGCONT)
        try:
            return self.wait(20)
        except subprocess.TimeoutExpired:
            self.popen.kill()
            self.wait()
            raise

    def said(self, event: str, **fields: object) -> dict[str, object]:
        """Waits for the first log line with this event and these fields."""
        seen = 0
        with self._news:
            while True:
                for line in self.journal[seen:]:
                    entry: dict[str, object] = json.loads(line) if line.startswith("{") else {}
                    if entry.get("event") == event and fields.items() <= entry.items():
                        return entry
                seen = len(self.journal)
                if self._over or not self._news.wait(PATIENCE):
                    raise AssertionError(f"no {event!r} in the log:\n" + "".join(self.journal))

    def heard(self, words: str, times: int = 1) -> None:
        """Waits until `times` lines with these words have been written."""
        with self._news:
            while sum(words in line for line in self.journal) < times:
                if self._over or not self._news.wait(PATIENCE):
                    raise AssertionError(f"no {words!r} in the log:\n" + "".join(self.journal))

    def _read(self) -> None:
        assert self.popen.stderr
        with self.popen.stderr as lines:
            for line in lines:
                with self._news:
                    self.journal.append(line.decode(errors="replace"))
                    self._news.notify_all()
        with self._news:
            self._over = True
            self._news.notify_all()


class Site:
    """A server with certificates and keys in a folder, and its workers; `close()` ends all of them.

    The jobs are in a file in the folder, unless `store` names another store.
    """

    def __init__(self, folder: Path, *, auth: bool = False, store: str | None = None) -> None:
        self.folder = folder
        self.auth = auth
        self.store = store or f"sqlite:{folder / 'jobs.db'}"
        self.certs = folder / "certs"
        self.address = "127.0.0.1:0"
        self.server: Process | None = None
        self._processes: list[Process] = []
        home = folder / "home"
        home.mkdir(parents=True)
        self.environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(home),
            "LANG": "C.UTF-8",
        }
        make_certificates(self.certs)
        self.environment["AIRUNNER_CA_CERT"] = str(self.certs / "ca.pem")

    def start_server(self, *arguments: str) -> Process:
        """Starts or restarts the server on the same address; returns when it listens."""
        self.server = self.start(*self.server_command(), *arguments)
        self.address = str(self.server.said("listening")["address"])
        self.environment["AIRUNNER_SERVER"] = self.address
        return self.server

    def server_command(self) -> list[str]:
        command = ["server", "--listen", self.address, "--log-format", "json"]
        command += ["--tls-cert", str(self.certs / "server.pem")]
        command += ["--tls-key", str(self.certs / "server-key.pem"), "--store", self.store]
        command += [] if self.auth else ["--no-auth"]
        return command

    def start_worker(self, *arguments: str, environment: Mapping[str, str] = {}) -> Process:
        """Starts a worker; returns when the server has welcomed it."""
        worker = self.start(
            "worker",
            *("--log-format", "json", "--work-dir", str(self.folder / "work")),
            *arguments,
            environment=environment,
        )
        worker.said("connected")
        return worker

    def start(
        self,
        *arguments: str,
        environment: Mapping[str, str] = {},
        stdout: IO[bytes] | int = subprocess.DEVNULL,
    ) -> Process:
        process = Process(
            subprocess.Popen(
                [*AIRUNNER, *arguments],
                env={**self.environment, **environment},
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=subprocess.PIPE,
                cwd=self.folder,
            )
        )
        self._processes.append(process)
        return process

    def run(
        self,
        *arguments: str,
        check: bool = False,
        environment: Mapping[str, str] = {},
        seconds: float = PATIENCE,
    ) -> "subprocess.CompletedProcess[bytes]":
        """Runs a client command to its end."""
        try:
            done = subprocess.run(
                [*AIRUNNER, *arguments],
                env={**self.environment, **environment},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                cwd=self.folder,
                timeout=seconds,
                check=False,
            )
        except subprocess.TimeoutExpired:
            logs = ("".join(process.journal[-20:]) for process in self._processes)
            raise AssertionError("\n".join((f"{arguments} did not end", *logs))) from None
        if check and done.returncode:
            raise AssertionError(f"{arguments} ended with {done.returncode}: {done.stderr!r}")
        return done

    def submit(self, *arguments: str) -> str:
        """Submits a job; returns its id."""
        done = self.run("submit", "--detach", *arguments, check=True)
        return done.stdout.decode().split()[-1]

    def show(self, id: str) -> dict[str, object]:
        shown: dict[str, object] = json.loads(self.run("show", id, "--json", check=True).stdout)
        return shown

    def events(self, id: str) -> Generator[dict[str, object], None, None]:
        """Yields a job's events until the job has ended."""
        monitor = self.start("monitor", id, "--json", stdout=subprocess.PIPE)
        assert monitor.popen.stdout
        try:
            with monitor.popen.stdout as lines:
                for line in lines:
                    yield json.loads(line)
        finally:
            monitor.stop()

    def wait_for(self, id: str, type: str) -> dict[str, object]:
        """Waits for the first event of a type."""
        with closing(self.events(id)) as events:
            for event in events:
                if event["type"] == type:
                    return event
        raise AssertionError(f"job {id} ended without {type}")

    def stop_all_but_server(self) -> None:
        """Stops the workers and other commands, and lets the server run."""
        for process in reversed(self._processes):
            if process is not self.server:
                process.stop()
        self._processes = [process for process in self._processes if process is self.server]

    def close(self) -> None:
        """Stops the workers and other commands, then the server."""
        with ExitStack() as stops:  # all of them, even if one does not stop in time
            for process in self._processes:
                stops.callback(process.stop)


@contextmanager
def site(
    folder: Path, *, auth: bool = False, store: str | None = None, server: Sequence[str] = ()
) -> Iterator[Site]:
    """Runs a server for the length of a block."""
    it = Site(folder, auth=auth, store=store)
    try:
        it.start_server(*server)
        yield it
    finally:
        it.close()
