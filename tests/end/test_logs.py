"""What jobs write, printed as it comes: of one job, and of all."""

import asyncio
import json
import signal
import subprocess
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from airunner.model.jobs import JobId, RequestId
from airunner.model.limits import ENQUEUE_JOBS_MAX, LINE_BYTES_MAX, MIB
from airunner.model.spec import JobSpec
from airunner.wire.client.endpoint import Endpoint
from airunner.wire.client.jobs_client import JobsClient
from tests.promises import holds
from tests.support.installation import Process, Site

PREFIX = ("--prefix-stderr", "ERROR::")
FROM_NOW_ON = "from now on"


class Follower:
    """`airunner logs --all --follow`, whose lines are read one after the other."""

    def __init__(self, it: Site, *arguments: str) -> None:
        self.process: Process = it.start(
            "logs", "--all", "--follow", *arguments, stdout=subprocess.PIPE
        )
        assert self.process.popen.stdout
        self._stdout = self.process.popen.stdout
        self.lines: list[bytes] = []
        self.process.heard(FROM_NOW_ON)

    def read(self) -> bytes:
        """The next line."""
        self.lines.append(line := self._stdout.readline().removesuffix(b"\n"))
        return line

    def until_ended(self, *ids: str) -> None:
        """Read until each of these jobs has said EXIT."""
        left = set(ids)
        while left:
            id, _, text = self.read().decode(errors="replace").partition(" ")
            if text.startswith("EXIT:"):
                left.discard(id)

    def of(self, id: str) -> list[bytes]:
        head = f"{id} ".encode()
        return [line.removeprefix(head) for line in self.lines if line.startswith(head)]

    def close(self) -> None:
        with self._stdout:
            self.process.signal(signal.SIGINT)
            assert self.process.wait() == 130


@contextmanager
def following(it: Site, *arguments: str) -> Iterator[Follower]:
    follower = Follower(it, *arguments)
    try:
        yield follower
    finally:
        follower.close()


def shell(script: str, *words: str) -> tuple[str, ...]:
    return ("--", "sh", "-c", script, *words)


# One job


def test_lines_of_both_streams_in_one_and_the_exit_code_last(shared: Site) -> None:
    id = shared.submit(*shell("echo one; echo two >&2; sleep 0.1; printf three; exit 3"))
    expected = b"one\nERROR::two\nthree\nEXIT:3\n"
    followed = shared.run("logs", id, "--follow", *PREFIX)
    assert (followed.returncode, followed.stderr) == (0, b"")
    stored = shared.run("logs", id, *PREFIX)
    for done in (followed, stored):
        assert sorted(done.stdout.splitlines()[:2]) == sorted(expected.splitlines()[:2])
        assert done.stdout.splitlines()[2:] == expected.splitlines()[2:]
    apart = shared.run("logs", id, "--lines")
    assert (apart.returncode, apart.stdout, apart.stderr) == (0, b"one\nthree\n", b"two\n")


def test_a_job_that_runs_has_no_exit_line_until_it_has_ended(quiet: Site, tmp_path: Path) -> None:
    quiet.start_worker()
    go = tmp_path / "go"
    id = quiet.submit(
        *shell('echo one; printf two; until [ -e "$0" ]; do sleep 0.05; done', str(go))
    )
    follower = quiet.start("logs", id, "--follow", *PREFIX, stdout=subprocess.PIPE)
    assert follower.popen.stdout
    with follower.popen.stdout as lines:
        assert lines.readline() == b"one\n"
        quiet.wait_for(id, "output")
        assert quiet.run("logs", id, *PREFIX).stdout in {b"one\n", b"one\ntwo\n"}
        go.touch()
        assert lines.read() == b"two\nEXIT:0\n"
    assert follower.wait() == 0


def test_followed_output_is_byte_for_byte(shared: Site) -> None:
    script = 'printf "a\\r\\nb\\r\\377\\000"; sleep 0.1; printf "c\\n\\nd"'
    id = shared.submit(*shell(script))
    expected = b"a\r\nb\r\xff\x00c\n\nd"
    assert shared.run("logs", id, "--follow").stdout == expected
    assert shared.run("logs", id).stdout == expected
    assert shared.run("logs", id, "--lines").stdout == b"a\nb\n\xff\x00c\n\nd\n"


