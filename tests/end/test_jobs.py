"""Jobs from submit to exit code, through a real server, a real worker and real git."""

import hashlib
import json
import subprocess
from functools import cache
from pathlib import Path

import pytest

from tests.promises import holds, promise
from tests.support.installation import Site


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("repository")

    def git(*words: str) -> None:
        identity = ["-c", "user.name=a", "-c", "user.email=a@example.invalid"]
        subprocess.run(["git", "-C", str(folder), *identity, *words], check=True)

    git("init", "-q", "-b", "main")
    (folder / "greeting.txt").write_text("hello from the repository\n")
    git("add", ".")
    git("commit", "-q", "-m", "Greet")
    return folder


def test_submit_runs_a_command_in_a_checkout_and_prints_what_it_prints(
    shared: Site, repository: Path
) -> None:
    done = shared.run("submit", str(repository), "--", "cat", "greeting.txt")
    assert (done.returncode, done.stdout) == (0, b"hello from the repository\n")


def test_submit_keeps_standard_output_and_standard_error_apart(shared: Site) -> None:
    done = shared.run("submit", "--", "sh", "-c", "echo out; echo err >&2; exit 3")
    assert (done.returncode, done.stdout) == (3, b"out\n")
    assert b"err\n" in done.stderr


@promise(
    "processes/exit-code-is-the-commands",
    "The exit code of `submit` is the exit code of the command. All other codes follow the table "
    "in the README.",
)
@pytest.mark.parametrize(
    ("arguments", "code", "reason"),
    [
        (["--", "true"], 0, "exited"),
        (["--", "sh", "-c", "exit 77"], 77, "exited"),
        (["--", "sh", "-c", "kill -KILL $$"], 137, "signaled"),
        (["--", "sh", "-c", "kill -SEGV $$"], 139, "signaled"),
        (["--", "no-such-command"], 127, "not_found"),
        (["--", "/etc/passwd"], 126, "not_executable"),
        (["--timeout", "1", "--", "sleep", "600"], 124, "timeout"),
        (["--working-directory", "nowhere", "--", "true"], 125, "setup_failed"),
        (["/no/such/repository", "--", "true"], 125, "setup_failed"),
    ],
)
def test_exit_code_of_submit_says_how_the_job_ended(
    shared: Site, arguments: list[str], code: int, reason: str
) -> None:
    key = " ".join(["exit", *arguments])
    done = shared.run("submit", "--request-id", key, *arguments)
    assert done.returncode == code, done.stderr
    job = shared.show(shared.submit("--request-id", key, *arguments))
    assert job["reason"] == reason
    assert job["state"] == ("completed" if code == 0 else "failed")


def test_failed_clone_says_what_git_said(shared: Site, repository: Path) -> None:
    done = shared.run("submit", "--branch", "no-such-branch", str(repository), "--", "true")
    assert done.returncode == 125
    assert b"no-such-branch" in done.stderr


@holds("processes/clean-environment")
def test_command_sees_a_clean_environment(shared: Site) -> None:
    done = shared.run("submit", "--env", "GREETING=hello", "--", "env")
    names = {line.split("=", 1)[0] for line in done.stdout.decode().splitlines()}
    assert "GREETING" in names
    assert names <= {
        *("PATH", "HOME", "LANG", "TERM", "PWD", "GREETING"),
        *("CI", "USER", "LOGNAME", "SHELL", "TMPDIR", "PAGER", "GIT_PAGER"),
        *("AIRUNNER_JOB_ID", "AIRUNNER_ATTEMPT", "AIRUNNER_QUEUE"),
    }


def test_terminal_mode_gives_a_real_terminal(shared: Site) -> None:
    done = shared.run("submit", "--pty", "--", "sh", "-c", "test -t 0 && stty size && tty")
    assert done.returncode == 0
    assert done.stdout.startswith(b"24 80\r\n/dev/pts/")


@cache
def digest_of_fifty_megabytes() -> str:
    expected = hashlib.sha256()
    for number in range(1_562_500):
        expected.update(hashlib.sha256(b"%d" % number).digest())
    return expected.hexdigest()


@holds("logs/output-is-byte-for-byte")
@pytest.mark.parametrize("mode", [[], ["--pty"]], ids=["pipe", "pty"])
def test_fifty_megabytes_arrive_byte_for_byte(shared: Site, mode: list[str]) -> None:
    make = "import hashlib,sys\nfor n in range(1_562_500): sys.stdout.buffer.write(hashlib.sha256(b'%d' % n).digest())"
    raw = 'if [ -t 1 ]; then stty raw; fi; exec python3 -c "$0"'
    id = shared.submit(*mode, "--", "sh", "-c", raw, make)
    live = hashlib.sha256(shared.run("monitor", id, "--raw", seconds=120).stdout)
    expected = digest_of_fifty_megabytes()
    assert live.hexdigest() == expected
    stored = hashlib.sha256(shared.run("logs", id, check=True).stdout)
    assert stored.hexdigest() == expected


@holds("jobs/request-id-is-one-job")
def test_same_request_id_is_the_same_job_and_other_parameters_are_refused(shared: Site) -> None:
    first = shared.submit("--request-id", "once", "--", "true")
    assert shared.submit("--request-id", "once", "--", "true") == first
    other = shared.run("submit", "--detach", "--request-id", "once", "--", "false")
    assert other.returncode == 125
    assert b"command" in other.stderr


def test_retry_runs_an_old_job_again_as_a_new_one(shared: Site) -> None:
    old = shared.submit("--", "sh", "-c", "exit 4")
    assert shared.run("monitor", old).returncode == 4
    new = shared.run("retry", old, check=True).stdout.decode().split()[-1]
    assert new != old
    assert shared.run("monitor", new).returncode == 4


def test_list_tells_of_every_job(shared: Site) -> None:
    ids = [shared.submit("--queue", "listed", "--", "true") for _ in range(3)]
    done = shared.run("list", "--queue", "listed", "--json", check=True)
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert [row["id"] for row in rows] == ids[::-1]
    assert {"id", "state", "queue", "attempt", "exit_code", "reason"} <= rows[0].keys()
    assert {row["state"] for row in rows} == {"scheduled"}


@holds("jobs/wait-has-a-reason")
def test_waiting_job_says_that_no_worker_polls_its_queue(shared: Site) -> None:
    id = shared.submit("--queue", "gpu", "--", "true")
    assert b"no worker polls queue gpu" in shared.run("show", id, check=True).stdout


@holds("logs/sequences-have-no-gap")
def test_monitor_events_have_every_sequence_once(shared: Site) -> None:
    id = shared.submit("--", "sh", "-c", "for n in 1 2 3 4 5; do echo $n; done")
    events = list(shared.events(id))
    sequences = [event["sequence"] for event in events]
    assert sequences == sorted(set(map(int, map(str, sequences))))
    assert sequences[0] == 1
    assert [event["attempt"] for event in events] == [0] + [1] * (len(events) - 1)
