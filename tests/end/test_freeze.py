"""Processes that stop for longer than a lease and go on as if nothing had happened."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from airunner.model.jobs import JobId
from tests.promises import holds
from tests.rounds.expectations import Wish, is_alive, marks_of
from tests.support.installation import Process, Site


@pytest.fixture
def marks(own: Site) -> Path:
    folder = own.folder / "marks"
    folder.mkdir()
    return folder


@pytest.fixture
def frozen(own: Site) -> Iterator[list[Process]]:
    """Whoever is put in here goes on at the end."""
    held: list[Process] = []
    yield held
    for each in held:
        each.signal(signal.SIGCONT)


def in_order(it: Site, id: str) -> list[tuple[str, int]]:
    """A job's events, of which none of an attempt comes behind the next one's first."""
    events = list(it.events(id))
    assert [each["sequence"] for each in events] == list(range(1, len(events) + 1))
    attempts = [int(str(each["attempt"])) for each in events]
    assert [each for each in attempts if each] == sorted(each for each in attempts if each)
    return [(str(each["type"]), attempt) for each, attempt in zip(events, attempts, strict=True)]


@holds("jobs/worker-stops-first", "processes/none-outlives-lease-of-frozen-worker")
def test_job_of_a_frozen_worker_is_dead_before_it_runs_again_and_the_worker_takes_the_next_job(
    own: Site, marks: Path, frozen: list[Process]
) -> None:
    """The worker alone is frozen: its supervisor kills the tree at the end of the lease."""
    sleeper = own.start_worker("--visibility-timeout", "2")
    frozen.append(sleeper)
    wish = Wish(tag="frozen", blocks=600, lines=20, pause=0.05, code=0, child=True)
    id = own.submit("--", *wish.argv(marks))
    own.wait_for(id, "output")
    other = own.start_worker(
        "--visibility-timeout", "60", "--work-dir", str(own.folder / "elsewhere")
    )
    sleeper.signal(signal.SIGSTOP)
    other.said("job_started", job=id)
    assert [mark.what for mark in marks_of(marks, JobId(id))] in (["begin"], ["begin", "begin"])
    own.run("cancel", id, check=True)
    assert own.run("monitor", id).returncode == 130
    assert not is_alive(marks, JobId(id))
    assert "overlap" not in {mark.what for mark in marks_of(marks, JobId(id))}
    assert other.stop() == 0
    sleeper.signal(signal.SIGCONT)
    sleeper.said("lease_lost", job=id)
    assert own.run("submit", "--", "echo", "next").stdout == b"next\n"
    events = in_order(own, id)
    assert ("returned", 1) in events
    assert events[-1] == ("finished", 2)
    assert own.run("verify", id).returncode == 0


@holds("jobs/one-worker-at-a-time")
def test_server_that_is_frozen_for_longer_than_a_lease_starts_no_second_attempt_beside_the_first(
    own: Site, marks: Path, frozen: list[Process]
) -> None:
    """The worker kills its job before that; the server finds out when it goes on."""
    worker = own.start_worker("--visibility-timeout", "2")
    wish = Wish(tag="server", blocks=40, lines=20, pause=0.1, code=77, child=True)
    id = own.submit("--", *wish.argv(marks))
    own.wait_for(id, "output")
    assert own.server
    frozen.append(own.server)
    own.server.signal(signal.SIGSTOP)
    worker.said("lease_lost")
    own.server.signal(signal.SIGCONT)
    assert own.run("monitor", id).returncode == 77
    events = in_order(own, id)
    assert "overlap" not in {mark.what for mark in marks_of(marks, JobId(id))}
    assert not is_alive(marks, JobId(id))
    assert events[-1][0] == "finished"
    assert own.run("logs", id, check=True).stdout.endswith(wish.output(events[-1][1]))