def test_a_line_without_an_end_is_printed_in_pieces(shared: Site) -> None:
    id = shared.submit(*shell(f"head -c {5 * MIB // 2} /dev/zero; echo"))
    done = shared.run("logs", id, "--follow", "--lines")
    assert [len(line) for line in done.stdout.split(b"\n")] == [
        *(LINE_BYTES_MAX, LINE_BYTES_MAX, LINE_BYTES_MAX // 2, 0)
    ]


def test_a_cut_is_told_on_standard_error(shared: Site) -> None:
    id = shared.submit("--output-bytes-max", "10", *shell("echo 123456789; echo more; echo more"))
    for options in ((), ("--lines",), PREFIX, ("--follow",)):
        done = shared.run("logs", id, *options)
        assert done.returncode == 0
        assert done.stdout.startswith(b"123456789\n")
        assert b"10 B of output were cut here" in done.stderr


@holds("logs/lines-are-whole")
def test_what_a_dead_attempt_left_unended_is_a_line(own: Site) -> None:
    lost = own.start_worker("--visibility-timeout", "1")
    once = "printf attempt$AIRUNNER_ATTEMPT; [ $AIRUNNER_ATTEMPT = 2 ] || exec sleep 600"
    id = own.submit(*shell(once))
    own.wait_for(id, "output")
    lost.signal(signal.SIGKILL)
    lost.wait()
    own.start_worker("--visibility-timeout", "1")
    done = own.run("logs", id, "--follow", *PREFIX)
    assert done.stdout == b"attempt1\nattempt2\nEXIT:0\n"
    assert b"back in line" not in done.stdout


def test_one_step_alone_is_printed_by_its_number_or_its_name(shared: Site, tmp_path: Path) -> None:
    config = tmp_path / "job.json"
    steps = [{"name": "build", "run": "echo a; printf b"}, {"run": "echo c; echo d >&2"}]
    config.write_text(json.dumps({"steps": steps}))
    id = shared.submit("--config", str(config))
    assert shared.run("logs", id, "--follow", *PREFIX).stdout.splitlines()[:2] == [b"a", b"b"]
    assert shared.run("logs", id, "--step", "build").stdout == b"a\nb"
    assert shared.run("logs", id, "--step", "1", "--follow").stdout == b"a\nb"
    assert shared.run("logs", id, "--step", "2", "--lines").stdout == b"c\n"
    for step in ("deploy", "0", "3"):
        missing = shared.run("logs", id, "--step", step)
        assert (missing.returncode, missing.stdout) == (125, b"")
        assert f"has started no step {step}" in missing.stderr.decode()


def test_events_are_printed_for_programs(shared: Site) -> None:
    id = shared.submit(*shell("echo one"))
    followed = shared.run("logs", id, "--follow", "--json", check=True).stdout
    assert followed == shared.run("logs", id, "--json", check=True).stdout
    events = [json.loads(line) for line in followed.splitlines()]
    assert [each["sequence"] for each in events] == list(range(1, len(events) + 1))
    assert events[-1]["type"] == "finished"


# All jobs


def test_lines_of_all_jobs_are_each_under_their_job(shared: Site) -> None:
    with following(shared, *PREFIX) as follower:
        ids = [shared.submit(*shell(f"echo out{n}; echo err >&2; exit {n}")) for n in range(3)]
        follower.until_ended(*ids)
    for number, id in enumerate(ids):
        lines = follower.of(id)
        assert sorted(lines[:2]) == [b"ERROR::err", b"out%d" % number]
        assert lines[2:] == [b"EXIT:%d" % number]


def test_without_a_prefix_lines_of_standard_error_go_there(shared: Site) -> None:
    with following(shared) as follower:
        id = shared.submit(*shell("echo err >&2; sleep 0.1; echo out"))
        assert follower.read() == f"{id} out".encode()
        follower.process.heard(f"{id} err")


def test_only_jobs_of_a_queue_are_followed_if_one_is_named(quiet: Site) -> None:
    quiet.start_worker("--queue", "day", "--queue", "night")
    with following(quiet, "--queue", "night", *PREFIX) as follower:
        ids = [quiet.submit("--queue", name, *shell("echo x")) for name in ("day", "night")]
        quiet.run("monitor", ids[0])
        follower.until_ended(ids[1])
    assert (follower.of(ids[0]), follower.of(ids[1])) == ([], [b"x", b"EXIT:0"])


def test_events_of_all_jobs_are_printed_for_programs(shared: Site) -> None:
    with following(shared, "--json") as follower:
        id = shared.submit(*shell("echo one"))
        events = [json.loads(follower.read())]
        while events[-1]["type"] != "finished":
            events.append(json.loads(follower.read()))
    assert {each["job"] for each in events} == {id}
    assert [each["sequence"] for each in events] == list(range(1, len(events) + 1))


COUNTING = (
    'n=0; while [ $n -lt $1 ]; do n=$((n+1)); echo "line $n"; echo "$n" >&2; sleep 0.01; done'
)


@holds("logs/follower-misses-nothing")
@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGKILL], ids=["stopped", "killed"])
def test_every_line_of_jobs_in_parallel_comes_once_over_a_restart(
    own: Site, end: signal.Signals
) -> None:
    own.start_worker("--slots", "3", "--visibility-timeout", "30")
    with following(own, *PREFIX) as follower:
        ids = [own.submit(*shell(COUNTING, "sh", "300")) for _ in range(3)]
        for _ in range(100):
            follower.read()
        for _ in range(2):
            assert own.server
            own.server.signal(end)
            own.server.wait()
            own.start_server()
            for _ in range(100):
                follower.read()
        follower.until_ended(*ids)
    numbers = range(1, 301)
    for id in ids:
        lines = follower.of(id)
        assert [line for line in lines if line.startswith(b"line")] == [
            b"line %d" % number for number in numbers
        ]
        assert [line for line in lines if line.startswith(b"ERROR")] == [
            b"ERROR::%d" % number for number in numbers
        ]
        assert lines[-1] == b"EXIT:0"
    assert len(follower.lines) == 3 * (300 + 300 + 1)


