"""What a worker process promises to whoever starts it, beyond running jobs."""

import os
import signal
import subprocess
from pathlib import Path

import pytest

from tests.support.installation import AIRUNNER, Process, Site


def begin(it: Site, *arguments: str) -> Process:
    """A worker that need not connect."""
    work = str(it.folder / "work")
    return it.start("worker", "--log-format", "json", "--work-dir", work, *arguments)


@pytest.mark.parametrize(
    ("command", "code"),
    [
        (["true"], 0),
        (["sh", "-c", "exit 7"], 7),
        (["sh", "-c", "kill -TERM $$"], 143),
        (["no-such-command"], 127),
        (["/etc"], 126),
        (["--timeout", "1", "sleep", "600"], 124),
        (["--working-directory", "nowhere", "true"], 125),
    ],
)
def test_once_ends_with_the_exit_code_of_its_job(
    shared: Site, command: list[str], code: int
) -> None:
    options, words = (command[:2], command[2:]) if command[0][0] == "-" else ([], command)
    queue = f"once-{code}"
    shared.submit("--queue", queue, *options, "--", *words)
    assert begin(shared, "--queue", queue, "--once").wait() == code


def test_once_takes_one_job_only(shared: Site) -> None:
    first, second = (shared.submit("--queue", "one", "--", "true") for _ in range(2))
    assert begin(shared, "--queue", "one", "--once", "--slots", "4").wait() == 0
    assert shared.show(first)["state"] == "completed"
    assert (shared.show(second)["state"], shared.show(second)["attempt"]) == ("scheduled", 0)


def test_worker_of_so_many_jobs_runs_these_and_ends_well(shared: Site) -> None:
    ids = [shared.submit("--queue", "few", "--", "false") for _ in range(4)]
    assert begin(shared, "--queue", "few", "--max-jobs", "3", "--slots", "2").wait() == 0
    jobs = [shared.show(id) for id in ids]
    assert [job["state"] for job in jobs] == ["failed"] * 3 + ["scheduled"]
    assert [job["attempt"] for job in jobs] == [1, 1, 1, 0]


def test_worker_with_fewer_jobs_than_it_may_run_leaves_when_idle(shared: Site) -> None:
    id = shared.submit("--queue", "fewer", "--", "true")
    assert begin(shared, "--queue", "fewer", "--max-jobs", "3", "--idle-exit", "0.5").wait() == 0
    assert shared.show(id)["state"] == "completed"


def test_idle_worker_leaves_and_one_without_a_server_says_so(shared: Site) -> None:
    assert begin(shared, "--queue", "idle", "--idle-exit", "0.5").wait() == 0
    lonely = begin(shared, "--server", "127.0.0.1:1", "--idle-exit", "0.5")
    assert lonely.wait() == 125
    assert lonely.journal[-1] == "airunner: no server answered for 0.5 s\n"


def test_worker_that_can_make_no_workspace_takes_no_job(shared: Site) -> None:
    (shared.folder / "a-file").touch()
    id = shared.submit("--queue", "unlucky", "--", "true")
    worker = begin(shared, "--queue", "unlucky", "--once", "--work-dir", str(Path("a-file")))
    assert worker.wait() == 125
    assert "cannot make workspaces in" in worker.journal[-1]
    assert shared.show(id)["attempt"] == 0


def test_worker_and_server_live_on_though_nobody_reads_their_log(own: Site) -> None:
    """As under `| head`, or when what collects the lines is restarted."""

    def deaf(*arguments: str) -> "subprocess.Popen[bytes]":
        process = subprocess.Popen(
            [*AIRUNNER, *arguments], env=own.environment, cwd=own.folder, stderr=subprocess.PIPE
        )
        assert process.stderr
        with process.stderr as lines:
            lines.readline()
        return process

    assert own.server
    own.server.stop()
    certificates = ["--tls-cert", "certs/server.pem", "--tls-key", "certs/server-key.pem"]
    server = deaf("server", "--listen", own.address, "--no-auth", *certificates)
    worker = deaf("worker", "--work-dir", "work")
    try:
        for _ in range(2):
            assert own.run("submit", "--", "echo", "heard").stdout == b"heard\n"
    finally:
        for process in (worker, server):
            process.send_signal(signal.SIGTERM)
        assert [process.wait(20) for process in (worker, server)] == [0, 0]


def test_jobs_get_the_variables_of_their_worker_and_none_that_it_has_itself(
    own: Site, tmp_path: Path
) -> None:
    def git(*words: str) -> str:
        who = ("-c", "user.name=ada", "-c", "user.email=ada@example.org")
        done = subprocess.run(
            ["git", *who, *words], cwd=tmp_path / "shop", capture_output=True, check=True, text=True
        )
        return done.stdout.strip()

    (tmp_path / "shop").mkdir()
    git("init", "--initial-branch", "trunk")
    git("commit", "--allow-empty", "--message", "one")
    worker = own.start_worker(
        *("--allow-local-repositories", "--env", "TOOLS=/opt", "--env", "LEVEL=worker"),
        *("--path", f"/opt/none:{os.environ['PATH']}"),
        environment={"SECRET": "hunter2", "AIRUNNER_TOKEN": "hunter3"},
    )
    show = 'env; echo "made=$(mktemp)"; echo "tmp=$(realpath "$TMPDIR")"; echo "top=$(realpath ..)"; git log'
    submitted = own.run(
        *("submit", "--pty", "--env", "LEVEL=job", str(tmp_path / "shop"), "--"),
        *("sh", "-c", show),
        seconds=30,
    )
    assert submitted.returncode == 0, submitted.stderr
    lines = submitted.stdout.decode().splitlines()
    found = dict(line.split("=", 1) for line in lines if "=" in line)
    commit = git("rev-parse", "HEAD")
    assert (found["AIRUNNER_COMMIT"], found["AIRUNNER_BRANCH"]) == (commit, "trunk")
    assert found["AIRUNNER_REPOSITORY"] == str(tmp_path / "shop")
    assert (found["CI"], found["TOOLS"], found["LEVEL"]) == ("true", "/opt", "job")
    assert found["PATH"].startswith("/opt/none:")
    assert found["USER"] == found["LOGNAME"]
    assert "hunter" not in submitted.stdout.decode()
    assert found["made"].startswith(f"{found['TMPDIR']}/")
    assert found["tmp"] == f"{found['top']}/tmp"
    assert worker.stop() == 0
    assert not Path(found["tmp"]).exists()
    assert not Path(found["TMPDIR"]).is_symlink()
