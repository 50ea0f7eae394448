"""Watching a job of steps with submit, monitor and logs."""

import json

import pytest

from tests.cli.conftest import Shell
from tests.cli.terminal import Terminal
from tests.promises import holds

JOB = """
steps:
  - {name: build, run: "echo building; printf half"}
  - {name: "odd::endgroup::", run: "echo testing; exit 3"}
  - {name: ship, run: "true"}
"""


@pytest.fixture
def job(embedded: Shell) -> str:
    (embedded.home / "job.yaml").write_text(JOB)
    return "job.yaml"


def test_submit_tells_of_each_step_and_exits_as_the_one_that_failed(
    embedded: Shell, job: str
) -> None:
    done = embedded.run("submit", "--config", job)
    assert (done.returncode, done.stdout) == (3, "building\nhalftesting\n")
    told = [line.partition(" succeeded")[0] for line in done.stderr.splitlines()[1:]]
    assert told[:3] == [
        "airunner: step 1 of 3: build",
        "airunner: step 1 of 3 (build)",
        "airunner: step 2 of 3: odd::endgroup::",
    ]
    assert told[3].startswith("airunner: step 2 of 3 (odd::endgroup::) failed with exit code 3")
    assert told[4:] == ["airunner: step 3 of 3 was skipped: ship"]


def test_a_monitor_tells_the_same(embedded: Shell, job: str) -> None:
    id = embedded.submit("--config", job)
    first, second = (embedded.run("monitor", id) for _ in range(2))
    assert first.stderr == second.stderr
    assert "airunner: step 1 of 3: build\n" in first.stderr


@pytest.mark.parametrize("words", [("submit", "--config"), ("monitor",), ("retry", "--monitor")])
def test_group_markers_stand_at_the_beginning_of_a_line(
    embedded: Shell, job: str, words: tuple[str, ...]
) -> None:
    what = job if words[0] == "submit" else embedded.submit("--config", job)
    done = embedded.run(*words, what, "--group-markers", environment={"GITHUB_ACTIONS": "true"})
    assert done.returncode == 3
    assert done.stdout.splitlines() == [
        "::group::build",
        "building",
        "half",
        "::endgroup::",
        "::group::odd::endgroup::",
        "testing",
        "::endgroup::",
    ]


def test_the_markers_are_those_of_the_system_around_us(embedded: Shell, job: str) -> None:
    done = embedded.run(
        "submit", "--config", job, "--group-markers", environment={"TF_BUILD": "True"}
    )
    assert "##[group]build\nbuilding\nhalf\n##[endgroup]\n" in done.stdout


def test_events_in_json_tell_of_steps(embedded: Shell, job: str) -> None:
    id = embedded.submit("--config", job)
    events = [
        json.loads(line) for line in embedded.run("monitor", id, "--json").stdout.splitlines()
    ]
    steps = [event for event in events if event["type"].startswith("step_")]
    assert [(each["type"], each["index"], each.get("status")) for each in steps] == [
        ("step_start", 0, None),
        ("step_end", 0, "success"),
        ("step_start", 1, None),
        ("step_end", 1, "failed"),
    ]
    written = {event["step"]: event["output"] for event in events if event["type"] == "output"}
    assert written[1] == "testing\n"
    assert [each["status"] for each in events[-1]["steps"]] == ["success", "failed", "skipped"]


@holds("logs/remarks-have-their-own-line")
def test_a_terminal_shows_steps_in_colour_each_on_a_line_of_its_own(
    embedded: Shell, job: str
) -> None:
    terminal = Terminal(embedded, "submit", "--config", job)
    assert terminal.wait() == 3
    assert "airunner: \x1b[1mstep 1 of 3: build\x1b[0m\r\nbuilding\r\nhalf" in terminal.text
    assert "half\x1b[0m\r\nairunner: \x1b[32mstep 1 of 3 (build) succeeded in " in terminal.text
    assert (
        "\r\n\x1b[0mairunner: \x1b[31mstep 2 of 3 (odd::endgroup::) failed with " in terminal.text
    )
    assert "\r\nairunner: \x1b[33mstep 3 of 3 was skipped: ship\x1b[0m\r\n" in terminal.text


def test_a_terminal_without_colours_gets_none(embedded: Shell, job: str) -> None:
    terminal = Terminal(embedded, "submit", "--config", job, environment={"NO_COLOR": "1"})
    assert terminal.wait() == 3
    assert "\r\nairunner: step 1 of 3: build\r\n" in terminal.text
    assert "\x1b" not in terminal.text