def test_a_follower_that_does_not_read_holds_nobody_up_and_misses_nothing(quiet: Site) -> None:
    quiet.start_worker("--slots", "4")
    with following(quiet, *PREFIX) as slow:
        ids = [quiet.submit(*shell("yes 0123456789abcde | head -n 400000")) for _ in range(3)]
        for id in ids:
            assert quiet.run("monitor", id, "--raw").stdout == b"0123456789abcde\n" * 400_000
        slow.until_ended(*ids)
    assert Counter(slow.lines) == {
        **{f"{id} 0123456789abcde".encode(): 400_000 for id in ids},
        **{f"{id} EXIT:0".encode(): 1 for id in ids},
    }


@holds("logs/follower-misses-nothing")
def test_the_lines_of_a_thousand_jobs_are_all_there(quiet: Site) -> None:
    quiet.start_worker("--slots", "8")
    with following(quiet, *PREFIX) as follower:
        ids = asyncio.run(enqueue(quiet, ENQUEUE_JOBS_MAX))
        follower.until_ended(*ids)
    expected = Counter(line for id in ids for line in (f"{id} {id}", f"{id} EXIT:0"))
    assert Counter(line.decode() for line in follower.lines) == expected


async def enqueue(it: Site, count: int) -> list[JobId]:
    """Jobs that say who they are."""
    spec = JobSpec(command="sh", args=("-c", "echo $AIRUNNER_JOB_ID"))
    endpoint = Endpoint(server=it.address, ca_cert=it.certs / "ca.pem")
    async with JobsClient(endpoint) as jobs:
        answers = await jobs.enqueue_many([(spec, RequestId(""))] * count)
    ids = [answer.id for answer in answers if not isinstance(answer, Exception)]
    assert len(ids) == count
    return ids


def test_a_server_that_forgot_all_is_followed_from_then_on_and_that_is_said(
    forgetful: Site,
) -> None:
    forgetful.start_worker()
    with following(forgetful, *PREFIX) as follower:
        before = forgetful.submit(*shell("echo before"))
        follower.until_ended(before)
        assert forgetful.server
        forgetful.server.signal(signal.SIGKILL)
        forgetful.server.wait()
        forgetful.start_server()
        follower.process.heard("it has lost it, or is another one; going on from now")
        follower.process.heard(FROM_NOW_ON, times=2)
        after = forgetful.submit(*shell("echo after"))
        follower.until_ended(after)
    assert (follower.of(before), follower.of(after)) == (
        [b"before", b"EXIT:0"],
        [b"after", b"EXIT:0"],
    )
