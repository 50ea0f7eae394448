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


@holds("jobs/worker-stops-first")
def test_frozen_worker_kills_the_tree_of_its_job_when_it_goes_on_and_says_nothing_more(
    own: Site, marks: Path, frozen: list[Process]
) -> None:
    """Its supervisor is another process, and goes on all the time: so does the command until then."""
    sleeper = own.start_worker("--visibility-timeout", "2", "--once")
    frozen.append(sleeper)
    wish = Wish(tag="frozen", blocks=600, lines=20, pause=0.05, code=0, child=True)
    id = own.submit("--", *wish.argv(marks))
    own.wait_for(id, "output")
    sleeper.signal(signal.SIGSTOP)
    own.wait_for(id, "returned")
    assert is_alive(marks, JobId(id))
    sleeper.signal(signal.SIGCONT)
    sleeper.said("lease_lost")
    assert sleeper.wait() == 125
    assert not is_alive(marks, JobId(id))
    own.run("cancel", id, check=True)
    assert own.run("monitor", id).returncode == 130
    assert in_order(own, id)[-2:] == [("returned", 1), ("finished", 0)]
    assert own.run("verify", id).returncode == 0
    assert wish.output(1).startswith(own.run("logs", id, check=True).stdout)


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
