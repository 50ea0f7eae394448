"""`airunner run` and `airunner worker --dry-run`: a job on this machine, without a server."""

import json
import os
import signal
import subprocess
from pathlib import Path

import pytest

from tests.cli.conftest import AIRUNNER, Shell
from tests.cli.terminal import Terminal
from tests.promises import holds, promise

LONELY = {"AIRUNNER_SERVER": "127.0.0.1:1", "AIRUNNER_TOKEN_FILE": "/no/such/token"}
STUBBORN = "trap '' TERM INT; echo ready; while :; do sleep 0.1; done"


def write(shell: Shell, name: str = "job.json", /, **job: object) -> str:
    (shell.home / name).write_text(json.dumps(job))
    return name


def result(folder: Path) -> dict[str, object]:
    found: dict[str, object] = json.loads((folder / "result.json").read_text())
    return found


def workspaces(shell: Shell) -> list[str]:
    return [path.name for path in (shell.home / ".cache" / "airunner" / "work").iterdir()]


@holds("processes/run-equals-worker")
@pytest.mark.parametrize("words", [("run",), ("worker", "--dry-run")], ids=["run", "dry-run"])
def test_a_job_runs_here_with_its_output_its_exit_code_and_its_results(
    shell: Shell, words: tuple[str, ...]
) -> None:
    (shell.home / "job.yaml").write_text("script: |\n  echo out; echo err >&2; exit 3\n")
    done = shell.run(*words, "job.yaml", environment=LONELY)
    assert (done.returncode, done.stdout) == (3, "out\n")
    assert done.stderr.splitlines() == ["err", "airunner: results are in results"]
    assert (shell.home / "results" / "step_0.log").read_text() == "out\nerr\n"
    assert result(shell.home / "results")["status"] == "failed"
    assert workspaces(shell) == []


@pytest.mark.parametrize(
    ("job", "code"),
    [
        ({"command": "true"}, 0),
        ({"command": "sh", "args": ["-c", "kill -KILL $$"]}, 137),
        ({"command": "no-such-command"}, 127),
        ({"command": "/etc/passwd"}, 126),
        ({"command": "sleep", "args": ["600"], "timeout": "1s"}, 124),
        ({"script": "true", "workingDirectory": "nowhere"}, 125),
        ({"source": "nowhere"}, 125),
    ],
)
def test_exit_codes_are_those_of_submit(shell: Shell, job: dict[str, object], code: int) -> None:
    assert shell.run("run", write(shell, **job)).returncode == code


def test_a_folder_with_a_manifest_is_a_job(shell: Shell) -> None:
    source = shell.home / "jobs" / "login"
    source.mkdir(parents=True)
    (source / "job.json").write_text('{"steps": ["cat job.json >copy"]}')
    done = shell.run("run", "jobs/login")
    assert done.returncode == 0, done.stderr
    assert os.listdir(source) == ["job.json"]
    copy = (shell.home / "results" / "copy").read_text()
    assert copy == (source / "job.json").read_text()


def test_a_source_is_below_the_folder_of_its_job_file_or_below_jobs_dir(shell: Shell) -> None:
    for root in ("here", "there"):
        (shell.home / root / "login").mkdir(parents=True)
        (shell.home / root / "login" / "name").write_text(root)
    job = write(shell, "here/job.json", source="login", command="cat", args=["name"])
    assert shell.run("run", job).stdout == "here"
    assert shell.run("run", job, "--jobs-dir", "there").stdout == "there"


def test_a_repository_may_be_a_folder_of_this_machine(shell: Shell) -> None:
    repository = shell.home / "shop"
    repository.mkdir()
    for words in (
        ("init", "-q", "-b", "main"),
        (
            "-c",
            "user.name=a",
            "-c",
            "user.email=a@b",
            "commit",
            "-q",
            "--allow-empty",
            "-m",
            "Open",
        ),
    ):
        subprocess.run(["git", "-C", str(repository), *words], check=True)
    log = ["log", "--format=%s"]
    done = shell.run("run", write(shell, repository="shop", command="git", args=log))
    assert (done.returncode, done.stdout) == (0, "Open\n")


@holds("processes/run-replaces-only-its-own")
def test_results_go_where_they_are_wanted_in_place_of_the_last(shell: Shell) -> None:
    for word in ("one", "two"):
        job = write(shell, script=f"touch {word}", artifacts=["one", "two"])
        assert shell.run("run", job, "--results", "out/of/it").returncode == 0
        names = set(os.listdir(shell.home / "out" / "of" / "it"))
        assert names == {"result.json", "step_0.log", word}
    assert os.listdir(shell.home / "out" / "of") == ["it"]


def test_what_became_of_an_artifact_is_told_once(shell: Shell) -> None:
    job = write(shell, script="touch result.json", artifacts=["result.json"])
    done = shell.run("run", job)
    assert done.returncode == 125
    assert done.stderr.count("artifact 'result.json' cannot be stored") == 1
    assert "the job succeeded, but not all of its artifacts could be stored\n" in done.stderr


def test_a_workspace_that_is_kept_is_told(shell: Shell) -> None:
    done = shell.run("run", write(shell, script="echo here >made"), "--keep-workspace")
    kept = Path(done.stderr.splitlines()[-1].removeprefix("airunner: the workspace is kept: "))
    assert (kept / "checkout" / "made").read_text() == "here\n"


