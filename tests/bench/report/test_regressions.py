"""The comparison of a run with an earlier run, and the factor of a regression."""

import math
from collections.abc import Sequence
from dataclasses import replace

import pytest

from airunner.bench.report.figures import Comparison, Figure
from airunner.bench.report.regressions import Change, progress
from airunner.bench.report.runs import Run

TOLERANCE = 0.2
BARE = "bare"


def figure(
    value: float = 1.0,
    *,
    name: str = "mine",
    unit: str = "jobs/s",
    scenario: str = "test",
    baseline: bool = False,
    **ratios: float,
) -> Figure:
    return Figure(
        scenario=scenario,
        name=name,
        value=value,
        unit=unit,
        low=value,
        high=value,
        rounds=1,
        count=1,
        baseline=baseline,
        against=tuple(
            Comparison(baseline=each, value=1.0, unit="calls/s", ratio=ratio)
            for each, ratio in ratios.items()
        ),
    )


def bare(name: str = BARE) -> Figure:
    return figure(name=name, unit="calls/s", baseline=True)


def run(*figures: Figure, **setting: str) -> Run:
    return Run(setting, figures)


def slipped(old: Sequence[Figure], new: Sequence[Figure]) -> list[Change]:
    return progress(run(*old), run(*new)).slipped(TOLERANCE)


@pytest.mark.parametrize(
    ("unit", "before", "after", "worse"),
    [
        ("jobs/s", 100.0, 50.0, True),
        ("jobs/s", 100.0, 90.0, False),  # within the tolerance
        ("jobs/s", 100.0, 500.0, False),
        ("ms", 4.0, 8.0, True),
        ("ms", 4.0, 4.5, False),
        ("ms", 4.0, 1.0, False),
        ("bytes", 100.0, 200.0, True),
        ("s per 100,000 jobs", 1.0, 2.0, True),
        ("attempts", 0.0, 1.0, True),
        ("attempts", 0.0, 0.0, False),
        ("jobs/s", 100.0, 0.0, True),
    ],
)
def test_more_is_better_of_rates_and_less_of_everything_else(
    unit: str, before: float, after: float, worse: bool
) -> None:
    assert bool(slipped([figure(before, unit=unit)], [figure(after, unit=unit)])) is worse


def test_a_slower_machine_is_no_slip() -> None:
    """The ratio to a bare baseline counts, not the value, if the figure has such a ratio."""
    assert not slipped([bare(), figure(100.0, bare=0.5)], [bare(), figure(10.0, bare=0.5)])
    (change,) = slipped([bare(), figure(10.0, bare=0.5)], [bare(), figure(10.0, bare=0.25)])
    assert (change.of, change.before, change.after, change.worse) == (BARE, 0.5, 0.25, 2.0)


def test_the_slowest_in_a_hundred_is_not_compared() -> None:
    """It has a bar, and varies from run to run by more than a change does."""

    def timed(ratio: float, p99: float) -> Figure:
        slow = Comparison(baseline=BARE, value=1.0, unit="ms", ratio=p99, p99=True)
        usual = figure(unit="ms", bare=ratio)
        return replace(usual, against=(*usual.against, slow))

    assert not slipped([bare(), timed(1.0, 2.0)], [bare(), timed(1.0, 9.0)])
    (change,) = slipped([bare(), timed(1.0, 9.0)], [bare(), timed(2.0, 1.0)])
    assert (change.before, change.after) == (1.0, 2.0)


def test_of_several_baselines_the_kindest_counts() -> None:
    old = [bare("one"), bare("two"), figure(one=0.5, two=0.5)]
    assert not slipped(old, [bare("one"), bare("two"), figure(one=0.1, two=0.5)])
    assert slipped(old, [bare("one"), bare("two"), figure(one=0.1, two=0.2)])


def test_a_ratio_to_another_figure_of_ours_says_nothing() -> None:
    """The other figure may have become better, which is no regression of this figure."""
    other = figure(name="memory")
    assert not slipped([other, figure(10.0, memory=0.9)], [other, figure(10.0, memory=0.3)])


def test_a_ratio_of_nothing_gives_way_to_the_value() -> None:
    assert not slipped([bare(), figure(10.0, bare=0.0)], [bare(), figure(10.0, bare=0.5)])
    assert slipped([bare(), figure(10.0, bare=0.5)], [bare(), figure(1.0, bare=0.0)])


def test_a_baseline_is_never_worse() -> None:
    assert not slipped([figure(100.0, baseline=True)], [figure(1.0, baseline=True)])


def test_the_worst_comes_first() -> None:
    old = [figure(100.0, name=name) for name in "abc"]
    new = [figure(value, name=name) for name, value in (("a", 50.0), ("b", 10.0), ("c", 0.0))]
    found = slipped(old, new)
    assert [each.figure.name for each in found] == ["c", "b", "a"]
    assert [each.worse for each in found] == [math.inf, 10.0, 2.0]


def test_what_only_one_run_has_is_named_and_not_compared() -> None:
    old = run(figure(name="gone"), figure(name="both"), figure(scenario="other"))
    seen = progress(old, run(figure(name="both"), figure(name="fresh")))
    assert [each.name for each in seen.fresh] == ["fresh"]
    assert [each.name for each in seen.gone] == ["gone"]  # the new run has no other scenario
    assert [each.figure.name for each in seen.changes] == ["both"]


def test_another_machine_is_named() -> None:
    old = run(machine="one", Python="3.11.7", disk="ext4")
    new = run(machine="other", Python="3.11.7", store="memory")
    assert progress(old, new).setting == (
        ("machine", "one", "other"),
        ("disk", "ext4", ""),
        ("store", "", "memory"),
    )
