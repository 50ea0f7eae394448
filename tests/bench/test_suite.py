"""Every scenario of the bench runs from end to end on tiny sizes, and prints its figures."""

import json
import os
import re
import signal
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from airunner.bench.report.figures import Bar
from airunner.bench.suite import SCENARIOS, summary
from airunner.cli.exit_codes import DIFFERS, INTERRUPTED
from tests.cli.conftest import PATIENCE, Shell

PAGE = Path(__file__).parent.parent.parent / "docs" / "benchmarks.md"
SMALL = ("--duration", "0.05", "--rounds", "1", "--slots", "1", "--jobs", "50", "--output", "1MiB")


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    return Shell(tmp_path)


def measured(shell: Shell, *words: str) -> list[dict[str, object]]:
    done = shell.run("bench", *words, *SMALL, "--json")
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_scenario_says_what_it_leaves_out(name: str) -> None:
    assert "Leaves out" in (SCENARIOS[name].__doc__ or "")
    assert summary(name).endswith(".")


def test_the_bars_are_those_that_are_told() -> None:
    """The rows of docs/benchmarks.md have exactly the scenarios, and the bars of their modules."""
    section = PAGE.read_text(encoding="utf-8").split("\n## Speed\n")[1].split("\n## ")[0]
    told = dict(re.findall(r"^\| `(\w+)` \| (.*) \|$", section, re.MULTILINE))
    assert list(told) == list(SCENARIOS)
    for name, scenario in SCENARIOS.items():
        values = vars(sys.modules[scenario.__module__]).values()
        bars = {str(value) for value in values if isinstance(value, Bar)}
        assert set(re.findall(r"[≤≥] \d+(?:\.\d+)?", told[name])) == bars, name


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_scenario_has_each_of_its_figures_beside_what_it_is_compared_with(
    shell: Shell, name: str
) -> None:
    words = ("--clients", "2") if name == "enqueue" else ()
    _, *figures = measured(shell, name, *words)
    names = {figure["name"] for figure in figures}
    assert figures
    assert all(figure["scenario"] == name for figure in figures)
    for figure in figures:
        against = figure["against"]
        assert isinstance(against, list)
        assert all(each["baseline"] in names and each["ratio"] >= 0 for each in against)


def test_a_run_says_what_it_ran_on_and_leaves_no_file_behind(shell: Shell) -> None:
    folder = shell.home / "disk"
    folder.mkdir()
    words = ("--clients", "1", "--fsync", "normal", "--folder", str(folder))
    first, *_ = measured(shell, "enqueue", *words)
    setting = first["setting"]
    assert isinstance(setting, dict)
    assert {"machine", "Python", "grpcio", "SQLite", "store", "disk"} <= set(setting)
    assert setting["store"] == "SQLite, fsync normal"
    assert not list(folder.iterdir())


@pytest.mark.parametrize(
    ("name", "how", "code"),
    [
        *((name, signal.SIGTERM, 128 + signal.SIGTERM) for name in SCENARIOS),
        *((name, signal.SIGINT, INTERRUPTED) for name in ("dispatch", "start")),
    ],
)
def test_a_scenario_that_is_stopped_leaves_nothing_behind(
    shell: Shell, name: str, how: signal.Signals, code: int
) -> None:
    folder = shell.home / "disk"
    folder.mkdir()
    words = (name, *SMALL, "--duration", "600", "--folder", str(folder), "--json")
    with shell.start("bench", *words) as bench:
        while not children(bench.pid):
            os.sched_yield()
        os.killpg(bench.pid, how)  # as Ctrl-C does
        assert bench.stderr
        assert not bench.stderr.read()
        assert bench.wait(PATIENCE) == code
    assert not list(folder.iterdir())
    assert not session(bench.pid)


def children(pid: int) -> list[str]:
    """The child processes of a process, zombies included."""
    found = list[str]()
    for each in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(FileNotFoundError, ProcessLookupError):  # a thread that has ended
            found += each.read_text().split()
    return found


def session(pid: int) -> list[Path]:
    """The processes of a session, zombies included."""
    found = list[Path]()
    for each in Path("/proc").glob("[0-9]*/stat"):
        with suppress(FileNotFoundError, ProcessLookupError):
            if each.read_text().rpartition(")")[2].split()[3] == str(pid):
                found.append(each)
    return found


def test_a_table_is_for_people(shell: Shell) -> None:
    done = shell.run("bench", "enqueue", "--clients", "1", *SMALL)
    assert done.returncode == 0, done.stderr
    assert "SQLite full, 1 client" in done.stdout
    assert "rows a transaction" in done.stdout
    assert re.search(r"^bars   \d+ met, \d+ missed$", done.stdout, re.MULTILINE)


def test_a_run_is_compared_with_an_earlier_one(shell: Shell) -> None:
    """The earlier run is a thousand times as slow, and then a thousand times as fast."""
    first = shell.run("bench", "pty", *SMALL, "--json").stdout
    for times, code, said in ((0.001, 0, "0 of 1 figures"), (1000, DIFFERS, "1 of 1 figures")):
        head, *figures = map(json.loads, first.splitlines())
        head["setting"]["machine"] = "another one"
        for figure in figures:
            for each in figure["against"]:
                each["ratio"] *= times
        lines = "\n".join(map(json.dumps, (head, *figures)))
        (shell.home / "earlier.json").write_text(lines)
        done = shell.run("bench", "pty", *SMALL, "--json", "--baseline", "earlier.json")
        assert done.returncode == code
        assert said in done.stderr
        assert ", and was another one" in done.stderr
        assert all(json.loads(line) for line in done.stdout.splitlines())


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("nonsense",), "SCENARIO: 'nonsense' is not one of enqueue, noop"),
        (("--store", "tape"), "--store: 'tape' is not one of memory, sqlite"),
        (("--fsync", "maybe"), "--fsync: 'maybe' is not one of full, normal"),
        (("--folder", "nowhere"), "--folder: cannot make files in nowhere"),
        (("--tolerance", "little"), "--tolerance: 'little' is not a share: write it as 20%"),
        (("--baseline", "nowhere"), "--baseline: cannot read nowhere: No such file"),
        (
            ("--baseline", "/dev/null"),
            "is not the output of a run with --json: there is nothing",
        ),
    ],
)
def test_what_cannot_be_measured_is_refused_before_anything_starts(
    shell: Shell, words: tuple[str, ...], said: str
) -> None:
    done = shell.run("bench", *words)
    assert done.returncode
    assert said in done.stderr


def test_the_help_names_every_scenario(shell: Shell) -> None:
    said = shell.run("bench", "--help", environment={"COLUMNS": "200"}).stdout
    assert ", ".join(SCENARIOS) in said
