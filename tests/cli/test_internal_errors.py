"""Every error of a command is a single sentence on standard error, never a traceback."""

import os
import subprocess
from pathlib import Path

import pytest

from airunner.cli.processes.certificates import make_certificates
from airunner.cli.processes.key_pair import make_keys
from tests.cli.conftest import Shell

EXIT_AS_THE_JOB = ("submit", "monitor", "retry", "worker")  # the job's own exit code may be 2
NOBODY = ("--server", "127.0.0.1:1")


def told(done: "subprocess.CompletedProcess[str]", code: int) -> str:
    """The sentence on standard error; asserts its exit code and that nothing else is printed."""
    assert done.returncode == code, done.stderr
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith("airunner: ")
    return line.removeprefix("airunner: ")


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["lst"], "list"),
        (["submit", "--quue", "x"], "--queue"),
        (["submit", "one", "two"], "put the command after --, as in `airunner submit one -- two`"),
        (["submit", "one", *("w" * 40, "x" * 40)], "w xxxxxxxxxxxxxxxxxx…`"),
        (["submit", "--timeout", "soon", "--", "x"], "--timeout: 'soon' is not a duration"),
        (["submit", "--env", "A", "--", "x"], "--env: 'A' is not NAME=VALUE"),
        (["submit", "--request-id", "", "--", "x"], "--request-id is empty"),
        (["submit", "--script", "", "--", "x"], "--script: is empty: fill it in, or leave it out"),
        (["submit", "--script", "-"], "--script: is empty"),
        (["submit", "--script", "x", "--", "y"], "--script: there is a command already"),
        (["submit", "--step", "x", "--script", "y"], "--step: there is a script already"),
        (["submit", "--step", "x", "--step", " "], "--step: step 2: is empty: say what to run"),
        (["submit", "--shell", "sh", "--", "x"], "--shell: means nothing to a command"),
        (["submit", "--shell", "'", "--script", "x"], "--shell: is not a program and its options"),
        (["submit", "--source", "", "--", "x"], "--source: is empty"),
        (["submit", "--source", "/x"], "--source: is not a path below the worker's folder"),
        (["submit", "--source", "../x"], "sources: use a relative path"),
        (["submit", "--source", "."], "'.' is not a plain relative path, such as runs/17"),
        (["submit", "--source", "x", "."], "--source: there is a repository already"),
        (["submit", "--name", "a\nb", "--", "x"], "--name: has characters in it that cannot be"),
        (
            ["submit", "https://ghp_NOTAREALTOKEN@h/x", "--", "x"],
            "the repository: has a token in it",
        ),
        (["submit", "https://a:b@h/x", "--", "x"], "the repository: has a password in it"),
        (["submit", "--artifact", "#x", "--", "x"], "--artifact: '#x' is a comment"),
        (["submit", "--artifact", "!x", "--", "x"], "--artifact: '!x' excludes from an empty"),
        (["submit", "--artifact", "[x", "--", "x"], "--artifact: '[x' matches no file"),
        (["submit", "--artifact", "../x", "--", "x"], "--artifact: '../x' is not a pattern"),
        (["list", "--state", "done"], "'done' is not a state; use one of scheduled, running"),
        (["monitor", "id", "--json", "--raw"], "not both"),
        (["logs"], "give the ID of a job, or --all --follow"),
        (["logs", "--all"], "--all prints output from now on: give --follow too"),
        (["logs", "--all", "--follow", "id"], "give the ID of a job or --all, not both"),
        (["logs", "--all", "--follow", "--step", "1"], "--step goes with the ID of a job"),
        (["logs", "id", "--queue", "night"], "--queue goes with --all"),
        (["logs", "id", "--json", "--lines"], "--json prints events: leave out --lines"),
        (["logs", "id", "--json", "--tail", "1"], "--step, --tail, --since and --timestamps"),
        (["logs", "--all", "--follow", "--tail", "1"], "leave out --tail and --since"),
        (["logs", "id", "--since", "soon"], "--since: 'soon' is not a time"),
        (["monitor", "id", "--group-markers", "--raw"], "neither --json nor --raw"),
        (["retry", "id", "--group-markers"], "goes with --monitor"),
        (["artifacts", "get"], "'ID' (see `airunner artifacts get --help`)"),
        (["artifacts", "id", "--lnog"], "--long"),
        (["token", "--subject", "me", "--role", "king"], "'king' is not a role; use one of"),
        (["token"], "--subject"),
        (["server", "--listen", "nowhere"], "--listen: 'nowhere' is not HOST:PORT"),
        (["server", "--listen", "localhost:http"], "is not HOST:PORT"),
        (["worker", "--queue", "two words"], "--queue: 'two words' is not a queue name"),
        (["worker", "--env", "A"], "--env: 'A' is not NAME=VALUE"),
        (["worker", "--env", "1A=b"], "--env: '1A' is not a variable name"),
        (["worker", "--env", "AIRUNNER_JOB_ID=x"], "is a variable that airunner sets"),
        (["worker", "--path", "/bin:bin"], "--path: '/bin:bin' is not a list of absolute paths"),
        (["worker", "--path", ""], "--path: '' is not a list of absolute paths"),
        (["server", "--store", "tape"], "there is no store 'tape'; use memory or sqlite:PATH"),
        (["server", "--store", "sqlite:"], "there is no store 'sqlite:'"),
        (["server", "--store", "memory", "--fsync", "full"], "memory has nothing to sync"),
        (["server", "--fsync", "never"], "'never' is not full or normal"),
        (["server", "--free-bytes-min", "much"], "--free-bytes-min: 'much' is not a size"),
        (["worker", "--slots", "0"], "--slots"),
        (["worker", "--log-format", "xml"], "'xml' is not console or json"),
    ],
)
def test_wrong_usage_says_what_is_right(shell: Shell, words: list[str], sentence: str) -> None:
    assert sentence in told(shell.run(*words), 125 if words[0] in EXIT_AS_THE_JOB else 2)


