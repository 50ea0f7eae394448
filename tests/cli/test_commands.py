"""The commands against a real server and a real worker."""

import hashlib
import json
import os
import re
import signal
import socket
import stat
import subprocess
from pathlib import Path

import pytest

from tests.cli.conftest import PATIENCE, Shell
from tests.cli.terminal import Terminal
from tests.support.cutter import Cutter
from tests.support.installation import Process

FOREVER = ("--grace", "1", "--", "sh", "-c", "echo started; exec sleep 600")


def shown(shell: Shell, id: str) -> dict[str, object]:
    found: dict[str, object] = json.loads(shell.run("show", id, "--json").stdout)
    return found


def until(stream: "subprocess.Popen[bytes]", text: bytes) -> None:
    assert stream.stdout
    for line in stream.stdout:
        if text in line:
            return
    raise AssertionError(f"{text!r} never came")


def id_of(process: "subprocess.Popen[bytes]") -> str:
    assert process.stderr
    found = re.fullmatch(r"airunner: job (\S+)\n", process.stderr.readline().decode())
    assert found
    return found[1]


def test_submit_keeps_the_streams_apart_and_exits_as_the_command_did(embedded: Shell) -> None:
    done = embedded.run("submit", "--", "sh", "-c", "echo out; echo err >&2; exit 3")
    assert (done.returncode, done.stdout) == (3, "out\n")
    assert done.stderr.splitlines()[1:] == ["err"]


def test_a_detached_submit_ends_with_the_id(embedded: Shell) -> None:
    done = embedded.run("submit", "--detach", "--", "true")
    assert done.stderr == ""
    assert shown(embedded, done.stdout.split()[-1])["command"] == "true"


def test_flags_win_over_the_job_file(embedded: Shell) -> None:
    (embedded.home / "job.yaml").write_text("command: echo\nargs: [file]\nenvironment: {A: file}\n")
    words = ["submit", "--config", "job.yaml", "--env", "A=flag"]
    assert embedded.run(*words).stdout == "file\n"
    assert embedded.run(*words, "--", "sh", "-c", "echo $A").stdout == "flag\n"


def test_json_splits_no_character_that_a_job_writes_in_two_parts(embedded: Shell) -> None:
    script = r"printf 'a\303'; sleep 0.5; printf '\244b\n\342\202'"
    id = embedded.submit("--", "sh", "-c", script)
    for words in (["monitor", id, "--json"], ["logs", id, "--json"]):
        events = [json.loads(line) for line in embedded.run(*words).stdout.splitlines()]
        texts = [event["output"] for event in events if event["type"] == "output"]
        assert texts == ["a", "äb\n", "\ufffd"]


