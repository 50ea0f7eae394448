"""What a measurement says: a number with its unit, and what it leaves out."""

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One measured number. `samples` is how many things were counted or timed for it.

    Machines differ and are shared, so what a number of airunner's says is `ratio`: how many
    times the baseline `against`, measured in the same run, it is.
    """

    name: str
    value: float
    unit: str
    samples: int
    seconds: float  # that the measurement took
    baseline: bool = False  # of the libraries and the machine, without airunner
    against: str = ""  # the name of a baseline
    ratio: float | None = None


def rate(name: str, count: float, seconds: float, unit: str, *, baseline: bool = False) -> Figure:
    """So many things in so many seconds, as a number each second."""
    return Figure(
        name=name,
        value=count / seconds,
        unit=f"{unit}/s",
        samples=round(count),
        seconds=seconds,
        baseline=baseline,
    )


def percentile(sorted_values: Sequence[float], share: float) -> float:
    """The smallest value that at least this share of all values does not exceed."""
    return sorted_values[max(0, math.ceil(share * len(sorted_values)) - 1)]


def latencies(
    name: str, seconds: Sequence[float], *, baseline: bool = False
) -> tuple[Figure, Figure]:
    """The median and the 99th percentile of some times, in milliseconds."""
    values = sorted(seconds)

    def figure(label: str, share: float) -> Figure:
        return Figure(
            name=f"{name}, {label}",
            value=percentile(values, share) * 1000,
            unit="ms",
            samples=len(values),
            seconds=sum(values),
            baseline=baseline,
        )

    return figure("p50", 0.5), figure("p99", 0.99)
