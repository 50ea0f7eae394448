"""The figures that have become worse since an earlier run.

A figure is compared by its ratio to a bare baseline if both runs have such a ratio: machines
differ, and the speed of a shared machine varies over time. With several ratios, the most
favourable ratio counts: a regression of airunner shows in all of them. A ratio to another figure
of airunner does not count, since that other figure may have become better. A figure without a
ratio to a bare baseline is compared by its value; its unit tells if larger or smaller is better.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

from airunner.bench.report.figures import Figure, more_is_better
from airunner.bench.report.runs import Run


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A figure in two runs."""

    figure: Figure  # of the later run
    of: str  # the baseline of the compared ratio; "" if the value is compared
    before: float
    after: float

    @property
    def worse(self) -> float:
        """The factor by which the figure is worse; below 1, the figure is better."""
        good, bad = self.before, self.after
        if more_is_better(self.figure.unit):
            good, bad = bad, good
        if good == bad:
            return 1.0
        return bad / good if good else math.inf


@dataclass(frozen=True, slots=True, kw_only=True)
class Regressions:
    """The comparison of a run with an earlier run."""

    setting: tuple[tuple[str, str, str], ...]  # conditions that differ: name, before, after
    changes: tuple[Change, ...]
    fresh: tuple[Figure, ...]  # figures that the earlier run lacks
    gone: tuple[Figure, ...]  # figures of the earlier run alone, of scenarios that both ran

    def slipped(self, tolerance: float) -> list[Change]:
        """The changes that are worse by more than the share `tolerance`, the worst first."""
        worse = [each for each in self.changes if each.worse > 1 + tolerance]
        return sorted(worse, key=lambda change: -change.worse)


def progress(old: Run, new: Run) -> Regressions:
    """Compares each figure of a run with the figure of the same name in an earlier run."""
    before = {_key(figure): figure for figure in old.figures if not figure.baseline}
    after = {_key(figure): figure for figure in new.figures if not figure.baseline}
    ran = {figure.scenario for figure in new.figures}
    names = dict.fromkeys((*old.setting, *new.setting))
    settings = ((name, old.setting.get(name, ""), new.setting.get(name, "")) for name in names)
    return Regressions(
        setting=tuple(each for each in settings if each[1] != each[2]),
        changes=tuple(
            _change(before[key], figure, _bare(new))
            for key, figure in after.items()
            if key in before
        ),
        fresh=tuple(figure for key, figure in after.items() if key not in before),
        gone=tuple(
            figure for key, figure in before.items() if key not in after and figure.scenario in ran
        ),
    )


def _key(figure: Figure) -> tuple[str, str]:
    return figure.scenario, figure.name


def _bare(run: Run) -> set[tuple[str, str]]:
    """The bare baselines of a run: they measure no part of airunner."""
    return {_key(figure) for figure in run.figures if figure.baseline}


def _change(old: Figure, new: Figure, bare: set[tuple[str, str]]) -> Change:
    by_ratio = min(_ratios(old, new, bare), key=lambda change: change.worse, default=None)
    return by_ratio or Change(figure=new, of="", before=old.value, after=new.value)


def _ratios(old: Figure, new: Figure, bare: set[tuple[str, str]]) -> Iterator[Change]:
    before = {each.baseline: each.ratio for each in old.against if not each.p99}
    for each in new.against:
        if each.p99 or (new.scenario, each.baseline) not in bare:
            continue
        if before.get(each.baseline) and each.ratio:
            yield Change(
                figure=new, of=each.baseline, before=before[each.baseline], after=each.ratio
            )
