"""Jobs on sources: the same cases through a server and its worker, and by `airunner run`."""

import fcntl
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.end.both_ways import WAYS, Factory, Way, Workshop
from tests.promises import holds, promise
from tests.support.installation import site


@pytest.fixture(scope="module")
def factory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Factory]:
    folder = tmp_path_factory.mktemp("shared")
    jobs, workspaces = folder / "jobs", folder / "workspaces"
    jobs.mkdir()
    with site(folder / "site") as it:
        folders = ["--jobs-dir", str(jobs), "--workspaces-dir", str(workspaces)]
        yield Factory(it, it.start_worker("--slots", "2", *folders), jobs, workspaces)


@pytest.fixture(params=WAYS)
def shop(request: pytest.FixtureRequest, factory: Factory, tmp_path: Path) -> Workshop:
    way: Way = request.param
    return Workshop(factory, f"{request.node.originalname[5:]}-{way}", way, tmp_path)


@promise(
    "processes/run-equals-worker",
    "`airunner run` does what a worker does. Output, exit codes, results and artifacts are the "
    "same; it needs no server and no token, and leaves nothing else behind.",
)
def test_steps_run_until_one_fails_whose_exit_code_is_the_jobs(shop: Workshop) -> None:
    shop.make({"steps": ["echo one", {"name": "two", "run": "echo out; exit 3"}, "echo three"]})
    done = shop.run()
    assert (done.code, done.stdout) == (3, "one\nout\n")
    assert done.result["status"] == "failed"
    assert done.statuses == ["success", "failed", "skipped"]
    assert [step["exitCode"] for step in done.result["steps"]] == [0, 3, None]
    assert [step["log"] for step in done.result["steps"]] == ["step_0.log", "step_1.log", None]
    assert (done.log(0), done.log(1)) == ("one\n", "out\n")
    assert done.names == {"result.json", "step_0.log", "step_1.log"}


def test_no_steps_at_all_succeed(shop: Workshop) -> None:
    shop.make({"steps": []})
    done = shop.run()
    assert done.code == 0
    assert (done.result["status"], done.result["steps"]) == ("success", [])


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ('{"steps": [\n  "make",\n]}', "job.json:3"),
        ('{"steps": ["make", {"run": "x", "timeuot": "1s"}]}', "steps[1].timeuot"),
        ('{"stepz": []}', "steps"),
        ('{"steps": [{"run": "x", "workingDirectory": "../up"}]}', "steps[0].workingDirectory"),
    ],
    ids=["syntax", "key", "missing", "leads-out"],
)
def test_what_is_wrong_with_a_manifest_is_named_by_its_place(
    shop: Workshop, text: str, place: str, request: pytest.FixtureRequest
) -> None:
    shop = shop.renamed(request.node.callspec.id)
    shop.make(text)
    done = shop.run()
    assert done.code == 125
    assert place in done.stderr
    assert place in done.result["error"]


def test_directories_are_below_the_workspace_and_a_steps_is_its_own(shop: Workshop) -> None:
    shop.make(None)
    for name in ("one", "two"):
        (shop.source / name).mkdir()
        (shop.source / name / "here").write_text(f"{name}\n")
    steps = ["cat here", {"run": "cat here", "workingDirectory": "two"}]
    done = shop.run(steps=steps, workingDirectory="one")
    assert (done.code, done.stdout) == (0, "one\ntwo\n")


def test_a_directory_that_is_not_there_fails_its_step(shop: Workshop) -> None:
    shop.make({"steps": ["true", {"run": "true", "workingDirectory": "nowhere"}, "true"]})
    done = shop.run()
    assert done.code == 125
    assert done.statuses == ["success", "failed", "skipped"]
    assert "nowhere" in done.result["error"]


def test_steps_of_the_payload_win_over_those_of_the_source(shop: Workshop) -> None:
    shop.make({"steps": ["exit 9"]})
    assert shop.run().code == 9
    done = shop.run(steps=["echo mine"])
    assert (done.code, done.stdout, done.log(0)) == (0, "mine\n", "mine\n")


