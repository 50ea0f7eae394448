"""Jobs that attack their worker and its guards, through real processes, beside a job that behaves."""

import os
import signal
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from airunner.worker.supervisor.trees.subreaper_tree import children
from tests import zoo
from tests.hostile.dose import DOSE
from tests.promises import holds, promise
from tests.support.installation import PATIENCE, Site, site
from tests.worker.supervisor.supervisors import needs

# The shim is the parent of a command, the supervisor that of the shim, the worker that of both.
GUARDS: Final = """
parent() { while read -r name value; do [ "$name" != PPid: ] || echo "$value"; done </proc/$1/status; }
[ "$AIRUNNER_ATTEMPT" = 1 ] || { echo again; exit 0; }
setsid sh -c 'trap "" TERM HUP; while :; do sleep 1; done' &
shim=$PPID; supervisor=$(parent $shim); worker=$(parent $supervisor); echo ready
"""
FOR_EVER: Final = "\nwhile :; do sleep 1; done"
LONG: Final = DOSE > 1
BESIDE: Final = "for n in 1 2 3 4 5; do echo $n; sleep 0.2; done"
BESIDE_OUTPUT: Final = b"1\n2\n3\n4\n5\n"

CLOSES_ALL: Final = """
import os, time
os.write(1, b'ready\\n')
os.closerange(0, 4096)
time.sleep(0.2)
os._exit(3)
"""
MANY_DAEMONS: Final = """
import os, time
for _ in range(40):
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            os.closerange(0, 3)
            time.sleep(1000)
        os._exit(0)
    os.wait()
os.write(1, b'ready\\n')
"""
NO_NEWLINE: Final = "echo ready; head -c 20000000 /dev/zero | tr '\\0' x"
CHAIN: Final = """
import os, time
os.write(1, b'ready\\n')
for _ in range(300):  # each child outlives its parent for a moment
    if os.fork():
        os._exit(0)
    os.setsid()
time.sleep(1000)
"""
SIGNALS_ALL: Final = """
import os, signal
os.write(1, b'ready\\n')
faults = {4, 5, 6, 7, 8, 11, 31}
for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP} - faults:
    os.kill(os.getppid(), number)
"""

# Name: command, the exit code of its job, further flags. Each writes "ready".
ATTACKS: Final[dict[str, tuple[tuple[str, ...], int, tuple[str, ...]]]] = {
    "closes all descriptors": (zoo.python(CLOSES_ALL), 3, ()),
    "many daemons": (zoo.python(MANY_DAEMONS), 0, ()),
    "daemons in a chain": (zoo.python(CHAIN), 0, ()),
    "a double fork": (zoo.python(zoo.DOUBLE_FORK), 0, ()),
    "a daemon that ignores SIGTERM": (zoo.python(zoo.STUBBORN_DAEMON), 0, ()),
    "20 MB without a newline": (zoo.shell(NO_NEWLINE), 0, ("--output-bytes-max", "1MiB")),
    "20 MB in a terminal": (zoo.shell(NO_NEWLINE), 0, ("--pty", "--output-bytes-max", "1MiB")),
    "signals to its shim": (zoo.python(SIGNALS_ALL), 0, ()),
    "a fork bomb": (zoo.python(zoo.FORK_BOMB), 124, ("--timeout", "3s", "--grace", "1s")),
    "kills itself": (zoo.shell("echo ready; kill -9 $$"), 137, ()),
    "kills its group": (zoo.shell("echo ready; kill -9 0"), 137, ()),
    "removes its folders": (
        zoo.shell('echo ready; rm -rf "$PWD" "$HOME" "$TMPDIR" 2>/dev/null; exit 7'),
        7,
        (),
    ),
    "makes its folders unreadable": (
        zoo.shell('echo ready; mkdir -p a/b; chmod 0 a/b a . "$HOME" "$TMPDIR"; exit 7'),
        7,
        ("--artifact", "**"),
    ),
}


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with site(tmp_path_factory.mktemp("site")) as it:
        (it.folder / "jobs").mkdir()
        it.start_worker("--slots", "40", "--jobs-dir", "jobs")
        yield it


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Site]:
    with site(tmp_path / "site") as it:
        yield it


def assert_well_behaved(it: Site, id: str) -> None:
    """The job that ran beside an attack has ended well, in its first attempt."""
    assert it.run("monitor", id).returncode == 0
    job = it.show(id)
    assert (job["state"], job["attempt"]) == ("completed", 1)
    assert it.run("logs", id, check=True).stdout == BESIDE_OUTPUT


