"""The tables of the comparison, and the page that holds them between two markers."""

import re
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from airunner.bench.comparison.queues import NAMES, QUEUES
from airunner.bench.comparison.table import BEGIN, END, NoMarkers, Run, into, markdown
from airunner.bench.report.figures import Bar, Comparison, Figure, Times
from tests.test_setup import make

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs/benchmarks.md").read_text(encoding="utf-8")


def figure(name: str, value: float, *against: Comparison, times: Times | None = None) -> Figure:
    return Figure(
        scenario="jobs of one kind",
        name=name,
        value=value,
        unit="ms" if times else "jobs/s",
        low=value,
        high=2 * value,
        rounds=5,
        count=100,
        times=times,
        against=against,
    )


def beside(
    name: str, ratio: float, *, bar: Bar | None = None, met: bool | None = None
) -> Comparison:
    return Comparison(baseline=name, value=10.0, unit="jobs/s", ratio=ratio, bar=bar, met=met)


def run(*figures: Figure, missing: dict[str, str] | None = None) -> Run:
    return Run({"machine": "a small one"}, missing or {}, [asdict(each) for each in figures])


def test_a_table_has_a_row_for_each_with_its_ratio_to_airunner() -> None:
    ours = figure("airunner", 2000.0)
    theirs = figure("other", 1000.0, beside("airunner", 0.5))
    said = markdown(run(ours, theirs))
    assert "- machine: a small one\n" in said
    assert "### Jobs of one kind\n" in said
    assert "| airunner | 2,000 | 2,000 to 4,000 |  |" in said
    assert "| other | 1,000 | 1,000 to 2,000 | 0.5 x |" in said


def test_a_table_has_what_each_job_costs_where_that_was_measured() -> None:
    ours = replace(figure("airunner", 2000.0), busy_micros=450.0)
    said = markdown(run(ours, figure("bare", 1.0)))
    assert "| airunner | 2,000 | 2,000 to 4,000 |  | 0.45 |" in said
    assert "| bare | 1.00 | 1.00 to 2.00 |  |  |" in said


def test_a_table_of_times_has_the_slowest_too() -> None:
    said = markdown(run(figure("airunner", 1.5, times=Times(p50=1.5, p99=12.0, max=20.0))))
    assert "| airunner | 1.50 | 12.0 | 1.50 to 3.00 |  |" in said


@pytest.mark.parametrize(("met", "word"), [(True, "met"), (False, "missed")])
def test_a_bar_is_said_to_be_met_or_missed(met: bool, word: str) -> None:
    against = beside("other", 1.7, bar=Bar(1.5), met=met)
    said = markdown(run(figure("airunner", 17.0, against)))
    assert f"- jobs of one kind: airunner is 1.7 x other (at least 1.5: {word})" in said


def test_who_was_not_measured_is_named_with_the_reason() -> None:
    said = markdown(run(figure("airunner", 1.0), missing={"Huey": "no redis-server"}))
    assert "### Not measured\n\n- Huey: no redis-server\n" in said


def test_tables_replace_those_of_a_page_and_nothing_else() -> None:
    page = f"before\n{BEGIN}\nold\n{END}\nafter\n"
    once = into(page, "new\n")
    assert once == f"before\n{BEGIN}\n\nnew\n\n{END}\nafter\n"
    assert into(once, "new\n") == once


def test_a_page_without_marks_is_refused() -> None:
    with pytest.raises(NoMarkers):
        into("no marks", "new\n")


def test_the_page_has_room_for_tables_and_names_every_queue() -> None:
    assert into(PAGE, "new\n") != PAGE
    assert {name for name in NAMES if name.capitalize() in PAGE or name.upper() in PAGE} == set(
        NAMES
    )


def test_the_page_has_what_was_measured_of_every_queue() -> None:
    tables = PAGE.split(BEGIN)[1].split(END)[0]
    assert not [queue.name for queue in QUEUES if f"| {queue.name} |" not in tables]


def test_every_command_on_the_page_is_there() -> None:
    blocks = re.findall(r"^```sh\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines()]
    assert lines
    targets = set(re.findall(r"^  make ([\w-]+) ", make(), re.MULTILINE))
    options = (ROOT / "airunner/bench/comparison/__main__.py").read_text(encoding="utf-8")
    for line in lines:
        words = line.partition("#")[0].split()
        if words[0] == "make":
            assert words[1] in targets, line
        else:
            assert words[:3] == [".venv/bin/python", "-m", "airunner.bench.comparison"], line
            for option in re.findall(r"--([a-z]+)", line):
                assert f'"--{option}"' in options or f"\n    {option}: " in options, line
