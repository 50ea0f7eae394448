"""What a measurement says: a number with its unit, beside a baseline, and whether it is enough.

Machines differ and are shared, so what a number of airunner's says is a ratio: how many times
the baseline, measured in the same run, it is. A bar is what the project holds itself to: a limit of
a ratio, or of a count of losses. No bar limits milliseconds, bytes or a rate.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import median


@dataclass(frozen=True, slots=True)
class Bar:
    """What a number must be at least, or at most."""

    limit: float
    most: bool = False  # at most

    def met(self, value: float) -> bool:
        return value <= self.limit if self.most else value >= self.limit

    def __str__(self) -> str:
        return f"{'≤' if self.most else '≥'} {self.limit:g}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """What one contender did in one round."""

    value: float  # in the contender's unit
    count: int  # of what was counted or timed
    times: Sequence[float] = ()  # seconds that each of them took, where each was timed
    busy: float | None = None  # seconds of processor that who is measured spent on all of them
    resident: int | None = None  # bytes of memory that who is measured has at the end
    note: str = ""  # what else to know of it


@dataclass(frozen=True, slots=True, kw_only=True)
class Times:
    """How long each of many took, in milliseconds: medians of the rounds, and the most of all."""

    p50: float
    p99: float
    max: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """A figure as a ratio of a baseline."""

    baseline: str  # its name
    value: float  # of the baseline, in its own unit
    unit: str
    ratio: float
    bar: Bar | None = None  # of the ratio
    met: bool | None = None
    p99: bool = False  # of the slowest in a hundred of both, in milliseconds


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
    count: int  # of what was counted or timed in all rounds
    times: Times | None = None
    busy_micros: float | None = None  # of processor, for each
    resident_bytes: int | None = None  # at most, at the end of a round
    baseline: bool = False  # of the libraries and the machine: there to be compared with
    bar: Bar | None = None  # of the value
    met: bool | None = None
    against: tuple[Comparison, ...] = ()
    note: str = ""

    def bars(self) -> Iterator[tuple[str, float, Bar, bool]]:
        """Everything that it is held to: what that is, how much it is, the bar, whether met."""
        if self.bar:
            yield self.unit, self.value, self.bar, bool(self.met)
        for each in self.against:
            if each.bar:
                unit = f"p99 of {each.baseline}" if each.p99 else f"of {each.baseline}"
                yield unit, each.ratio, each.bar, bool(each.met)


def judged(bar: Bar | None, value: float) -> bool | None:
    """Whether the bar is met; None if there is none."""
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
    """The median of at least one value that was not measured by a contender."""
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
    """Of whatever is counted a second; of time, memory and what is lost, less is."""
    return unit.endswith("/s")


def rate(
    count: float,
    seconds: float,
    *,
    times: Sequence[float] = (),
    busy: float | None = None,
    resident: int | None = None,
) -> Sample:
    """So many things in so many seconds, as a number each second."""
    value = count / seconds
    return Sample(value=value, count=round(count), times=times, busy=busy, resident=resident)


def latency(
    times: Sequence[float],
    share: float = 0.5,
    *,
    busy: float | None = None,
    resident: int | None = None,
) -> Sample:
    """The median, or another percentile, of at least one time in seconds, as milliseconds."""
    value = percentile(sorted(times), share) * 1000
    return Sample(value=value, count=len(times), times=times, busy=busy, resident=resident)


def percentile(sorted_values: Sequence[float], share: float) -> float:
    """The smallest value that at least this share of all values does not exceed."""
    return sorted_values[max(0, math.ceil(share * len(sorted_values)) - 1)]


def spread(rounds: Sequence[Sequence[float]]) -> Times:
    """The percentiles of the times of some rounds, of which each has at least one."""
    values = [sorted(seconds) for seconds in rounds]
    p50, p99, most = (
        [percentile(each, share) * 1000 for each in values] for share in (0.5, 0.99, 1.0)
    )
    return Times(p50=median(p50), p99=median(p99), max=max(most))
