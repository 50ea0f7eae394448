"""Rounds of contenders: their turns, medians and ratios."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from random import Random

import pytest

from airunner.bench.report.figures import (
    Bar,
    Figure,
    Sample,
    figure,
    latency,
    percentile,
    rate,
    spread,
)
from airunner.bench.report.rounds import Contender, compare


def saying(values: Iterable[float]) -> Callable[[float], Awaitable[Sample]]:
    """A contender's run that returns the given values in turn."""
    left = iter(values)

    async def run(_seconds: float) -> Sample:
        return Sample(value=next(left), count=1)

    return run


def contender(name: str, *values: float, against: dict[str, Bar | None] | None = None) -> Contender:
    return Contender(name=name, unit="s", run=saying(values), against=against or {})


def compared(*contenders: Contender, rounds: int = 3, warm: bool = False) -> list[Figure]:
    return asyncio.run(
        compare("test", contenders, rounds=rounds, seconds=1.0, dice=Random(1), warm=warm)
    )


def test_a_figure_is_the_median_of_its_rounds_between_the_lowest_and_the_highest() -> None:
    (figure,) = compared(contender("one", 9.0, 1.0, 2.0))
    assert (figure.value, figure.low, figure.high, figure.rounds) == (2.0, 1.0, 9.0, 3)


def test_a_ratio_is_the_median_of_the_ratios_within_each_round() -> None:
    """A machine that is slow for a round is slow for both contenders of the ratio."""
    _, mine = compared(
        contender("bare", 10.0, 1.0, 4.0), contender("mine", 5.0, 0.5, 3.0, against={"bare": None})
    )
    (comparison,) = mine.against
    assert comparison.ratio == 0.5
    assert (comparison.baseline, comparison.value) == ("bare", 4.0)


def test_what_runs_to_warm_up_does_not_count() -> None:
    (figure,) = compared(contender("one", 100.0, 1.0), rounds=1, warm=True)
    assert (figure.value, figure.high) == (1.0, 1.0)


def test_a_warm_up_is_a_part_of_a_measurement() -> None:
    given = list[float]()

    async def run(seconds: float) -> Sample:
        given.append(seconds)
        return Sample(value=1.0, count=1)

    compared(Contender(name="one", unit="s", run=run), rounds=2, warm=True)
    assert given == [0.25, 1.0, 1.0]


def test_every_contender_runs_once_in_each_round_in_an_order_that_the_seed_decides() -> None:
    def order(seed: int) -> list[str]:
        ran = list[str]()

        def named(name: str) -> Contender:
            async def run(_seconds: float) -> Sample:
                ran.append(name)
                return Sample(value=1.0, count=1)

            return Contender(name=name, unit="s", run=run)

        contenders = [named(name) for name in "abcd"]
        asyncio.run(compare("test", contenders, rounds=5, seconds=1, dice=Random(seed), warm=False))
        return ran

    assert order(1) == order(1)
    assert order(1) != order(2)
    assert all(sorted(order(1)[at : at + 4]) == list("abcd") for at in range(0, 20, 4))


@pytest.mark.parametrize(
    ("bar", "met"), [(Bar(0.5), True), (Bar(0.6), False), (Bar(0.5, most=True), True)]
)
def test_a_bar_on_a_ratio_is_met_or_missed(bar: Bar, met: bool) -> None:
    _, mine = compared(
        contender("bare", 2.0), contender("mine", 1.0, against={"bare": bar}), rounds=1
    )
    assert mine.against[0].met is met
    assert mine.met is None  # the value has no bar


def test_a_bar_says_its_limit_and_its_direction() -> None:
    assert (str(Bar(0.7)), str(Bar(2.0, most=True))) == ("≥ 0.7", "≤ 2")


def test_percentiles_are_values_that_were_measured() -> None:
    values = [float(value) for value in range(1, 101)]
    assert [percentile(values, share) for share in (0.0, 0.5, 0.99, 1.0)] == [1, 50, 99, 100]
    assert percentile([7.0], 0.99) == 7.0


def test_times_are_told_in_milliseconds() -> None:
    times = spread([[0.003, 0.001, 0.002]])
    assert (times.p50, times.p99, times.max) == (2.0, 3.0, 3.0)
    assert latency([0.003, 0.001, 0.002]).value == 2.0


def test_a_rate_is_so_many_a_second() -> None:
    assert rate(10, 4.0).value == 2.5


def test_the_servers_time_is_shared_out_over_all_that_it_did() -> None:
    async def run(_seconds: float) -> Sample:
        return Sample(value=1.0, count=500, busy=0.5)

    (figure,) = compared(Contender(name="one", unit="jobs/s", run=run))
    assert figure.busy_micros == 1000.0


def test_a_bar_on_the_slowest_in_a_hundred_is_on_the_median_of_the_ratios_of_the_rounds() -> None:
    slow = iter([0.010, 0.020, 0.900])

    async def run(_seconds: float) -> Sample:
        return latency([0.001] * 98 + [next(slow)] * 2)

    theirs = iter([0.001, 0.002, 0.100])

    async def bare(_seconds: float) -> Sample:
        return latency([next(theirs)])

    bar = Bar(20.0, most=True)
    _, figure = compared(
        Contender(name="bare", unit="ms", run=bare),
        Contender(name="one", unit="ms", run=run, p99_against={"bare": bar}),
    )
    assert figure.times
    assert (figure.times.p50, figure.times.p99, figure.times.max) == (1.0, 20.0, 900.0)
    (comparison,) = figure.against
    assert (comparison.value, comparison.ratio, comparison.p99) == (2.0, 10.0, True)
    assert (comparison.bar, comparison.met) == (bar, True)


def test_every_bar_of_a_figure_is_told_with_what_it_is_on() -> None:
    def taking(seconds: float) -> Callable[[float], Awaitable[Sample]]:
        async def run(_seconds: float) -> Sample:
            return latency([seconds])

        return run

    bare = Contender(name="bare", unit="ms", run=taking(0.001))
    mine = Contender(
        name="mine",
        unit="ms",
        run=taking(0.002),
        against={"bare": Bar(2)},
        p99_against={"bare": Bar(1, most=True)},
    )
    _, timed = compared(bare, mine, rounds=1)
    assert list(timed.bars()) == [
        ("of bare", 2.0, Bar(2), True),
        ("p99 of bare", 2.0, Bar(1, most=True), False),
    ]
    lost = figure("test", "lost", [1], "bytes", bar=Bar(0, most=True))
    assert list(lost.bars()) == [("bytes", 1, Bar(0, most=True), False)]


def test_memory_is_the_most_that_any_round_has_seen() -> None:
    sizes = iter([10, 30, 20])

    async def run(_seconds: float) -> Sample:
        return Sample(value=1.0, count=1, resident=next(sizes))

    (figure,) = compared(Contender(name="one", unit="s", run=run))
    assert figure.resident_bytes == 30


def test_what_a_baseline_did_not_do_has_no_multiple() -> None:
    _, mine = compared(
        contender("bare", 0.0), contender("mine", 1.0, against={"bare": None}), rounds=1
    )
    assert mine.against[0].ratio == 0.0
