"""The figures of a bench run: a number with its unit, its ratio to a baseline, and its bar.

Machines differ and are shared, so an absolute number says little. A figure therefore carries its
ratio to a baseline that the same run measured. A bar is a limit that the project sets for a ratio,
or for a count of losses. No bar limits milliseconds, bytes or a rate.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import median


@dataclass(frozen=True, slots=True)
class Bar:
    """A limit for a number: a minimum, or a maximum if `most`."""

    limit: float
    most: bool = False

    def met(self, value: float) -> bool:
        return value <= self.limit if self.most else value >= self.limit

    def __str__(self) -> str:
        return f"{'≤' if self.most else '≥'} {self.limit:g}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """The result of one contender in one round."""

    value: float  # in the contender's unit
    count: int  # operations that were counted or timed
    times: Sequence[float] = ()  # seconds of each operation, if operations were timed
    busy: float | None = None  # processor seconds of the measured process for all operations
    resident: int | None = None  # resident bytes of the measured process at the end
    note: str = ""  # a remark for the table


@dataclass(frozen=True, slots=True, kw_only=True)
class Times:
    """Milliseconds of an operation: medians of the rounds' percentiles, and the maximum."""

    p50: float
    p99: float
    max: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """The ratio of a figure to a baseline."""

    baseline: str  # the baseline's name
    value: float  # the baseline's value, in `unit`
    unit: str
    ratio: float
    bar: Bar | None = None  # the limit for the ratio
    met: bool | None = None
    p99: bool = False  # compares the p99 of both, in milliseconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One measured number: the median of `rounds`, which lie between `low` and `high`."""

    scenario: str
    name: str
    value: float
    unit: str
    low: float
    high: float
    rounds: int
    count: int  # operations that were counted or timed in all rounds
    times: Times | None = None
    busy_micros: float | None = None  # processor microseconds for each operation
    resident_bytes: int | None = None  # the maximum over the ends of the rounds
    baseline: bool = False  # measures libraries and machine without airunner, for comparison
    bar: Bar | None = None  # the limit for the value
    met: bool | None = None
    against: tuple[Comparison, ...] = ()
    note: str = ""

    def bars(self) -> Iterator[tuple[str, float, Bar, bool]]:
        """Every bar of the figure: the unit, the value, the bar, and whether the value meets it."""
        if self.bar:
            yield self.unit, self.value, self.bar, bool(self.met)
        for each in self.against:
            if each.bar:
                unit = f"p99 of {each.baseline}" if each.p99 else f"of {each.baseline}"
                yield unit, each.ratio, each.bar, bool(each.met)


def judged(bar: Bar | None, value: float) -> bool | None:
    """True if the value meets the bar; None without a bar."""
    return None if bar is None else bar.met(value)


def figure(
    scenario: str,
    name: str,
    values: Sequence[float],
    unit: str,
    *,
    bar: Bar | None = None,
    against: Sequence[tuple["Figure", Bar | None]] = (),
    note: str = "",
) -> Figure:
    """The figure of values that no contender measured: their median. At least one value."""
    value = median(values)
    return Figure(
        scenario=scenario,
        name=name,
        value=value,
        unit=unit,
        low=min(values),
        high=max(values),
        rounds=len(values),
        count=len(values),
        bar=bar,
        met=judged(bar, value),
        against=tuple(_beside(value, other, ratio_bar) for other, ratio_bar in against),
        note=note,
    )


def _beside(value: float, other: Figure, bar: Bar | None) -> Comparison:
    ratio = value / other.value if other.value else 0.0
    return Comparison(
        baseline=other.name,
        value=other.value,
        unit=other.unit,
        ratio=ratio,
        bar=bar,
        met=judged(bar, ratio),
    )


def more_is_better(unit: str) -> bool:
    """True for rates; for times, memory and losses a smaller value is better."""
    return unit.endswith("/s")


def rate(
    count: float,
    seconds: float,
    *,
    times: Sequence[float] = (),
    busy: float | None = None,
    resident: int | None = None,
) -> Sample:
    """The sample of a throughput: `count` operations in `seconds`, as operations a second."""
    value = count / seconds
    return Sample(value=value, count=round(count), times=times, busy=busy, resident=resident)


def latency(
    times: Sequence[float],
    share: float = 0.5,
    *,
    busy: float | None = None,
    resident: int | None = None,
) -> Sample:
    """The sample of a latency: a percentile of at least one time in seconds, as milliseconds."""
    value = percentile(sorted(times), share) * 1000
    return Sample(value=value, count=len(times), times=times, busy=busy, resident=resident)


def percentile(sorted_values: Sequence[float], share: float) -> float:
    """The smallest value such that at least `share` of all values are not larger."""
    return sorted_values[max(0, math.ceil(share * len(sorted_values)) - 1)]


def spread(rounds: Sequence[Sequence[float]]) -> Times:
    """The percentiles of the times of several rounds; each round has at least one time."""
    values = [sorted(seconds) for seconds in rounds]
    p50, p99, most = (
        [percentile(each, share) * 1000 for each in values] for share in (0.5, 0.99, 1.0)
    )
    return Times(p50=median(p50), p99=median(p99), max=max(most))
