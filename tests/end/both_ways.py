"""A job on a source, run in either way: by a server and its worker, or here without any."""

import json
import os
import re
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from tests.support.installation import Process, Site

Way = Literal["server", "here"]
WAYS: Final[tuple[Way, ...]] = ("server", "here")
Json = dict[str, Any]  # what a file has, which a test looks into


@dataclass(frozen=True, slots=True)
class Factory:
    """A server with a worker of two slots, which shares its folders with whoever runs jobs here."""

    site: Site
    worker: Process
    jobs: Path  # the root of sources
    workspaces: Path


@dataclass(frozen=True, slots=True)
class Done:
    """What came of a run."""

    code: int
    stdout: str
    stderr: str
    results: Path

    @property
    def result(self) -> Json:
        """result.json."""
        found: Json = json.loads((self.results / "result.json").read_text())
        return found

    @property
    def statuses(self) -> list[str]:
        return [step["status"] for step in self.result["steps"]]

    @property
    def artifacts(self) -> list[str]:
        return [artifact["path"] for artifact in self.result["artifacts"]]

    @property
    def names(self) -> set[str]:
        """Of all that is at the top of the results."""
        return set(os.listdir(self.results))

    def log(self, index: int) -> str:
        return (self.results / f"step_{index}.log").read_text()


class Running:
    """A run that has begun."""

    def __init__(self, process: Process, shop: "Workshop") -> None:
        self._process = process
        self._shop = shop

    def read_live(self, text: str) -> None:
        """Return once the log of the first step has a line with this text, as `tail -F` shows it."""
        path = self._shop.results / "step_0.log"
        with subprocess.Popen(
            ["tail", "-n", "+1", "-F", "-s", "0.1", str(path)],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        ) as tail:
            assert tail.stdout
            for line in tail.stdout:
                if text in line:
                    break
            tail.kill()

    def cancel(self) -> None:
        """As Ctrl-C where there is no terminal."""
        self._process.signal(signal.SIGINT)

    def wait(self) -> Done:
        code = self._process.wait()
        return self._shop.done(code, "", "".join(self._process.journal))


class Workshop:
    """A source, and one way to run jobs on it."""

    def __init__(self, factory: Factory, name: str, way: Way, here: Path) -> None:
        self.way = way
        self.source = factory.jobs / name
        self.results = self.source / "results" if way == "server" else here / "results"
        self._factory = factory
        self._name = name
        self._file = here / "job.json"

    def make(self, manifest: object = None, **files: str) -> None:
        """The source: with a job.json, unless that is None, and with other files."""
        self.source.mkdir()
        for path, text in files.items():
            (self.source / path).write_text(text)
        if manifest is not None:
            text = manifest if isinstance(manifest, str) else json.dumps(manifest)
            (self.source / "job.json").write_text(text)

    def renamed(self, name: str) -> "Workshop":
        """The same way for a source of another name."""
        return Workshop(self._factory, f"{self._name}-{name}", self.way, self._file.parent)

    def run(self, **payload: object) -> Done:
        """A job on the source; the payload is what its file says besides."""
        done = self._factory.site.run(*self._words(payload))
        return self.done(done.returncode, done.stdout.decode(), done.stderr.decode())

    def begin(self, **payload: object) -> Running:
        return Running(self._factory.site.start(*self._words(payload)), self)

    def run_beside(self, **payload: object) -> Done:
        """The same while another job is at work, whose workspace is there."""
        done = self._factory.site.run(*self._words(payload))
        return Done(done.returncode, done.stdout.decode(), done.stderr.decode(), self.results)

    def done(self, code: int, stdout: str, stderr: str) -> Done:
        """What came of a run, once its workspace is gone."""
        if found := re.search(r"^airunner: job (\S+)$", stderr, re.MULTILINE):
            self._factory.worker.said("job_ended", job=found[1])
        left = self._factory.workspaces.glob("worker-*/*/*/*")
        assert not list(left), "something is left in a workspace"
        assert not list(self._factory.workspaces.glob("worker-*/*/script-*"))
        return Done(code, stdout, stderr, self.results)

    def _words(self, payload: dict[str, object]) -> list[str]:
        self._file.write_text(json.dumps({"source": self._name, **payload}))
        if self.way == "server":
            return ["submit", "--config", str(self._file)]
        folders = ["--jobs-dir", str(self._factory.jobs)]
        folders += ["--workspaces-dir", str(self._factory.workspaces)]
        return ["run", str(self._file), *folders, "--results", str(self.results)]
