"""Rounds in which contenders take turns, so that other load on the machine hits all of them.

In a round each contender runs once, in a random order. A figure is the median over the rounds; a
ratio is the median of the ratios within each round. Each contender also runs once before the
rounds, for a quarter of the time. That warm-up does not count: it opens connections and fills
caches.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from random import Random
from statistics import median
from typing import Final

from airunner.bench.report.figures import Bar, Comparison, Figure, Sample, judged, spread

WARM_UP: Final = 0.25  # of a measurement


@dataclass(frozen=True, slots=True, kw_only=True)
class Contender:
    """An alternative under measurement. `run` works for `seconds`, or once if the work is long."""

    name: str
    unit: str
    run: Callable[[float], Awaitable[Sample]]
    against: Mapping[str, Bar | None] = field(default_factory=dict)  # baselines by name, with bars
    # Bars for the ratio of this contender's p99 to the p99 of baselines with times
    p99_against: Mapping[str, Bar] = field(default_factory=dict)
    baseline: bool = False


async def compare(
    scenario: str,
    contenders: Sequence[Contender],
    *,
    rounds: int,
    seconds: float,
    dice: Random,
    warm: bool = True,
) -> list[Figure]:
    """Measures the contenders in rounds; returns a figure for each contender, in their order."""
    samples: dict[str, list[Sample]] = {each.name: [] for each in contenders}
    if warm:
        for each in contenders:
            await each.run(seconds * WARM_UP)
    for _ in range(rounds):
        for each in dice.sample(contenders, len(contenders)):
            samples[each.name].append(await each.run(seconds))
    units = {each.name: each.unit for each in contenders}
    return [_figure(scenario, each, samples, units) for each in contenders]


def _figure(
    scenario: str,
    contender: Contender,
    samples: Mapping[str, Sequence[Sample]],
    units: Mapping[str, str],
) -> Figure:
    mine = samples[contender.name]
    values = [sample.value for sample in mine]
    times = [sample.times for sample in mine if sample.times]
    count = sum(sample.count for sample in mine)
    busy = [sample.busy for sample in mine if sample.busy is not None]
    resident = [sample.resident for sample in mine if sample.resident is not None]
    comparisons = [
        _comparison(values, name, [sample.value for sample in samples[name]], units[name], bar)
        for name, bar in contender.against.items()
    ]
    comparisons += [
        replace(_comparison(_slowest(mine), name, _slowest(samples[name]), "ms", bar), p99=True)
        for name, bar in contender.p99_against.items()
    ]
    return Figure(
        scenario=scenario,
        name=contender.name,
        value=median(values),
        unit=contender.unit,
        low=min(values),
        high=max(values),
        rounds=len(mine),
        count=count,
        times=spread(times) if times else None,
        busy_micros=sum(busy) / count * 1e6 if busy and count else None,
        resident_bytes=max(resident, default=None),
        baseline=contender.baseline,
        against=tuple(comparisons),
        note=mine[-1].note,
    )


def _slowest(samples: Sequence[Sample]) -> list[float]:
    """The p99 of the times of each round, in milliseconds."""
    return [spread([sample.times]).p99 for sample in samples]


def _comparison(
    mine: Sequence[float], name: str, theirs: Sequence[float], unit: str, bar: Bar | None
) -> Comparison:
    # A baseline that completed nothing in a short measurement has value 0: the ratio is 0.
    ratio = median(one / other if other else 0.0 for one, other in zip(mine, theirs, strict=True))
    return Comparison(
        baseline=name,
        value=median(theirs),
        unit=unit,
        ratio=ratio,
        bar=bar,
        met=judged(bar, ratio),
    )
