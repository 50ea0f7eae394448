"""Networks that carry one way only, or nothing, or whose connections die without a word."""

import asyncio
import subprocess
from contextlib import aclosing
from pathlib import Path

import pytest

from airunner.model.errors import Refused
from airunner.model.job_events import JobEvent
from airunner.model.jobs import JobId
from airunner.model.reports import Output
from airunner.wire.client.endpoint import Endpoint
from airunner.wire.client.follow import follow
from airunner.wire.client.jobs_client import JobsClient
from tests.promises import holds, promise
from tests.rounds.expectations import Wish, marks_of
from tests.support.installation import Site
from tests.support.proxy import Proxy, Way, proxy

WAYS = pytest.mark.parametrize(
    "ways", [(Way.IN,), (Way.OUT,), (Way.IN, Way.OUT)], ids=["in", "out", "both"]
)


def marked(it: Site) -> Path:
    marks = it.folder / "marks"
    marks.mkdir(exist_ok=True)
    return marks


@holds("jobs/worker-stops-first")
@WAYS
def test_a_worker_that_is_not_heard_or_hears_nothing_kills_its_job_before_the_next_one_begins(
    quiet: Site, ways: tuple[Way, ...]
) -> None:
    """The job's own lock tells: no process of the first attempt lives when the second begins."""
    marks = marked(quiet)
    wish = Wish(tag="stalled", blocks=60, lines=1, pause=0.1, code=0, child=True)
    with proxy(quiet.address) as network:
        there = {"AIRUNNER_SERVER": network.address}
        lost = quiet.start_worker("--visibility-timeout", "2", environment=there)
        id = quiet.submit("--", *wish.argv(marks))
        quiet.wait_for(id, "output")
        network.silence(*ways)
        quiet.start_worker("--visibility-timeout", "2")
        assert quiet.run("monitor", id).returncode == 0
        lost.said("lease_lost")
        assert [mark.what for mark in marks_of(marks, JobId(id))] == ["begin", "begin", "end"]
        events = [(each["type"], each["attempt"]) for each in quiet.events(id)]
        network.speak()
    assert events[-1] == ("finished", 2)
    attempts = [int(str(attempt)) for _, attempt in events]
    assert attempts == sorted(attempts)  # nothing of the first came behind the second's start
    assert quiet.run("logs", id, check=True).stdout.endswith(wish.output(2))


@holds("jobs/broken-connection-redelivers-nothing")
@WAYS
def test_a_worker_whose_network_heals_before_its_lease_has_lapsed_loses_nothing(
    quiet: Site, ways: tuple[Way, ...]
) -> None:
    marks = marked(quiet)
    wish = Wish(tag="healed", blocks=30, lines=50, pause=0.1, code=77)
    with proxy(quiet.address) as network:
        there = {"AIRUNNER_SERVER": network.address}
        worker = quiet.start_worker("--visibility-timeout", "9", environment=there)
        id = quiet.submit("--", *wish.argv(marks))
        quiet.wait_for(id, "output")
        network.silence(*ways)
        worker.said("disconnected")
        network.speak()
        assert quiet.run("monitor", id).returncode == 77
        assert quiet.run("logs", id, check=True).stdout == wish.output(1)
        job = quiet.show(id)
        assert (job["attempt"], job["failures"], job["log_complete"]) == (1, 0, True)


@promise(
    "logs/dead-connection-is-noticed",
    "A watcher notices a dead connection within 40 s and continues where it was. A watcher whose "
    "connection is cut continues in the same way.",
)
def test_a_monitor_whose_connection_died_without_a_word_finds_out_and_misses_nothing(
    quiet: Site, tmp_path: Path
) -> None:
    """A parked watcher says nothing by itself: keepalive asks for it, sooner here than usual."""
    quiet.start_worker()
    go = tmp_path / "go"
    script = f"echo one; until [ -e {go} ]; do sleep 0.05; done; echo two; exit 7"
    id = JobId(quiet.submit("--", "sh", "-c", script))

    async def watch(network: Proxy) -> tuple[list[JobEvent], list[str]]:
        seen, away = list[JobEvent](), list[str]()

        def lost(refusal: Refused) -> None:
            away.append(str(refusal))
            go.touch()

        endpoint = Endpoint(
            server=network.address, ca_cert=quiet.certs / "ca.pem", keepalive_millis=(1_000, 1_000)
        )
        async with (
            asyncio.timeout(30),  # gRPC's own patience is a minute
            JobsClient(endpoint) as jobs,
            aclosing(follow(jobs, id, lost=lost)) as entries,
        ):
            async for entry in entries:
                seen.append(entry)
                if isinstance(entry.body, Output) and not away:
                    network.strand()
        return seen, away

    with proxy(quiet.address) as network:
        try:
            seen, away = asyncio.run(watch(network))
        finally:
            go.touch()
    assert len(away) == 1
    numbers = [number for each in seen for number in range(each.first, each.last + 1)]
    assert numbers == list(range(1, len(numbers) + 1))
    assert quiet.run("logs", id, check=True).stdout == b"one\ntwo\n"


@holds("logs/dead-connection-is-noticed")
def test_a_submit_whose_connection_is_cut_exits_with_the_code_of_its_job(
    quiet: Site, tmp_path: Path
) -> None:
    quiet.start_worker()
    go = tmp_path / "go"
    script = f"echo one; until [ -e {go} ]; do sleep 0.05; done; echo two; exit 77"
    with proxy(quiet.address) as network:
        there = {"AIRUNNER_SERVER": network.address}
        words = ("submit", "--", "sh", "-c", script)
        submit = quiet.start(*words, environment=there, stdout=subprocess.PIPE)
        assert submit.popen.stdout
        with submit.popen.stdout as output:
            assert output.readline() == b"one\n"
            network.cut()
            submit.heard("trying again")
            go.touch()
            assert output.read() == b"two\n"
        assert submit.wait() == 77