def test_the_last_lines_come_first_and_then_all_that_follow(
    embedded: Shell, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    script = f"seq 1000; until [ -e {gate} ]; do sleep 0.05; done; echo more; printf last"
    id = embedded.submit("--", "sh", "-c", script)
    until(embedded.start("monitor", id), b"1000")
    following = embedded.start("logs", id, "--tail", "2", "--follow")
    assert following.stdout
    assert [following.stdout.readline() for _ in range(2)] == [b"999\n", b"1000\n"]
    gate.touch()
    assert following.stdout.read() == b"more\nlast\n"
    assert following.wait() == 0
    assert embedded.run("logs", id, "--tail", "2").stdout == "more\nlast\n"
    again = embedded.run("logs", id, "--tail", "2", "--follow", "--timestamps").stdout.splitlines()
    assert [re.fullmatch(r"\d{4}-\d\d-\d\dT[0-9:.]+Z (more|last)", line) for line in again].count(
        None
    ) == 0
    assert embedded.run("logs", id, "--since", "1h").stdout.count("\n") == 1002
    assert embedded.run("logs", id, "--since", "2099-01-01T00:00:00Z").stdout == ""


def test_merged_output_is_standard_output_in_exact_order(embedded: Shell) -> None:
    script = "i=0; while [ $i -lt 1000 ]; do echo $i; i=$((i+1)); echo $i >&2; i=$((i+1)); done"
    expected = "".join(f"{n}\n" for n in range(1000))
    done = embedded.run("submit", "--merge-stderr", "--script", script)
    assert (done.returncode, done.stdout) == (0, expected)
    id = done.stderr.split()[2]
    assert shown(embedded, id)["merge_stderr"] is True
    (embedded.home / "merged.yaml").write_text(
        "mergeStderr: true\nsteps: ['echo 0; echo 1 >&2', 'echo 2 >&2; echo 3']\n"
    )
    assert embedded.run("submit", "--config", "merged.yaml").stdout == "0\n1\n2\n3\n"
    assert embedded.run("run", "merged.yaml").stdout == "0\n1\n2\n3\n"
    apart = embedded.run("submit", "--", "sh", "-c", "echo err >&2")
    assert (apart.stdout, shown(embedded, apart.stderr.split()[2])["merge_stderr"]) == ("", False)


@pytest.mark.parametrize("script", ["false\necho on", "false | true\necho on"])
def test_a_script_ends_at_its_first_failing_command_unless_it_may_go_on(
    embedded: Shell, script: str
) -> None:
    done = embedded.run("submit", "--script", script)
    assert (done.returncode, done.stdout) == (1, "")
    assert shown(embedded, done.stderr.split()[2])["strict"] is True
    assert embedded.run("submit", "--step", script, "--step", "echo 2").returncode == 1
    for words in (["--no-strict"], ["--shell", "bash"]):
        assert embedded.run("submit", *words, "--script", script).stdout == "on\n"
    (embedded.home / "loose.yaml").write_text("strict: false\nscript: 'false; echo on'\n")
    for command in (["submit", "--config", "loose.yaml"], ["run", "loose.yaml"]):
        assert embedded.run(*command).stdout == "on\n"
    refused = embedded.run("submit", "--strict", "--", "make")
    assert refused.returncode == 125
    assert "--strict: means nothing to a command" in refused.stderr


def test_steps_run_after_a_failure_if_their_condition_says_so(embedded: Shell) -> None:
    (embedded.home / "when.yaml").write_text(
        "steps:\n- exit 3\n- echo 2\n- {run: echo 3, when: on_failure}\n- {run: echo 4, when: always}\n"
    )
    done = embedded.run("submit", "--config", "when.yaml")
    assert (done.returncode, done.stdout) == (3, "3\n4\n")
    assert "step 2 of 4 was skipped: echo 2" in done.stderr
    steps = shown(embedded, done.stderr.split()[2])["step_results"]
    assert isinstance(steps, list)
    assert [each["status"] for each in steps] == ["failed", "skipped", "success", "success"]
    here = embedded.run("run", "when.yaml")
    assert (here.returncode, here.stdout) == (3, "3\n4\n")
    (embedded.home / "never.yaml").write_text("steps: [{run: x, when: never}]")
    refused = embedded.run("submit", "--config", "never.yaml").stderr
    assert "never.yaml:1: step 1: when: " in refused
    assert "is not one of on_success, on_failure, always" in refused


def test_a_step_gives_variables_to_the_steps_after_it(embedded: Shell) -> None:
    (embedded.home / "give.yaml").write_text(
        "environment: {A: job, B: job}\n"
        "steps:\n"
        "- printf 'A=1\\nC=x y\\n' >>\"$AIRUNNER_ENV\"; echo $A\n"
        '- {run: echo $A $B "$C", environment: {B: step}}\n'
        "- {run: echo A=2 >>$AIRUNNER_ENV; exit 3, continueOnError: true}\n"
        "- echo $A $B; echo AIRUNNER_JOB_ID=forged >>$AIRUNNER_ENV\n"
        "- {run: echo never}\n"
        "- {run: echo $A, when: always}\n"
    )
    for command in (["submit", "--config", "give.yaml"], ["run", "give.yaml"]):
        done = embedded.run(*command)
        assert (done.returncode, done.stdout) == (125, "job\n1 step x y\n2 job\n2\n")
        assert "line 1: 'AIRUNNER_JOB_ID' is a name of airunner's own" in done.stderr
    assert embedded.run("submit", "--script", "echo ${AIRUNNER_ENV-none}").stdout == "none\n"


def test_a_background_step_has_a_file_of_variables_of_its_own(embedded: Shell) -> None:
    (embedded.home / "own.yaml").write_text(
        "steps:\n"
        "- {run: 'echo A=1 >>$AIRUNNER_ENV; until test -e go; do sleep 0.05; done;"
        " echo bad line >>$AIRUNNER_ENV; touch gone; sleep 1000', background: true}\n"
        "- echo $A; touch go; until test -e gone; do sleep 0.05; done; echo B=2 >>$AIRUNNER_ENV\n"
        "- echo $A $B\n"
    )
    done = embedded.run("submit", "--config", "own.yaml")
    assert (done.returncode, done.stdout) == (0, "1\n1 2\n"), done.stderr
    (embedded.home / "bad.yaml").write_text(
        "steps:\n"
        "- {run: 'echo bad line >>$AIRUNNER_ENV; sleep 1000', background: true}\n"
        "- echo next\n"
    )
    done = embedded.run("submit", "--config", "bad.yaml")
    assert (done.returncode, done.stdout) == (0, "next\n"), done.stderr
    assert "AIRUNNER_ENV: line 1 is not NAME=VALUE" in done.stderr
    id = json.loads(embedded.run("list", "--json", "--limit", "1").stdout)["id"]
    job = json.loads(embedded.run("show", id, "--json").stdout)
    assert [each["status"] for each in job["step_results"]] == ["failed", "success"]


@pytest.mark.parametrize("wanted", [True, False])
def test_the_artifacts_of_a_cancelled_job_are_stored_if_the_job_asks_for_them(
    embedded: Shell, wanted: bool
) -> None:
    (embedded.home / "slow.yaml").write_text(
        f"artifacts: [made]\nartifactsOnCancel: {wanted}\n"
        "steps: ['echo 1 >made; echo ready; sleep 1000', 'echo 2 >made']\n"
    )
    id = embedded.submit("--config", "slow.yaml")
    until(embedded.start("monitor", id), b"ready")
    embedded.run("cancel", id)
    assert embedded.run("monitor", id).returncode == 130
    assert shown(embedded, id)["artifacts_kept"] == int(wanted)
    if wanted:
        assert embedded.run("artifacts", "get", id, "--output", "kept").returncode == 0
        assert (embedded.home / "kept/made").read_text() == "1\n"
    flagged = embedded.submit("--artifacts-on-cancel", "--artifact", "x", "--", "true")
    assert shown(embedded, flagged)["artifacts_on_cancel"] is True


def test_processes_of_a_background_step_live_until_the_job_ends(embedded: Shell) -> None:
    (embedded.home / "back.yaml").write_text(
        "steps:\n"
        "- {run: 'sleep 1000 & echo $! >left', background: true}\n"
        "- {run: 'echo $$ >server; echo listening; exec sleep 1000', background: true}\n"
        "- {run: 'sleep 1000 >/dev/null 2>&1 & echo $! >silent', background: true}\n"
        "- kill -0 $(cat left server silent); cat left server silent\n"
        "- {run: 'kill -0 $(cat left server silent)', when: always}\n"
        "- exit 3\n"
    )
    for command in (["submit", "--config", "back.yaml"], ["run", "back.yaml"]):
        done = embedded.run(*command)
        assert done.returncode == 3, done.stderr
        first, *pids = done.stdout.split()
        assert (first, len(pids)) == ("listening", 3)
        assert not [pid for pid in pids if Path(f"/proc/{pid}").exists()]
    (embedded.home / "fails.yaml").write_text(
        "steps:\n- {run: 'sleep 1000 & echo $!; exit 4', background: true}\n- echo never\n"
    )
    done = embedded.run("submit", "--config", "fails.yaml")
    assert (done.returncode, len(done.stdout.split())) == (4, 1)
    assert not Path(f"/proc/{done.stdout.strip()}").exists()


def test_a_shebang_is_obeyed(embedded: Shell) -> None:
    script = "#!/usr/bin/env python3\nimport sys\nprint(1 + 1, len(sys.argv))\n"
    assert embedded.run("submit", "--script", script).stdout == "2 1\n"
    assert embedded.run("submit", "--no-strict", "--step", script, "--step", "echo b").stdout == (
        "2 1\nb\n"
    )
    done = embedded.run("submit", "--script", "#!/bin/sh\nfalse\necho on\n")
    assert (done.returncode, done.stdout) == (0, "on\n")
    done = embedded.run("submit", "--script", "#!/no/such thing\n")
    assert (done.returncode, "there is no interpreter '/no/such'" in done.stderr) == (127, True)


def test_a_script_is_read_from_standard_input_however_long(embedded: Shell) -> None:
    lines = "".join(f"echo line {number} of many >/dev/null\n" for number in range(40_000))
    (embedded.home / "long.sh").write_text(f"{lines}echo 'it''s done'\nexit 7\n")
    done = embedded.run_in_sh('"$@" <long.sh', "submit", "--script", "-")
    assert (done.returncode, done.stdout) == (7, "its done\n")
    assert (embedded.home / "long.sh").stat().st_size > 1_000_000


@pytest.mark.parametrize(
    ("script", "code", "output"),
    [
        (r"\357\273\277echo one\necho two\n", 0, "one\ntwo\n"),
        (r"set -e\r\nfalse\r\necho deployed\r\n", 1, ""),
        (r"\357\273\277if true; then\r\n  echo yes\r\nfi\r\n", 0, "yes\n"),
    ],
)
def test_a_script_from_another_system_runs_as_it_reads(
    embedded: Shell, script: str, code: int, output: str
) -> None:
    for line in ('printf "$0" | "$@"', '"$@"'):
        words = (
            ["--script", "-"]
            if "|" in line
            else ["--script", script.encode().decode("unicode_escape").encode("latin-1").decode()]
        )
        done = embedded.run_in_sh(line.replace("$0", script), "submit", *words)
        assert (done.returncode, done.stdout) == (code, output)


def test_a_script_is_typed_until_ctrl_d(embedded: Shell) -> None:
    terminal = Terminal(embedded, "submit", "--script", "-")
    terminal.until("end the script with Ctrl-D on a line of its own")
    terminal.send("echo so $((40 + 2))\n\x04")
    assert terminal.wait() == 0
    assert "so 42" in terminal.text


def test_a_script_that_is_being_typed_is_given_up_by_ctrl_c(shell: Shell) -> None:
    terminal = Terminal(shell, "submit", "--script", "-")
    terminal.until("Ctrl-D")
    terminal.send("echo so\n\x03")
    assert terminal.wait() == 130
    assert terminal.text.count("airunner") == 1


def test_a_script_is_told_to_the_shell_that_was_asked_for(embedded: Shell) -> None:
    script = "import sys\nprint(sys.version_info[0])\n"
    assert embedded.run("submit", "--shell", "python3", "--script", script).stdout == "3\n"


def test_steps_run_in_their_order_until_one_fails(embedded: Shell) -> None:
    steps = ("echo one >file", "cat file; exit 4", "echo never")
    words = [word for step in steps for word in ("--step", step)]
    done = embedded.run("submit", *words)
    assert (done.returncode, done.stdout) == (4, "one\n")


def test_a_retry_has_the_same_steps_and_name(embedded: Shell) -> None:
    old = embedded.submit(
        "--name", "nightly", "--shell", "sh", "--step", "true", "--step", "exit 3"
    )
    id = embedded.run("retry", old).stdout.strip()
    assert embedded.run("monitor", id).returncode == 3
    first, second = (shown(embedded, each) for each in (old, id))
    for key in ("name", "steps", "shell", "script", "source", "artifacts"):
        assert first[key] == second[key]
    results = second["step_results"]
    assert isinstance(results, list)
    assert [(each["name"], each["status"]) for each in results] == [
        ("true", "success"),
        ("exit 3", "failed"),
    ]


def test_a_list_shows_names_and_no_more_of_a_script_than_fits(embedded: Shell) -> None:
    script = "echo 1\n" + "# more\n" * 1_000
    embedded.submit("--queue", "named", "--name", "a name", "--script", script)
    heading, line = embedded.run("list", "--queue", "named").stdout.splitlines()
    assert line[heading.index("NAME") :].startswith("a name  echo 1")
    (said,) = embedded.run("list", "--queue", "named", "--json").stdout.splitlines()
    assert json.loads(said)["name"] == "a name"
    assert script.startswith(json.loads(said)["script"])
    assert len(said) < 2_000


def test_a_local_repository_is_cloned_from_where_the_caller_stands(embedded: Shell) -> None:
    repository = embedded.home / "project"
    identity = ["-c", "user.name=a", "-c", "user.email=a@example.invalid"]
    subprocess.run(["git", "init", "-q", "-b", "main", str(repository)], check=True)
    (repository / "greeting").write_text("hello\n")
    subprocess.run(["git", "-C", str(repository), "add", "."], check=True)
    commit = ["git", "-C", str(repository), *identity, "commit", "-q", "-m", "Greet"]
    subprocess.run(commit, check=True)
    done = embedded.run("submit", "project", "--", "cat", "greeting")
    assert (done.returncode, done.stdout) == (0, "hello\n")
    assert "cloning" in done.stderr
    empty = embedded.run("submit", "--no-checkout", "project", "--", "ls")
    assert empty.stdout == ""


def test_the_flags_of_a_clone_reach_the_job(embedded: Shell) -> None:
    (embedded.home / "clone.yaml").write_text("repository: /none\ngitClone: {enabled: false}\n")
    flags = ("--lfs", "--filter", "blob:none", "--sparse", "src/", "--sparse", "docs")
    checkout = shown(embedded, embedded.submit("--config", "clone.yaml", *flags, "--", "true"))[
        "checkout"
    ]
    assert isinstance(checkout, dict)
    assert (checkout["lfs"], checkout["filter"]) == (True, "blob:none")
    assert checkout["sparse"] == ["src", "docs"]
    for flag, name in (("--depth", "depth"), ("--filter", "filter")):
        value = "0" if name == "depth" else "tree:0"
        id = embedded.submit("--config", "clone.yaml", flag, value, "--", "true")
        checkout = shown(embedded, id)["checkout"]
        assert isinstance(checkout, dict)
        assert str(checkout[name]) == value
    refused = embedded.run("submit", "--filter", "--upload-pack=x", "/none", "--", "true")
    assert refused.returncode == 125
    assert "--filter: '--upload-pack=x' is not a filter: use blob:none" in refused.stderr


def test_monitor_shows_a_finished_job_from_its_first_line(embedded: Shell) -> None:
    id = embedded.submit("--", "sh", "-c", "echo one; echo two >&2; exit 5")
    embedded.run("monitor", id)
    done = embedded.run("monitor", id)
    assert (done.returncode, done.stdout, done.stderr) == (5, "one\n", "two\n")


def test_raw_and_logs_are_the_output_byte_for_byte(embedded: Shell) -> None:
    script = "head -c 300000 /dev/urandom | tee copy; sha256sum copy >&2"
    id = embedded.submit("--", "sh", "-c", f"{script} 2>sum; cat sum 1>&2; sha256sum copy >sum2")
    embedded.run("monitor", id, "--json")
    digests = set()
    for words in (["monitor", id, "--raw"], ["logs", id]):
        process = embedded.start(*words)
        data = process.communicate(timeout=PATIENCE)[0]
        assert process.returncode == 0
        digests.add(hashlib.sha256(data).hexdigest())
        assert len(data) >= 300_000
    assert len(digests) == 1


@pytest.mark.parametrize("words", [("logs",), ("monitor", "--raw")], ids=lambda words: words[0])
def test_what_is_printed_survives_a_cut_connection(embedded: Shell, words: list[str]) -> None:
    id = embedded.submit("--", "seq", "300000")
    whole = embedded.run("monitor", id, "--raw").stdout
    with Cutter(embedded.server, after=1_000_000) as cutter:
        said = ("--server", cutter.address, *embedded.trust)
        done = embedded.run(*words, id, *said)
        assert cutter.has_cut
    assert (done.returncode, done.stdout == whole) == (0, True)
    assert done.stderr.endswith("; trying again\n")


def test_json_events_have_every_sequence_once(embedded: Shell) -> None:
    id = embedded.submit("--", "sh", "-c", "for n in 1 2 3; do echo $n; done")
    done = embedded.run("monitor", id, "--json")
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert [event["sequence"] for event in events] == list(range(1, len(events) + 1))
    assert all({"attempt", "type", "timestamp"} <= event.keys() for event in events)
    assert "".join(event.get("output", "") for event in events) == "1\n2\n3\n"
    later = embedded.run("monitor", id, "--json", "--from-sequence", "3")
    assert later.stdout.splitlines() == done.stdout.splitlines()[2:]


def test_a_playback_shows_the_same(embedded: Shell) -> None:
    id = embedded.submit("--", "sh", "-c", "echo one; sleep 0.2; echo two")
    embedded.run("monitor", id)
    done = embedded.run("monitor", id, "--playback", "--speed", "2", "--max-idle", "0.1")
    assert done.stdout == "one\ntwo\n"


def test_a_job_that_waits_says_why(embedded: Shell) -> None:
    id = embedded.submit("--queue", "nobodys", "--", "true")
    assert "no worker polls queue nobodys" in embedded.run("show", id).stdout
    watching = embedded.start("monitor", id)
    assert watching.stderr
    assert b"no worker polls queue nobodys" in watching.stderr.readline()
    assert embedded.run("cancel", id).returncode == 0
    assert watching.wait(PATIENCE) == 130


def test_list_shows_all_pages_newest_first(embedded: Shell) -> None:
    ids = [embedded.submit("--queue", "paged", "--", "true") for _ in range(5)]
    done = embedded.run("list", "--queue", "paged", "--page-size", "2", "--json")
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert [row["id"] for row in rows] == ids[::-1]
    assert {(row["state"], row["queue"]) for row in rows} == {("scheduled", "paged")}
    assert embedded.run("list", "--queue", "paged", "--state", "failed", "--json").stdout == ""
    few = embedded.run("list", "--queue", "paged", "--page-size", "2", "--limit", "3", "--json")
    assert few.stdout.splitlines() == done.stdout.splitlines()[:3]
    table = embedded.run("list", "--queue", "paged").stdout.splitlines()
    assert table[0].startswith("ID")
    assert len(table) == 6


def test_list_watches_for_what_changes(embedded: Shell) -> None:
    id = embedded.submit("--queue", "watched", "--", "true")
    watching = embedded.start("list", "--queue", "watched", "--watch", "--json")
    until(watching, b'"scheduled"')
    embedded.run("cancel", id)
    until(watching, b'"cancelled"')


def test_a_retry_is_a_new_job_that_knows_the_old_one(embedded: Shell) -> None:
    old = embedded.submit("--", "sh", "-c", "exit 4")
    done = embedded.run("retry", old)
    assert shown(embedded, done.stdout.strip())["retry_of"] == old
    assert embedded.run("retry", old, "--monitor").returncode == 4


def test_queues_are_counted(embedded: Shell) -> None:
    embedded.submit("--queue", "counted", "--", "true")
    lines = embedded.run("queues", "--json").stdout.splitlines()
    (found,) = [each for each in map(json.loads, lines) if each["queue"] == "counted"]
    assert (found["scheduled"], found["workers"]) == (1, 0)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_without_a_terminal_a_signal_cancels_the_job_and_waits(
    embedded: Shell, number: signal.Signals
) -> None:
    process = embedded.start("submit", *FOREVER)
    until(process, b"started")
    process.send_signal(number)
    assert process.wait(PATIENCE) == 130
    assert shown(embedded, id_of(process))["state"] == "cancelled"


def test_a_signal_ends_a_submit_that_no_server_answers(shell: Shell) -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        address = f"127.0.0.1:{mute.getsockname()[1]}"
        process = shell.start("submit", "--server", address, "--", "true")
        connection, _ = mute.accept()
        with connection:
            process.send_signal(signal.SIGINT)
            assert process.wait(PATIENCE) == 130
    assert process.stderr
    assert b"interrupted before the server answered" in process.stderr.read()


def test_ctrl_c_at_a_terminal_asks_and_cancels(embedded: Shell) -> None:
    terminal = Terminal(embedded, "submit", *FOREVER)
    terminal.until("started")
    terminal.send("\x03")
    terminal.until("or [w]ait on? ")
    terminal.send("c\n")
    assert terminal.wait() == 130
    assert shown(embedded, terminal.id)["state"] == "cancelled"


def test_ctrl_c_at_a_terminal_asks_and_goes_on_waiting(embedded: Shell) -> None:
    gate = embedded.home / "gate"
    os.mkfifo(gate)
    terminal = Terminal(embedded, "submit", "--", "sh", "-c", f"echo started; cat {gate}; exit 6")
    terminal.until("started")
    terminal.send("\x03")
    terminal.until("or [w]ait on? ")
    terminal.send("w\n")
    gate.write_text("opened\n")
    assert terminal.wait() == 6


@pytest.mark.parametrize("answer", ["d\n", "\x03", "\x04"], ids=["d", "a second Ctrl-C", "Ctrl-D"])
def test_ctrl_c_at_a_terminal_asks_and_detaches(embedded: Shell, answer: str) -> None:
    terminal = Terminal(embedded, "submit", *FOREVER)
    terminal.until("started")
    terminal.send("\x03")
    terminal.until("or [w]ait on? ")
    terminal.send(answer)
    assert terminal.wait() == 130
    assert f"\r\nairunner: job {terminal.id} goes on" in terminal.text
    assert shown(embedded, terminal.id)["state"] == "running"
    embedded.run("cancel", terminal.id)


def test_ctrl_c_ends_a_monitor_and_leaves_the_job_alone(embedded: Shell) -> None:
    id = embedded.submit(*FOREVER)
    terminal = Terminal(embedded, "monitor", id)
    terminal.until("started")
    terminal.send("\x03")
    assert terminal.wait() == 130
    assert "cancel" not in terminal.text
    assert shown(embedded, id)["state"] == "running"
    embedded.run("cancel", id)


def test_up_keeps_its_secrets_and_stops_both_in_order(shell: Shell) -> None:
    up = shell.start("up", "--listen", "127.0.0.1:0", "--log-format", "json")
    assert up.stderr
    while b'"connected"' not in up.stderr.readline():
        pass
    folder = shell.home / ".local/share/airunner/embedded"
    for path in folder.iterdir():
        mode = stat.S_IMODE(path.stat().st_mode)
        assert mode in ((0o700,) if path.is_dir() else (0o600, 0o644)), path
        assert mode != 0o644 or path.name in ("ca.pem", "server.pem", "public.pem")
    up.terminate()
    events = [json.loads(line)["event"] for line in up.stderr if line.startswith(b"{")]
    assert up.wait(PATIENCE) == 0
    assert events[-2:] == ["stopping", "stopped"]
    assert events.index("draining") < len(events) - 2
    assert not (folder / "server.toml").exists()


def test_an_up_that_ends_late_leaves_the_next_ones_address_alone(shell: Shell) -> None:
    up = shell.start("up", "--listen", "127.0.0.1:0", "--log-format", "json")
    assert up.stderr
    while b'"connected"' not in up.stderr.readline():
        pass
    path = shell.home / ".local/share/airunner/embedded/server.toml"
    path.write_text('server = "localhost:1"\n')
    up.terminate()
    assert up.stderr.read()
    assert up.wait(PATIENCE) == 0
    assert path.read_text() == 'server = "localhost:1"\n'


def test_an_up_that_is_killed_leaves_neither_worker_nor_server(shell: Shell) -> None:
    up = shell.start("up", "--listen", "127.0.0.1:0", "--log-format", "json")
    assert up.stderr
    while b'"connected"' not in up.stderr.readline():
        pass
    up.kill()
    lines = [
        line for line in up.stderr if line.startswith(b"{")
    ]  # until both processes have closed it
    stopped = [json.loads(line) for line in lines if b'"stopped"' in line]
    assert ["worker" in line for line in stopped] == [True, False]


def test_an_up_whose_server_is_killed_says_so_and_ends(shell: Shell) -> None:
    up = Process(shell.start("up", "--listen", "127.0.0.1:0", "--log-format", "json"))
    up.heard('"connected"')
    children = Path(f"/proc/{up.pid}/task/{up.pid}/children").read_text().split()
    (server,) = (
        int(each)
        for each in children
        if b"\0server\0" in Path(f"/proc/{each}/cmdline").read_bytes()
    )
    os.kill(server, signal.SIGKILL)
    up.heard("airunner: the server has ended: the worker ends its jobs")
    assert up.wait(PATIENCE) == 128 + signal.SIGKILL


def test_up_ends_with_the_code_of_a_server_that_cannot_start(embedded: Shell, shell: Shell) -> None:
    where = (embedded.home / ".local/share/airunner/embedded/server.toml").read_text()
    address = re.findall(r'server = "(.*)"', where)[0]
    done = shell.run("up", "--listen", address)
    assert done.returncode == 125
    assert f"cannot listen on {address}" in done.stderr


def test_a_worker_for_one_job_exits_with_its_code(embedded: Shell) -> None:
    data = embedded.home / ".local/share/airunner/embedded"
    id = embedded.submit("--queue", "single", "--", "sh", "-c", "exit 9")
    done = embedded.run(
        *("worker", "--once", "--queue", "single", "--name", "loner"),
        *("--token-file", str(data / "worker.token"), "--work-dir", str(embedded.home / "once")),
    )
    assert done.returncode == 9, done.stderr
    assert shown(embedded, id)["exit_code"] == 9


def test_a_worker_raises_its_own_limit_of_open_files_and_not_that_of_its_jobs(
    embedded: Shell,
) -> None:
    ask = """
    ulimit -Sn
    above() { awk '/^PPid/ { print $2 }' /proc/$1/status; }
    awk '/open files/ { print ($4 == $5) }' /proc/$(above $(above $PPID))/limits
    """
    id = embedded.submit("--queue", "files", "--", "sh", "-c", ask)
    data = embedded.home / ".local/share/airunner/embedded"
    done = embedded.run_in_sh(
        'ulimit -Sn 300; exec "$@"',
        *("worker", "--once", "--queue", "files", "--work-dir", str(embedded.home / "files")),
        *("--token-file", str(data / "worker.token")),
    )
    assert done.returncode == 0, done.stderr
    assert embedded.run("logs", id).stdout.split() == ["300", "1"]


def test_the_version_is_printed_alone(shell: Shell) -> None:
    said = shell.run("version").stdout
    assert re.fullmatch(r"airunner \d+\.\d+\.\d+\n", said)
    assert shell.run("--version").stdout == said


def test_every_command_explains_itself_with_an_example(shell: Shell) -> None:
    commands = [
        "submit",
        "monitor",
        "show",
        "logs",
        "verify",
        "cancel",
        "retry",
        "queues",
        "list",
        "up",
    ]
    for command in [*commands, "server", "worker", "certs", "keys", "token", "bench"]:
        done = shell.run(command, "--help", environment={"COLUMNS": "80"})
        assert done.returncode == 0
        assert "…" not in done.stdout, "an option is cut short"
        assert f"airunner {command}" in done.stdout.split("Example", 1)[1], command


def test_help_fills_the_lines_of_a_terminal(shell: Shell) -> None:
    done = shell.run("submit", "--help", environment={"COLUMNS": "80"})
    prose = done.stdout.split("128+n", 1)[1].split("Examples", 1)[0].splitlines()
    full = [line for line in map(str.strip, prose) if line]
    assert all(len(line) > 50 for line in full[:-1]), full


def test_certs_and_keys_write_where_they_are_told(shell: Shell) -> None:
    assert shell.run("certs", "--dir", "c", "--name", "build.example").stdout == ""
    assert shell.run("keys", "--dir", "k").stdout == ""
    assert {each.name for each in Path(shell.home / "k").iterdir()} == {"signing.pem", "public.pem"}
    key = (shell.home / "k/signing.pem").read_text()
    signed = shell.run("token", "--subject", "me", environment={"JWT_SIGNING_KEY": key})
    assert re.fullmatch(r"[\w-]+\.[\w-]+\.[\w-]+\n", signed.stdout)