@holds("processes/run-equals-worker")
def test_a_step_that_takes_too_long_dies_with_all_that_it_started(
    shop: Workshop, tmp_path: Path
) -> None:
    lock = tmp_path / "lock"
    hidden = """
    sh -c '(setsid sh -c "trap \\"\\" TERM; exec 9>$LOCK; flock 9; echo held; sleep 600; :" &) &'
    sleep 600
    """
    late = {"run": hidden, "environment": {"LOCK": str(lock)}, "timeout": "2s"}
    shop.make({"steps": ["true", late, "true"]})
    done = shop.run(gracePeriod="1s")
    assert done.code == 124
    assert done.log(1) == "held\n"
    with lock.open() as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # else somebody lives
    assert done.result["status"] == "timeout"
    assert done.statuses == ["success", "timeout", "skipped"]


def test_a_failure_that_may_be_does_not_end_the_job(shop: Workshop) -> None:
    shop.make({"steps": [{"run": "exit 4", "continueOnError": True}, "echo on"]})
    done = shop.run()
    assert (done.code, done.stdout) == (0, "on\n")
    assert (done.result["status"], done.statuses) == ("success", ["failed", "success"])


def test_results_of_another_run_are_gone(shop: Workshop) -> None:
    shop.make(None)
    first = shop.run(steps=["echo a > first", "true"])
    assert first.names == {"result.json", "step_0.log", "step_1.log", "first"}
    second = shop.run(steps=["echo b > second"])
    assert second.names == {"result.json", "step_0.log", "second"}
    beside = {path.name for path in second.results.parent.iterdir()}
    assert not [name for name in beside if name.startswith(".")]


@holds("processes/run-equals-worker")
def test_what_is_new_or_changed_is_an_artifact_and_the_source_stays_as_it_is(
    shop: Workshop,
) -> None:
    shop.make(None, kept="kept\n", changed="old\n", gone="gone\n")
    steps = ["echo new > changed; mkdir out; echo made > out/made; rm gone; chmod +x out/made"]
    done = shop.run(steps=steps)
    assert (done.code, done.artifacts) == (0, ["changed", "out/made"])
    assert done.names == {"result.json", "step_0.log", "changed", "out"}
    assert (done.results / "changed").read_text() == "new\n"
    assert (done.results / "out" / "made").stat().st_mode & 0o111
    there = {path.name: path.read_text() for path in shop.source.iterdir() if path.is_file()}
    assert there == {"kept": "kept\n", "changed": "old\n", "gone": "gone\n"}


def test_with_patterns_artifacts_are_what_these_match(shop: Workshop) -> None:
    shop.make(None, **{"report.xml": "old"})
    done = shop.run(steps=["touch a.log b.log keep.log other"], artifacts=["*.log", "!b.log"])
    assert done.artifacts == ["a.log", "keep.log"]
    assert "report.xml" not in done.names


def test_artifacts_of_a_job_that_failed_are_there(shop: Workshop) -> None:
    shop.make({"steps": ["echo half > made; exit 5"]})
    done = shop.run()
    assert (done.code, done.artifacts) == (5, ["made"])
    assert (done.results / "made").read_text() == "half\n"


@pytest.mark.parametrize(("end", "code"), [("true", 125), ("exit 6", 6)], ids=["well", "badly"])
def test_an_artifact_that_cannot_be_kept_is_told_and_fails_a_job_that_did_well(
    shop: Workshop, end: str, code: int
) -> None:
    shop = shop.renamed(f"ends-with-{code}")
    shop.make({"steps": [f"echo mine >result.json; echo other >made; {end}"]})
    done = shop.run()
    assert (done.code, done.artifacts) == (code, ["made"])
    assert (done.result["status"], len(done.result["errors"])) == ("failed", 1)
    assert "'result.json'" in done.result["error"]
    assert "'result.json'" in done.stderr


