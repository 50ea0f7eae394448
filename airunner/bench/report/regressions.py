"""What has become slower or larger since an earlier run.

A figure is compared by its ratio to a bare baseline where both runs have one: machines differ, and
a shared one differs from itself. Where there are several, the kindest counts: a loss of airunner's
own shows beside all of them. A ratio to another figure of airunner's is no measure, for that may
have become better. All else is compared by its value, in the direction that its unit implies.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

from airunner.bench.report.figures import Figure, more_is_better
from airunner.bench.report.runs import Run


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A figure in two runs."""

    figure: Figure  # of the later one
    of: str  # the baseline whose ratio is compared; "" if the value is
    before: float
    after: float

    @property
    def worse(self) -> float:
        """How many times as bad it is now; below 1, it is better."""
        good, bad = self.before, self.after
        if more_is_better(self.figure.unit):
            good, bad = bad, good
        if good == bad:
            return 1.0
        return bad / good if good else math.inf


@dataclass(frozen=True, slots=True, kw_only=True)
class Regressions:
    """How a run compares with an earlier one."""

    setting: tuple[tuple[str, str, str], ...]  # what differs: its name, before and after
    changes: tuple[Change, ...]
    fresh: tuple[Figure, ...]  # which the earlier run does not have
    gone: tuple[Figure, ...]  # which only the earlier run has, of scenarios that both ran

    def slipped(self, tolerance: float) -> list[Change]:
        """Those that are worse by more than this share, the worst first."""
        worse = [each for each in self.changes if each.worse > 1 + tolerance]
        return sorted(worse, key=lambda change: -change.worse)


def progress(old: Run, new: Run) -> Regressions:
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
    """The baselines of a run that are not airunner's own."""
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
