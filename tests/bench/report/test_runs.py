"""The lines of JSON of a bench run: encoding and parsing."""

import pytest

from airunner.bench.report.figures import Bar, Comparison, Figure, Times
from airunner.bench.report.runs import NotARun, figure_line, head_line, read

FIGURE = Figure(
    scenario="test",
    name="submit to start, p50",
    value=2.5,
    unit="ms",
    low=2.0,
    high=3.0,
    rounds=5,
    count=100,
    times=Times(p50=2.5, p99=4.0, max=9.0),
    resident_bytes=80_000_000,
    against=(
        Comparison(baseline="bare", value=0.5, unit="ms", ratio=5.0, bar=Bar(10), met=False),
        Comparison(
            baseline="bare",
            value=0.5,
            unit="ms",
            ratio=8.0,
            bar=Bar(15.0, most=True),
            met=True,
            p99=True,
        ),
    ),
)
HEAD = head_line({"machine": "this one"})


def test_a_run_reads_back_as_it_was() -> None:
    run = read("\n".join([HEAD, figure_line(FIGURE), figure_line(FIGURE)]))
    assert run.setting == {"machine": "this one"}
    assert run.figures == (FIGURE, FIGURE)


def test_a_figure_of_an_older_run_may_know_less() -> None:
    line = figure_line(FIGURE).replace('"resident_bytes":80000000,', "")
    assert read(f"{HEAD}\n{line}").figures[0].resident_bytes is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "nothing in it"),
        ("a table", "line 1: JSON is malformed"),
        (figure_line(FIGURE), "line 1: Object missing required field `setting`"),
        (f"{HEAD}\n{HEAD}", "line 2: Object missing required field `scenario`"),
        (f"{HEAD}\n\n", "line 2: Input data was truncated"),
    ],
)
def test_what_is_no_run_is_named_by_its_line(text: str, said: str) -> None:
    with pytest.raises(NotARun, match=said):
        read(text)