def test_a_timeout_of_the_job_ends_the_step_that_runs(shop: Workshop) -> None:
    shop.make({"steps": ["true", "echo on; sleep 600", "true"]})
    done = shop.run(timeout="2s", gracePeriod="1s")
    assert (done.code, done.log(1)) == (124, "on\n")
    assert (done.result["status"], done.statuses) == ("timeout", ["success", "timeout", "skipped"])


def test_a_script_of_a_megabyte_runs(shop: Workshop) -> None:
    shop.make(None)
    script = f"# {'x' * 1024 * 1024}\necho end\n"
    assert (shop.run(script=script).stdout) == "end\n"


def test_a_shell_is_any_program_that_reads_a_file(shop: Workshop) -> None:
    shop.make(None)
    done = shop.run(script="import sys; print(6 * 7); sys.exit(2)", shell="python3 -u")
    assert (done.code, done.stdout) == (2, "42\n")


def test_steps_have_a_terminal_if_the_job_wants_one(shop: Workshop) -> None:
    shop.make(None)
    terminal = {"processType": "pty", "terminal": {"columns": 100, "rows": 30}}
    done = shop.run(steps=["test -t 0 && test -t 1 && stty size"], **terminal)
    assert (done.code, done.stdout) == (0, "30 100\r\n")


def test_a_steps_environment_is_its_own_and_over_the_jobs(shop: Workshop) -> None:
    shop.make(None)
    steps = [{"run": "echo $A $B", "environment": {"A": "step"}}, "echo $A $B"]
    done = shop.run(steps=steps, environment={"A": "job", "B": "job"})
    assert done.stdout == "step job\njob job\n"


def test_values_of_the_environment_are_in_no_results(shop: Workshop) -> None:
    shop.make(None)
    steps = [{"run": 'test "$A$B" = hushhush', "environment": {"A": "hush"}}, "false"]
    done = shop.run(steps=steps, environment={"B": "hush"})
    assert done.statuses == ["success", "failed"]
    texts = [path.read_text() for path in done.results.iterdir()]
    assert len(texts) == 3
    assert not [text for text in texts if "hush" in text.replace("hushhush", "")]


def test_a_log_can_be_read_while_its_step_runs(shop: Workshop, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    script = 'mkfifo "$GATE"; echo waiting; read word <"$GATE"; echo $word'
    shop.make(None)
    running = shop.begin(script=script, environment={"GATE": str(gate)})
    running.read_live("waiting")
    gate.write_text("go\n")
    done = running.wait()
    assert (done.code, done.log(0)) == (0, "waiting\ngo\n")


def test_a_cancel_ends_the_step_and_skips_the_others(shop: Workshop) -> None:
    shop.make({"steps": ["echo started; sleep 600", "true"]})
    running = shop.begin()
    running.read_live("started")
    running.cancel()
    done = running.wait()
    assert done.code == 130
    assert (done.result["status"], done.statuses) == ("cancelled", ["cancelled", "skipped"])


def test_a_source_that_leads_out_of_the_root_is_refused(shop: Workshop, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "job.json").write_text('{"steps": ["echo read"]}')
    shop.source.symlink_to(outside)
    done = shop.run()
    assert (done.code, done.stdout) == (125, "")
    assert [path.name for path in outside.iterdir()] == ["job.json"]


def test_a_link_out_of_the_source_is_kept_as_a_link(shop: Workshop, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("secret")
    shop.make(None)
    (shop.source / "link").symlink_to(secret)
    done = shop.run(steps=["readlink link; ln -s link new"])
    assert (done.code, done.stdout) == (0, f"{secret}\n")
    assert (done.results / "new").is_symlink()
    assert secret.read_text() == "secret"


@pytest.mark.parametrize("shop", ["server"], indirect=True)
def test_a_source_has_one_job_at_a_time(shop: Workshop) -> None:
    shop.make(None)
    first = shop.begin(script="echo first; sleep 600")
    first.read_live("first")
    second = shop.run_beside(script="echo second")
    assert (second.code, second.stdout) == (125, "")
    assert "busy" in second.stderr
    first.cancel()
    done = first.wait()
    assert (done.code, done.log(0)) == (130, "first\n")