@promise(
    "processes/hostile-job-harms-no-other",
    "A job that forks, hides, floods its output, closes its descriptors or ruins its folders ends "
    "as its own command does, leaves no process, and changes nothing for the jobs beside it.",
)
def test_attacks_end_as_their_own_commands_do_and_a_job_beside_them_runs_on(shared: Site) -> None:
    for _ in range(DOSE):
        tag = uuid.uuid4().hex
        beside = shared.submit("--", *zoo.shell(BESIDE))
        jobs = {
            name: shared.submit("--env", f"ZOO={tag}", *flags, "--", *command)
            for name, (command, _, flags) in ATTACKS.items()
        }
        ends = {name: shared.run("monitor", "--raw", id) for name, id in jobs.items()}
        codes = {name: end.returncode for name, end in ends.items()}
        assert codes == {name: code for name, (_, code, _) in ATTACKS.items()}
        assert [name for name, end in ends.items() if not end.stdout.startswith(b"ready")] == []
        assert_well_behaved(shared, beside)
        assert zoo.tagged(tag) == []


KILLS_SUPERVISOR: Final = "kill -9 $supervisor"
KILLS_BOTH: Final = "kill -9 $supervisor $shim"
STOPS_SUPERVISOR_KILLS_SHIM: Final = "kill -STOP $supervisor; kill -9 $shim"
STOPS_BOTH: Final = "kill -STOP $shim $supervisor"
KILLS_SHIM: Final = "kill -9 $shim"
STOPS_SHIM: Final = "kill -STOP $shim"


@holds("processes/none-outlives-worker-or-supervisor")
@pytest.mark.parametrize("attack", [KILLS_BOTH, KILLS_SUPERVISOR][: 2 if LONG else 1])
def test_a_job_that_kills_its_supervisor_is_lost_with_its_tree_and_its_worker_takes_the_next(
    own: Site, attack: str
) -> None:
    worker = own.start_worker("--visibility-timeout", "600")
    tag = uuid.uuid4().hex
    id = own.submit("--env", f"ZOO={tag}", "--", *zoo.shell(GUARDS + attack + FOR_EVER))
    worker.said("keeper_lost")
    worker.said("starting_again")
    assert own.run("monitor", id).returncode == 0
    types = [(event["type"], event["attempt"]) for event in own.events(id)]
    assert ("returned", 1) in types
    assert types[-1] == ("finished", 2)
    assert zoo.tagged(tag) == []
    assert own.run("submit", "--", "echo", "next").stdout == b"next\n"
    assert worker.stop() == 0


@holds("processes/none-outlives-worker-or-supervisor")
@pytest.mark.parametrize(
    "attack", [STOPS_SUPERVISOR_KILLS_SHIM, STOPS_BOTH, STOPS_SHIM, KILLS_SHIM][: 4 if LONG else 1]
)
def test_a_job_that_stops_its_guards_ends_by_a_cancel_and_its_worker_takes_the_next(
    own: Site, attack: str
) -> None:
    worker = own.start_worker("--visibility-timeout", "600", "--slots", "2")
    tag = uuid.uuid4().hex
    os.mkfifo(pipe := own.folder / "begun")
    beside = own.submit("--", *zoo.shell(BESIDE))
    flags = ("--grace", "1s", "--attempts-max", "1", "--env", f"ZOO={tag}")
    script = f"{GUARDS} echo begun >{pipe}; {attack}; {FOR_EVER}"
    id = own.submit(*flags, "--", *zoo.shell(script))
    assert pipe.read_text() == "begun\n"  # the job's output may never be read
    own.run("cancel", id)  # refused if the job is lost already
    assert own.run("monitor", id).returncode in (125, 130)  # lost, or cancelled
    assert zoo.tagged(tag) == []
    assert_well_behaved(own, beside)
    assert own.run("submit", "--", "echo", "next").stdout == b"next\n"
    assert worker.stop() == 0


