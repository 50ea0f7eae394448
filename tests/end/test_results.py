"""Folders of results under real workers that freeze and die."""

import json
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.promises import holds
from tests.support.installation import Process, Site

# The first attempt goes on until somebody ends it
SCRIPT = """
echo "attempt $AIRUNNER_ATTEMPT" | tee made
while [ "$AIRUNNER_ATTEMPT" = 1 ]; do echo on and on; sleep 0.02; done
"""


@pytest.fixture
def source(own: Site) -> Path:
    folder = own.folder / "jobs" / "one"
    folder.mkdir(parents=True)
    (folder / "data").write_text("data")
    return folder


@pytest.fixture
def first(own: Site, source: Path) -> Iterator[Process]:
    """A worker that has the job and goes on at the end, whatever was done to it."""
    worker = start(own, source)
    yield worker
    worker.signal(signal.SIGCONT)


def start(own: Site, source: Path) -> Process:
    return own.start_worker("--visibility-timeout", "2", "--jobs-dir", str(source.parent), "--once")


def names(folder: Path) -> set[str]:
    return {each.name for each in folder.iterdir()}


@holds("results/folder-belongs-to-one-attempt")
@pytest.mark.parametrize("how", [signal.SIGSTOP, signal.SIGKILL])
def test_results_are_those_of_the_last_attempt_though_the_first_is_still_writing(
    own: Site, source: Path, first: Process, how: signal.Signals
) -> None:
    id = own.submit("--source", source.name, "--script", SCRIPT)
    own.wait_for(id, "output")
    log = source / "results" / "step_0.log"
    assert log.read_text().startswith("attempt 1\n")
    first.signal(how)
    own.wait_for(id, "returned")
    start(own, source)
    assert own.run("monitor", id).returncode == 0
    if how is signal.SIGSTOP:
        first.signal(signal.SIGCONT)
        first.said("lease_lost")
        assert first.wait() == 125
    assert names(source) == {"data", "results"}
    assert names(source / "results") == {"step_0.log", "made", "result.json"}
    assert log.read_text() == (source / "results" / "made").read_text() == "attempt 2\n"
    result = json.loads((source / "results" / "result.json").read_bytes())
    assert (result["jobId"], result["status"], result["error"]) == (id, "success", None)
    assert [each["path"] for each in result["artifacts"]] == ["made"]