def test_help_is_all_that_is_said_to_a_stranger(shell: Shell) -> None:
    done = shell.run()
    assert (done.returncode, done.stderr) == (2, "")
    assert "airunner submit -- echo hello" in done.stdout


def test_an_unknown_command_is_told_where_the_known_ones_are(shell: Shell) -> None:
    assert told(shell.run("frob"), 2).endswith("(see `airunner --help`)")


@pytest.mark.parametrize("words", [["version"], ["list"], ["submit", "--", "echo", "x"]])
@pytest.mark.parametrize("closed", [1, 2])
def test_a_closed_standard_stream_is_no_mistake(
    embedded: Shell, words: list[str], closed: int
) -> None:
    done = embedded.run_in_sh(f'exec "$@" {closed}>&-', *words)
    assert done.returncode == 0
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("words", [["version"], ["list"], ["submit", "--", "echo", "x"]])
def test_a_full_disk_is_told(embedded: Shell, words: list[str]) -> None:
    done = embedded.run_in_sh('exec "$@" >/dev/full', *words)
    assert done.returncode == 125
    last = done.stderr.splitlines()[-1]
    assert last == "airunner: cannot write to standard output: No space left on device"


@pytest.mark.parametrize(
    "words",
    [
        ["submit", "--", "true"],
        ["monitor", "id"],
        ["logs", "id"],
        ["artifacts", "id"],
        ["artifacts", "get", "id"],
        ["verify", "id"],
        ["list"],
        ["show", "id"],
        ["cancel", "id"],
        ["retry", "id"],
        ["queues"],
    ],
    ids=lambda words: words[0],
)
def test_no_server_is_125_and_says_where_it_was_looked_for(shell: Shell, words: list[str]) -> None:
    rest = words[words.index("--") :] if "--" in words else []
    line = told(shell.run(*words[: len(words) - len(rest)], *NOBODY, *rest), 125)
    assert line.startswith("no server answers at 127.0.0.1:1")


def test_a_bad_job_file_is_told_with_its_line(shell: Shell) -> None:
    (shell.home / "job.yaml").write_text("command: make\ntimeuot: 5\n")
    line = told(shell.run("submit", "--config", "job.yaml", *NOBODY), 125)
    assert line == "job.yaml:2: the file has no key 'timeuot': did you mean timeout?"


