"""Sources on a drive that workers share, with real workers, one of which is frozen."""

import json
import os
import signal
from pathlib import Path

import pytest

from airunner.worker.workspace.sources.source_names import LOCK
from tests.promises import holds
from tests.support.installation import Site


@pytest.fixture
def source(own: Site) -> Path:
    folder = own.folder / "jobs" / "build"
    folder.mkdir(parents=True)
    return folder


def bring(source: Path, *steps: str) -> None:
    (source / "job.json").write_text(json.dumps({"steps": steps}))


@holds("sources/one-job-at-a-time")
def test_worker_that_is_frozen_leaves_nothing_in_the_results_of_the_attempt_that_follows(
    own: Site, source: Path
) -> None:
    go = own.folder / "go"
    forever = "while :; do echo first; sleep 0.1; done"
    once = f"until [ -e {go} ]; do sleep 0.1; done; echo made >made; echo second"
    bring(source, f"[ $AIRUNNER_ATTEMPT = 2 ] || {forever}", once)
    options = ("--jobs-dir", "jobs", "--visibility-timeout", "2")
    frozen = own.start_worker(*options, "--workspaces-dir", "there")
    id = own.submit("--source", "build")
    own.wait_for(id, "output")
    frozen.signal(signal.SIGSTOP)
    other = own.start_worker(*options, "--workspaces-dir", "here")
    other.said("job_leased", attempt=2)
    other.said("job_started", attempt=2)
    frozen.signal(signal.SIGCONT)
    frozen.said("lease_lost")
    assert frozen.stop() == 0
    assert (source / LOCK).read_text() == f"{id} 2\n"
    go.touch()
    assert own.run("monitor", id).returncode == 0
    results = source / "results"
    assert sorted(os.listdir(results)) == ["made", "result.json", "step_0.log", "step_1.log"]
    assert (results / "step_0.log").read_bytes() == b""
    assert (results / "step_1.log").read_bytes() == b"second\n"
    assert sorted(os.listdir(source)) == ["job.json", "results"]


@holds("sources/one-job-at-a-time")
def test_worker_that_is_killed_frees_its_source_and_its_workspace_goes_with_the_next_one(
    own: Site, source: Path
) -> None:
    bring(source, "[ $AIRUNNER_ATTEMPT = 2 ] || while :; do echo first; sleep 0.1; done")
    options = ("--jobs-dir", "jobs", "--workspaces-dir", "here")
    worker = own.start_worker(*options)
    id = own.submit("--source", "build")
    own.wait_for(id, "output")
    worker.signal(signal.SIGKILL)
    worker.wait()
    assert (source / LOCK).read_text() == f"{id} 1\n"
    other = own.start_worker(*options)
    assert own.run("monitor", id).returncode == 0
    assert sorted(os.listdir(source)) == ["job.json", "results"]
    assert (source / "results" / "step_0.log").read_bytes() == b""
    assert other.stop() == 0
    assert os.listdir(own.folder / "here") == []


def test_job_with_a_source_is_told_by_a_worker_without_any_how_it_gets_some(quiet: Site) -> None:
    quiet.start_worker()
    done = quiet.run("submit", "--source", "build")
    assert done.returncode == 125
    assert b"start it with --jobs-dir" in done.stderr