@promise(
    "processes/run-replaces-only-its-own",
    "`airunner run` replaces no folder but the results of an earlier run.",
)
@pytest.mark.parametrize("where", ["results", "."])
def test_a_folder_that_is_not_of_a_run_is_never_replaced(shell: Shell, where: str) -> None:
    (shell.home / "results").mkdir()
    (shell.home / "results" / "thesis").write_text("years of work")
    done = shell.run("run", write(shell, script="true"), "--results", where)
    assert done.returncode == 125
    assert "name another folder" in done.stderr
    assert os.listdir(shell.home / "results") == ["thesis"]


@holds("processes/run-replaces-only-its-own")
def test_a_link_in_the_place_of_results_is_never_replaced(shell: Shell) -> None:
    (shell.home / "disk").mkdir()
    (shell.home / "disk" / "step_0.log").write_text("of an earlier run")
    (shell.home / "results").symlink_to("disk")
    done = shell.run("run", write(shell, script="true"))
    assert done.returncode == 125
    assert "results would be replaced, and is a link: move it" in done.stderr
    assert (shell.home / "results").is_symlink()


def test_results_are_whole_after_a_run_that_was_killed(shell: Shell) -> None:
    job = write(shell, steps=["echo ready; sleep 600"])
    killed = shell.start("run", job)
    assert killed.stdout
    assert killed.stdout.readline() == b"ready\n"
    killed.kill()
    killed.wait()
    assert shell.run("run", write(shell, script="touch made", artifacts=["made"])).returncode == 0
    assert set(os.listdir(shell.home / "results")) == {"result.json", "step_0.log", "made"}
    assert workspaces(shell) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_cancels_the_job_which_has_its_grace(shell: Shell, number: int) -> None:
    job = write(shell, script="trap 'echo bye; exit 1' TERM; echo ready; sleep 600 & wait")
    ours = signal.signal(signal.SIGHUP, signal.SIG_DFL)  # a child inherits an ignored signal
    try:
        running = shell.start("run", job)
    finally:
        signal.signal(signal.SIGHUP, ours)
    assert running.stdout
    assert running.stdout.readline() == b"ready\n"
    running.send_signal(number)
    assert running.wait() == 130
    assert running.stdout.read() == b"bye\n"
    assert result(shell.home / "results")["status"] == "cancelled"


def test_a_run_under_nohup_goes_on_when_its_terminal_is_gone(shell: Shell) -> None:
    gate = shell.home / "gate"
    job = write(shell, script=f"mkfifo {gate}; echo ready; read word <{gate}; echo $word")
    with subprocess.Popen(
        ["nohup", AIRUNNER, "run", job],
        env=shell.environment,
        cwd=shell.home,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
    ) as running:
        assert running.stdout
        assert running.stdout.readline() == b"ready\n"
        running.send_signal(signal.SIGHUP)
        gate.write_text("on\n")
        assert running.stdout.read() == b"on\n"
    assert running.returncode == 0


@holds("processes/run-equals-worker")
def test_at_a_terminal_a_second_interrupt_kills(shell: Shell) -> None:
    job = write(shell, script=STUBBORN, gracePeriod="10m")
    terminal = Terminal(shell, "run", job)
    terminal.until("ready\r\n")
    terminal.send("\x03")
    terminal.until("a second signal kills it")
    terminal.send("\x03")
    assert terminal.wait() == 130
    assert "the job was cancelled" in terminal.text
    assert workspaces(shell) == []


def test_a_reader_that_goes_away_ends_no_job(shell: Shell) -> None:
    job = write(shell, script="for n in $(seq 20000); do echo $n; done; exit 7")
    done = shell.run_in_sh('{ "$@"; echo $? >code; } | head -n 1', "run", job)
    assert done.stdout == "1\n"
    assert (shell.home / "code").read_text() == "7\n"
    assert (shell.home / "results" / "step_0.log").read_text().endswith("20000\n")


@promise(
    "sources/folders-lie-apart",
    "Sources, workspaces and spools lie in separate folders. A worker whose sources could contain "
    "spools, which hold the tokens of other jobs, does not start.",
)
@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["run"], "Missing argument 'FILE' (see `airunner run --help`)"),
        (["run", "nowhere.yaml"], "cannot read the job file nowhere.yaml"),
        (["worker", "--dry-run"], "'--dry-run' requires an argument"),
        (["worker", "--dry-run", "--once"], "--dry-run needs a job file"),
        (["worker", "--once", "--max-jobs", "2"], "give --once or --max-jobs, not both"),
        (["worker", "--jobs-dir", "nowhere"], "--jobs-dir: nowhere does not exist"),
        (["worker", "--jobs-dir", "job.json"], "--jobs-dir: job.json is not a folder"),
        (["worker", "--jobs-dir", ".", "--work-dir", "in"], "--jobs-dir . and --work-dir"),
        (
            ["worker", "--jobs-dir", "a/b", "--workspaces-dir", "a", "--work-dir", "work"],
            "--jobs-dir a/b and --workspaces-dir",
        ),
        (
            ["worker", "--jobs-dir", "a/b", "--workspaces-dir", "link", "--work-dir", "work"],
            "are the same: sources are copied",
        ),
        (["up", "--jobs-dir", "nowhere"], "--jobs-dir: nowhere does not exist"),
    ],
)
def test_what_cannot_be_run_or_started_is_said(
    shell: Shell, words: list[str], sentence: str
) -> None:
    write(shell, script="true")
    (shell.home / "a" / "b").mkdir(parents=True)
    (shell.home / "link").symlink_to("a/b")
    done = shell.run(*words)
    assert done.returncode == 125
    assert sentence in done.stderr
    assert len(done.stderr.splitlines()) == 1