DIGITS: Final = "9" * 4299
KEY: Final = "\ue000" * 300_000
POISON: Final[dict[str, tuple[str, int]]] = {  # job.json, and the exit code of the job
    "digits": (f'{{"steps": [{{"run": "true", "timeout": "{DIGITS}d"}}]}}', 125),
    "a number of digits": (f'{{"steps": [{{"run": "true", "timeout": {DIGITS}}}]}}', 125),
    "half a surrogate": ('{"steps": [{"run": "true", "\\ud800": 1}]}', 125),
    "half a surrogate to run": ('{"steps": ["echo \\ud800"]}', 125),
    "half a surrogate in a name": (
        '{"steps": [{"run": "true", "environment": {"\\ud800": 1}}]}',
        125,
    ),
    "a long key": (f'{{"steps": ["true"], "{KEY}": 1}}', 0),
    "a long name": (f'{{"steps": [{{"run": "true", "environment": {{"{KEY} ": "x"}}}}]}}', 125),
    "deep": ("[" * 50_000, 125),
    "deep steps": ('{"steps": [{"run": ' * 5_000, 125),
    "a long folder": (f'{{"steps": [{{"run": "true", "working_directory": "{"a" * 256}"}}]}}', 125),
    "NUL": ('{"steps": ["echo \\u0000"]}', 125),
    "a slow pattern": (
        '{"steps": ["touch ' + "a" * 200 + '"], "artifacts": ["' + "*a" * 30 + '*b"]}',
        0,
    ),
    "no steps": ('{"steps": {}}', 125),
    "a control character": ('{"steps": [{"run": "true", "name": "\\u009b31m"}]}', 125),
}


@holds("processes/hostile-job-harms-no-other", "processes/an-attempt-s-defect-is-its-own")
def test_a_job_json_of_any_shape_ends_its_own_job_in_a_sentence(shared: Site) -> None:
    for number, (text, _) in enumerate(POISON.values()):
        (folder := shared.folder / "jobs" / f"poison-{number}").mkdir()
        (folder / "job.json").write_text(text)
    beside = shared.submit("--", *zoo.shell(BESIDE))
    ids = [shared.submit("--source", f"poison-{number}") for number in range(len(POISON))]
    ends = {name: shared.run("monitor", id) for name, id in zip(POISON, ids, strict=True)}
    codes = {name: end.returncode for name, end in ends.items()}
    assert codes == {name: code for name, (_, code) in POISON.items()}
    assert [name for name, end in ends.items() if len(end.stderr) > 16_384] == []
    listed = shared.run("list", "--json", check=True).stdout
    assert all(id.encode() in listed for id in ids)
    assert b"defect of airunner" not in listed
    said = {name: end.stderr.decode() for name, end in ends.items() if end.returncode}
    assert [name for name, text in said.items() if "job.json" not in text] == []
    assert_well_behaved(shared, beside)


@holds("processes/none-outlives-worker-or-supervisor")
@pytest.mark.parametrize("victims", ["$worker $supervisor $shim", "$worker"][: 2 if LONG else 1])
def test_a_job_that_kills_its_worker_is_dead_before_the_next_worker_runs_it_again(
    own: Site, victims: str
) -> None:
    needs("cgroup")  # without one, nobody finds the processes of three that die at once
    options = ("--visibility-timeout", "600")
    worker = own.start_worker(*options)
    tag = uuid.uuid4().hex
    attack = f"{GUARDS} kill -9 {victims}; {FOR_EVER}"
    id = own.submit("--env", f"ZOO={tag}", "--", *zoo.shell(attack))
    assert worker.popen.wait(PATIENCE) == -signal.SIGKILL
    next_worker = own.start_worker(*options)
    assert own.run("monitor", id).returncode == 0
    assert own.run("logs", id, check=True).stdout.endswith(b"again\n")
    assert zoo.tagged(tag) == []
    assert next_worker.stop() == 0
    assert own.show(id)["attempt"] == 2


@holds("processes/none-outlives-worker-or-supervisor")
def test_an_idle_worker_whose_supervisor_is_killed_has_another_before_its_next_job(
    own: Site,
) -> None:
    worker = own.start_worker()
    files = own.run("submit", "--", "sh", "-c", "ulimit -Sn").stdout.strip()
    for _ in range(2):
        (supervisor,) = children(worker.pid)
        os.kill(supervisor, signal.SIGKILL)
        asked = own.run("submit", "--", "sh", "-c", "echo next; ulimit -Sn")
        assert asked.stdout.split() == [b"next", files]
    worker.heard('"starting_again"', times=2)
    worker.said("starting_again", restarts=2)
    assert worker.stop() == 0