@pytest.mark.parametrize(
    ("script", "sentence"),
    [
        (
            r'printf "\377" | "$@"',
            "--script: standard input is not UTF-8 text at byte 1",
        ),
        ('yes | "$@"', "standard input is longer than SCRIPT_BYTES_MAX (4194304 bytes)"),
        ('"$@" 0>/dev/null', "--script: cannot read standard input: Bad file descriptor"),
        ('"$@" <&-', "--script: is empty"),
    ],
)
def test_a_script_that_cannot_be_read_is_told(shell: Shell, script: str, sentence: str) -> None:
    assert sentence in told(shell.run_in_sh(script, "submit", "--script", "-", *NOBODY), 125)


def test_a_missing_ca_certificate_is_named(shell: Shell) -> None:
    assert "cannot read none.pem" in told(shell.run("list", "--ca-cert", "none.pem"), 125)


def test_an_address_that_is_none_is_refused(shell: Shell) -> None:
    assert "'nowhere' is not HOST:PORT" in told(shell.run("list", "--server", "nowhere"), 125)


def test_a_token_needs_a_key_to_sign_it(shell: Shell) -> None:
    assert "set JWT_SIGNING_KEY" in told(shell.run("token", "--subject", "me"), 125)


def test_a_server_without_a_key_to_check_tokens_does_not_start(shell: Shell) -> None:
    assert "set JWT_PUBLIC_KEY" in told(shell.run("server"), 125)


def test_a_server_without_a_certificate_does_not_start(shell: Shell) -> None:
    assert "`airunner certs` makes both" in told(shell.run("server", "--no-auth"), 2)


@pytest.mark.parametrize("host", ["0.0.0.0", "[::]", "example.org", "10.0.0.1"])
def test_a_server_that_lets_everybody_in_listens_on_loopback_alone(shell: Shell, host: str) -> None:
    done = shell.run("server", "--no-auth", "--listen", f"{host}:0")
    assert "needs a loopback address" in told(done, 125)


def test_certificates_that_are_there_are_not_replaced(shell: Shell) -> None:
    make_certificates(shell.home / "certs")
    assert "--force" in told(shell.run("certs"), 125)


def test_keys_that_are_there_are_not_replaced(shell: Shell) -> None:
    make_keys(shell.home / "keys")
    assert "--force" in told(shell.run("keys"), 125)


def test_an_unknown_job_is_125(embedded: Shell) -> None:
    for command in ("show", "monitor", "logs", "retry", "cancel"):
        assert told(embedded.run(command, "nope"), 125).startswith("no job nope")


def test_a_wrong_token_is_125(embedded: Shell) -> None:
    line = told(embedded.run("list", "--token", "not.a.token"), 125)
    assert "not signed by a key that this server trusts" in line


def test_a_token_whose_role_may_not_is_125(embedded: Shell) -> None:
    data = embedded.home / ".local/share/airunner/embedded"
    signed = embedded.run(
        *("token", "--subject", "eve", "--role", "viewer"),
        *("--signing-key-file", str(data / "signing.pem")),
    )
    token = signed.stdout.strip()
    assert embedded.run("list", "--token", token).returncode == 0
    assert "viewer" in told(embedded.run("submit", "--token", token, "--", "true"), 125)


def test_a_wrong_ca_is_125_and_says_so(embedded: Shell, tmp_path: Path) -> None:
    make_certificates(tmp_path / "other")
    line = told(embedded.run("list", "--ca-cert", str(tmp_path / "other" / "ca.pem")), 125)
    assert "certificate that is not trusted" in line


def test_the_same_request_for_another_job_names_the_difference(embedded: Shell) -> None:
    embedded.submit("--request-id", "once", "--", "true")
    done = embedded.run("submit", "--request-id", "once", "--", "false")
    assert "command" in told(done, 125)


def test_a_closed_pipe_is_no_mistake(embedded: Shell) -> None:
    id = embedded.submit("--", "seq", "200000")
    for words in (["monitor", id], ["logs", id], ["monitor", id, "--json"], ["list"]):
        process = embedded.start(*words)
        assert process.stdout
        assert process.stderr
        os.read(process.stdout.fileno(), 1)
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait() == 0


def test_debugging_shows_where_a_mistake_came_from(shell: Shell) -> None:
    done = shell.run("list", *NOBODY, environment={"AIRUNNER_DEBUG": "1"})
    assert "Traceback" in done.stderr
